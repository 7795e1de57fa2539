// Transport: bytes between the ranks of a job, and nothing else: no sums, no meaning. One rank, threads of one process,
// MPI and NCCL implement it; Collective (collective.h) builds on it what a trainer needs.
//
// All ranks call the same operations in the same order. A blocking call that waits longer than the limit for another
// rank throws Error(peer_lost) that names that rank, its host, the operation and the step.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/check.h"
#include "kernels/tensor.h"
#include "src/dist/world.h"

namespace nll {

// What an operation is for, told when it does not end.
struct Operation {
  const char* name = "";     // "reduce-scatter", "all-gather", ...
  std::int64_t step = -1;    // of the run; -1: before the first
  std::int64_t bucket = -1;  // of gradients or weights; -1: none
};

class Transport {
 public:
  // An operation that was started; they are numbered from 1.
  using Ticket = std::uint64_t;

  virtual ~Transport() = default;
  virtual const World& world() const = 0;
  virtual std::string name() const = 0;  // "one rank", "threads", "mpi", "nccl"
  // Whether tensors may be in the memory of a GPU. Where not, Collective stages them through the host.
  virtual bool device_memory() const = 0;
  void set_limit(double seconds) { limit_seconds_ = seconds; }
  double limit_seconds() const { return limit_seconds_; }

  // The three operations on tensors. They are started here, in order behind what the device has queued, and done at
  // wait(): memory stays as it is until then. R ranks; `cuts` (R + 1) ascending element positions, the same on all
  // ranks: part r of a flat tensor of cuts[R] - cuts[0] elements is [cuts[r], cuts[r + 1]) - cuts[0].
  //
  // Part r of `send` goes to rank r. What rank r sent arrives in row r of `received` (R, length of the own part); row
  // `rank` is the own part. Any type.
  virtual Ticket all_to_all(Tensor received, Tensor send, std::span<const std::int64_t> cuts, const Operation&) = 0;
  // The own part of `data` is in place; the other ranks' parts arrive.
  virtual Ticket all_gather(Tensor data, std::span<const std::int64_t> cuts, const Operation&) = 0;
  // `data` of rank `root` arrives on all.
  virtual Ticket broadcast(Tensor data, int root, const Operation&) = 0;
  // What the device does after this may use the result (a host transport: the result is there).
  virtual void wait(Ticket ticket) = 0;
  // Moves what was started on, without blocking: for libraries that do nothing on their own.
  virtual void progress() = 0;

  // Blocks. Everybody's `mine` in the order of ranks, in host memory; the lengths are equal on all ranks.
  virtual std::vector<std::uint8_t> exchange(std::span<const std::uint8_t> mine, const Operation&) = 0;
  // Ends the whole job at once with this exit code, where the launcher can; does not return where it could.
  virtual void abort(Exit exit) noexcept = 0;

 protected:
  double limit_seconds_ = 300;
};

}  // namespace nll
