// Block: the threads of one CUDA block, one fiber each, and the points where they meet.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/cuda_on_host/vector_types.h"

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

namespace nll::cuda_on_host {

// A kernel that a GPU could not have run to its end: names kernel, block and thread.
class KernelFault : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

struct Launch {
  std::function<void()> kernel;  // what one thread runs
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  std::function<std::string()> name;  // of the kernel, for messages
};

// Runs all blocks of a launch in order, each to its end. Throws what a thread throws, with the place put before it, or
// KernelFault. Not reentrant: shared memory and threadIdx are those of one block at a time.
void run(const Launch& launch);

// Where a thread waits for others: two calls meet when name, place and mask agree.
struct Meeting {
  const char* name;
  const char* file;
  int line;
  std::uint32_t mask = 0;  // of the lanes of its warp that meet; 0: all threads of the block
  void* data = nullptr;    // this thread's part, on its own stack
};

// Called once for a meeting, by whoever comes last: parts[i] is the data of lane i of the warp (null: not in the mask),
// or of thread i of the block.
using Combine = void (*)(void* const* parts, int count);

// Returns when all have come and `combine` (null: none) was called.
void meet(const Meeting& meeting, Combine combine);

// Throws KernelFault for the thread that is running: block, thread and file:line are put before the text.
[[noreturn]] void fault(const std::string& text, const char* file, int line);

// Dynamic shared memory of the block that is running: NaNs at its start.
unsigned char* dynamic_shared_memory();
// Lane of the thread that is running.
int current_lane();

// What a thread began to copy to shared memory and has not waited for.
struct PendingCopy {
  void* to;
  unsigned char bytes[16];
};
struct PendingCopies {
  std::vector<PendingCopy> copies;      // oldest first
  std::vector<std::size_t> group_ends;  // a commit each: index into copies
};
PendingCopies& current_pending_copies();

}  // namespace nll::cuda_on_host
