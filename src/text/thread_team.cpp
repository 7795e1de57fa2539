#include "src/text/thread_team.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace nll {

void for_each_item(std::size_t items, int threads,
                   const std::function<void(std::size_t worker, std::size_t item)>& work,
                   const std::function<void(std::size_t finished)>& report) {
  std::atomic<std::size_t> next{0}, finished{0};
  std::atomic<bool> stop{false};
  std::mutex guard;
  std::exception_ptr failure;
  const auto run = [&](std::size_t worker) {
    try {
      for (std::size_t item = next++; item < items && !stop; item = next++) {
        work(worker, item);
        const std::size_t done = ++finished;
        if (worker == 0 && report) report(done);
      }
    } catch (...) {
      const std::lock_guard lock(guard);
      if (!failure) failure = std::current_exception();
      stop = true;
    }
  };
  std::vector<std::jthread> helpers;
  const std::size_t wanted = std::min(items, static_cast<std::size_t>(std::max(1, threads)));
  helpers.reserve(wanted);
  for (std::size_t i = 1; i < wanted; ++i) helpers.emplace_back(run, i);
  run(0);
  helpers.clear();  // joins
  if (failure) std::rethrow_exception(failure);
  if (report) report(items);
}

}  // namespace nll
