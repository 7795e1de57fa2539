// The order of samples and the thread that reads ahead. A run's position in its data is one integer: the index of the
// next global sample. Which window that is depends on (seed, index) alone, so it is the same at any number of ranks.
#pragma once
#include <cstdint>
#include <memory>

#include "src/text/batch.h"
#include "src/text/token_files.h"

namespace nll {

// A stateless permutation of [0, count): a Feistel network over Philox with cycle walking. Each (seed, epoch) is
// another.
std::int64_t permuted_index(std::uint64_t seed, std::int64_t epoch, std::int64_t count, std::int64_t index);

// Reads micro-batches ahead on its own thread. Not copyable; the destructor joins.
class Loader {
 public:
  // Samples from `first_sample` on. A rank takes, of each global step of `samples_per_step` samples, the `ranks`-th
  // part that begins at rank * samples_per_step / ranks, in micro-batches of `sequences`.
  Loader(const TokenDataset& dataset, std::uint64_t seed, std::int64_t first_sample, std::int64_t samples_per_step,
         std::int64_t sequences, std::int64_t rank = 0, std::int64_t ranks = 1);
  ~Loader();
  // The next micro-batch. Rethrows what the reading thread ran into.
  Batch next();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Windows one after the other for evaluation: every token but each file's first is the target of exactly one position;
// the tail of the last window is ignore_index. Stops after `token_limit` targets (0: all). With a `stride` in [1,
// context) windows slide: each begins `stride` tokens after the one before it and only the targets that no window had
// before it are asked for (the others are ignore_index), so that from the second window of a file on each target has at
// least context - stride tokens before it. Stride 0 is the context: windows do not overlap.
//
// Of W windows rank r of R serves those from r W / R to (r + 1) W / R: neighbours, so that what goes on from window to
// window (words, documents) is cut in few places, and no rank has more than one window more than another.
class SequentialWindows {
 public:
  SequentialWindows(const TokenDataset& dataset, std::int64_t context, std::int64_t sequences, std::int64_t token_limit,
                    std::int64_t vocabulary, std::int64_t stride = 0, std::int64_t rank = 0, std::int64_t ranks = 1);
  bool next(Batch& batch);                        // false at the end; a last batch may have fewer sequences
  std::int64_t targets() const;                   // of this rank, in all; 0: it has no window
  std::int64_t before() const { return begin_; }  // targets of the ranks before this one

 private:
  // Where a window begins: `served` targets come before it, `position` of them in its file.
  struct Place {
    std::int64_t file = 0, position = 0, served = 0;
  };
  std::int64_t windows_in(std::int64_t targets) const;  // that so many targets of one file make
  Place place_of(std::int64_t window, std::int64_t limit) const;

  const TokenDataset& dataset_;
  std::int64_t context_, sequences_, vocabulary_, stride_, begin_ = 0, end_ = 0;  // targets [begin_, end_) of all
  Place place_;
};

}  // namespace nll
