#include "src/train/shared_pace.h"

#include <exception>
#include <string>
#include <vector>

namespace nll {

namespace {

enum Word : char { working = 'w', done_word = 'd', stop_word = 's' };

}  // namespace

SharedPace::SharedPace(Collective& collective, const std::function<bool()>& stop_requested, int ticks)
    : collective_(collective), stop_requested_(stop_requested), ticks_(collective.alone() ? 1 : ticks) {}

bool SharedPace::run(const char* name, const std::function<void()>& work) {
  since_ = 0;
  stop_ = all_done_ = false;
  name_ = name;
  std::exception_ptr failure;
  try {
    work();
  } catch (const Error&) {
    failure = std::current_exception();
  }
  // A rank that failed stops the others, so that all soon hear of it.
  while (!stop_ && !all_done_) meet(failure ? stop_word : done_word);
  collective_.together(name, [&] {
    if (failure) std::rethrow_exception(failure);
  });
  return !stop_;
}

bool SharedPace::tick() {
  if (stop_) return false;
  if (++since_ < ticks_) return true;
  since_ = 0;
  meet(working);
  return !stop_;
}

void SharedPace::meet(char word) {
  const char mine = stop_requested_ && stop_requested_() ? static_cast<char>(stop_word) : word;
  all_done_ = true;
  for (const std::string& said : collective_.exchange(std::string(1, mine), name_)) {
    stop_ = stop_ || said[0] == stop_word;
    all_done_ = all_done_ && said[0] == done_word;
  }
}

}  // namespace nll
