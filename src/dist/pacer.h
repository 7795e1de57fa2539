// Pacer: how to pass the time between two looks at something that another process brings about.
#pragma once
#include <sched.h>
#include <time.h>

namespace nll {

class Pacer {
 public:
  // Looks at once first, because most messages are on their way; then lets other processes of this core run, because
  // one of them may be the rank that is waited for; then sleeps, so that a long wait costs next to nothing.
  void pause() {
    constexpr int looks = 200, yields = 2000;
    constexpr long sleep_nanoseconds = 50'000;
    if (count_ < looks + yields) ++count_;
    if (count_ < looks) return;
    if (count_ < looks + yields) {
      sched_yield();
    } else {
      const timespec shortly{0, sleep_nanoseconds};
      nanosleep(&shortly, nullptr);
    }
  }

 private:
  int count_ = 0;
};

}  // namespace nll
