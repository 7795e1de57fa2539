// Collective: what the ranks of a job do together. Sums are our own: parts travel by all_to_all and are added in the
// order of ranks (or in a tree over them) by Ops, so that the bits depend neither on the library nor on how gradients
// are cut into buckets. With one rank every operation is nothing at all.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/arena.h"
#include "kernels/device.h"
#include "kernels/ops.h"
#include "src/dist/transport.h"

namespace nll {

// A span of a flat arena that is reduced or gathered as one, and who owns which part of it.
struct Bucket {
  std::int64_t index = 0;
  std::vector<std::int64_t> cuts;  // (R + 1) element positions in the arena; part r belongs to rank r
  std::int64_t begin() const { return cuts.front(); }
  std::int64_t end() const { return cuts.back(); }
  std::int64_t size() const { return end() - begin(); }
};

// What each rank says once a step (and the answer: what all said). Plain data, the same layout on all ranks.
struct ControlWord {
  std::int64_t step = 0;
  std::uint64_t sequence = 0;  // operations started so far: set by control()
  std::int32_t stop = 0;       // somebody asked this rank to save and leave
  std::int32_t finite = 1;
  double sums[8] = {};  // added over ranks in their order
};
struct Agreement {
  bool stop = false;   // any
  bool finite = true;  // all
  double sums[8] = {};
  std::vector<ControlWord> words;  // of each rank
};

class Collective {
 public:
  struct Settings {
    SumOrder order = SumOrder::sequence;
    DType wire = DType::f32;          // of gradients on their way; bf16 rounds each rank's part once
    std::int64_t largest_bucket = 0;  // elements; decides the size of the working memory
    std::int64_t largest_part = 0;    // of one rank in a bucket; 0: an even share in whole norm blocks (kernels/ops.h)
  };
  // Working memory of reductions on the device: for two buckets on their way; nothing for one rank.
  static ArenaPlan plan(const Settings& settings, const World& world);

  // A transport that knows host memory only is staged (staged.h) where tensors live on a GPU.
  Collective(std::shared_ptr<Transport> transport, Device& device, Ops& ops, const Settings& settings);
  ~Collective();
  const World& world() const;
  bool alone() const { return world().size == 1; }
  void set_step(std::int64_t step);
  // What carries it all; for its limit.
  Transport& transport();

  // All ranks start and finish the same buckets in the same order. Each that was started is finished once.
  //
  // Starts the sum over ranks of a bucket of FP32 `arena`: after finish_reduce(bucket) the own part of it holds the
  // sum; the others are as they were. Two buckets are on their way at most: the start of a third waits for the first.
  void start_reduce(Tensor arena, const Bucket& bucket);
  void finish_reduce(const Bucket& bucket);
  // Starts fetching the other ranks' parts of a bucket of `arena`, any type; they are there after finish_gather. Of two
  // with the same bucket the one that was started first is finished first.
  void start_gather(Tensor arena, const Bucket& bucket);
  void finish_gather(const Bucket& bucket);
  void progress();
  // Bytes of gradients and of what was gathered that this rank has sent to others so far.
  std::int64_t bytes_sent() const;

  // Blocking, for what is not in a hurry.
  void broadcast(Tensor tensor, int root);
  void barrier(const char* name);
  // Everybody's bytes in the order of ranks; lengths may differ.
  std::vector<std::string> exchange(const std::string& mine, const char* name);
  // The control exchange. Throws an AgreedError(peer_lost), the same on all ranks, that names those whose step or count
  // of operations is not that of most ranks; where there is no such majority the side of the lowest rank is right.
  Agreement control(ControlWord mine);

  // Runs `work` on every rank; when it throws an Error on any of them all throw that of the lowest such rank (its text
  // prefixed with rank and host unless all failed alike). So all ranks leave together.
  void together(const char* name, const std::function<void()>& work);
  // Ends the job on all ranks at once, where the launcher can.
  void abort(Exit exit) noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// One rank: no library, nothing to wait for. Host memory.
std::shared_ptr<Transport> one_rank();

}  // namespace nll
