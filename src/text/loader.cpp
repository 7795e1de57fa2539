#include "src/text/loader.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "kernels/check.h"

namespace nll {

struct Loader::State {
  const TokenDataset& dataset;
  std::uint64_t seed;
  std::int64_t step_begin;  // first global sample of the step that is read
  std::int64_t samples_per_step, sequences, rank, ranks;
  std::int64_t taken = 0;  // samples of this rank's part of the step that are read

  static constexpr std::size_t ahead = 4;  // micro-batches: hides a slow read, costs little memory
  std::mutex guard{};
  std::condition_variable changed{};
  std::deque<Batch> ready{};
  std::exception_ptr failure{};
  bool stop = false;
  std::thread reader{};

  Batch read_batch() {
    const std::int64_t begin = rank * samples_per_step / ranks, end = (rank + 1) * samples_per_step / ranks;
    const std::int64_t context = dataset.context(), windows = dataset.windows();
    Batch batch;
    batch.sequences = std::min(sequences, end - begin - taken);
    batch.context = context;
    batch.tokens.resize(static_cast<std::size_t>(batch.sequences * context));
    batch.targets.resize(batch.tokens.size());
    std::vector<std::int32_t> window(static_cast<std::size_t>(context + 1));
    for (std::int64_t b = 0; b < batch.sequences; ++b) {
      const std::int64_t sample = step_begin + begin + taken + b;
      const std::int64_t epoch = sample / windows;
      dataset.window(seed, epoch, permuted_index(seed, epoch, windows, sample % windows), window);
      std::copy(window.begin(), window.end() - 1, batch.tokens.begin() + b * context);
      std::copy(window.begin() + 1, window.end(), batch.targets.begin() + b * context);
    }
    taken += batch.sequences;
    if (taken == end - begin) {
      step_begin += samples_per_step;
      taken = 0;
    }
    return batch;
  }

  void run() {
    try {
      for (;;) {
        Batch batch = read_batch();
        std::unique_lock lock(guard);
        changed.wait(lock, [this] { return stop || ready.size() < ahead; });
        if (stop) return;
        ready.push_back(std::move(batch));
        changed.notify_all();
      }
    } catch (...) {
      const std::lock_guard lock(guard);
      failure = std::current_exception();
      changed.notify_all();
    }
  }
};

Loader::Loader(const TokenDataset& dataset, std::uint64_t seed, std::int64_t first_sample,
               std::int64_t samples_per_step, std::int64_t sequences, std::int64_t rank, std::int64_t ranks)
    : state_(new State{dataset, seed, first_sample, samples_per_step, sequences, rank, ranks}) {
  CHECK(first_sample >= 0);
  CHECK(sequences > 0);
  CHECK(rank >= 0);
  CHECK(rank < ranks);
  CHECK(samples_per_step >= ranks);
  CHECK(dataset.windows() > 0);
  state_->reader = std::thread(&State::run, state_.get());
}

Loader::~Loader() {
  {
    const std::lock_guard lock(state_->guard);
    state_->stop = true;
  }
  state_->changed.notify_all();
  if (state_->reader.joinable()) state_->reader.join();
}

Batch Loader::next() {
  std::unique_lock lock(state_->guard);
  state_->changed.wait(lock, [this] { return !state_->ready.empty() || state_->failure; });
  if (state_->ready.empty()) std::rethrow_exception(state_->failure);
  Batch batch = std::move(state_->ready.front());
  state_->ready.pop_front();
  lock.unlock();
  state_->changed.notify_all();
  return batch;
}

}  // namespace nll
