// SharedPace: ranks that work for different lengths of time side by side and stop together. While a rank works it meets
// the others now and then, and when it has finished it keeps meeting them until all have.
#pragma once
#include <functional>

#include "src/dist/collective.h"

namespace nll {

class SharedPace {
 public:
  // They meet after every `ticks` of tick().
  SharedPace(Collective& collective, const std::function<bool()>& stop_requested, int ticks);

  // Runs `work` on every rank; it calls tick() as it goes and returns soon after that was false. True: all ranks have
  // done theirs. False: somebody was asked to stop. When it throws an Error on any rank all throw it.
  bool run(const char* name, const std::function<void()>& work);
  // False: stop.
  bool tick();

 private:
  void meet(char word);

  Collective& collective_;
  std::function<bool()> stop_requested_;
  const int ticks_;
  const char* name_ = "";
  int since_ = 0;
  bool stop_ = false, all_done_ = false;
};

}  // namespace nll
