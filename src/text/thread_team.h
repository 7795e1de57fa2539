// A few threads that share a list of independent items. The caller is one of them and the only one to report progress.
#pragma once
#include <cstddef>
#include <functional>

namespace nll {

// Calls work(worker, item) once for each item in [0, items), on at most `threads` threads; workers are numbered from 0,
// the caller. Between its own items the caller calls report(finished items), which may throw to stop. The first
// exception ends all and is thrown again.
void for_each_item(std::size_t items, int threads,
                   const std::function<void(std::size_t worker, std::size_t item)>& work,
                   const std::function<void(std::size_t finished)>& report = {});

}  // namespace nll
