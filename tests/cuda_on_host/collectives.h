// What the threads of a warp or a block do together, under CUDA's names. The place of the call (the defaults at the
// end) tells one call from another: threads that meet at different ones are reported.
#pragma once
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tests/cuda_on_host/block.h"

namespace nll::cuda_on_host {

inline constexpr unsigned whole_warp = 0xffffffffu;

struct ShufflePart {
  void* value;  // read, then overwritten by what the lane gets
  unsigned bytes;
  int source;  // lane whose value it wants; -1: keeps its own
};

// Everybody's value at once, then each takes its own: a value of a lane that takes no part is not defined and is NaN.
void combine_shuffle(void* const* parts, int count);

struct Vote {
  bool yes;
  unsigned ballot;  // of the lanes, or the number of threads of the block
};
void combine_ballot(void* const* parts, int count);
void combine_count(void* const* parts, int count);

template <class T>
T shuffle(const char* name, unsigned mask, T value, int source, const char* file, int line) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "shuffle: at most 8 bytes");
  ShufflePart part{&value, sizeof(T), source};
  const Meeting meeting{name, file, line, mask, &part};
  meet(meeting, combine_shuffle);
  return value;
}

inline unsigned ballot(const char* name, unsigned mask, bool yes, const char* file, int line) {
  Vote vote{yes, 0};
  const Meeting meeting{name, file, line, mask, &vote};
  meet(meeting, combine_ballot);
  return vote.ballot;
}

inline unsigned count_of_block(const char* name, bool yes, const char* file, int line) {
  Vote vote{yes, 0};
  const Meeting meeting{name, file, line, 0, &vote};
  meet(meeting, combine_count);
  return vote.ballot;
}

}  // namespace nll::cuda_on_host

#define NLL_CALLED_FROM const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(NLL_CALLED_FROM) {
  const nll::cuda_on_host::Meeting meeting{"__syncthreads", file, line};
  nll::cuda_on_host::meet(meeting, nullptr);
}
inline int __syncthreads_count(int predicate, NLL_CALLED_FROM) {
  return static_cast<int>(nll::cuda_on_host::count_of_block("__syncthreads_count", predicate != 0, file, line));
}
inline int __syncthreads_or(int predicate, NLL_CALLED_FROM) {
  return nll::cuda_on_host::count_of_block("__syncthreads_or", predicate != 0, file, line) != 0;
}
inline int __syncthreads_and(int predicate, NLL_CALLED_FROM) {
  return nll::cuda_on_host::count_of_block("__syncthreads_and", predicate == 0, file, line) == 0;
}
inline void __syncwarp(unsigned mask = nll::cuda_on_host::whole_warp, NLL_CALLED_FROM) {
  const nll::cuda_on_host::Meeting meeting{"__syncwarp", file, line, mask};
  nll::cuda_on_host::meet(meeting, nullptr);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, NLL_CALLED_FROM) {
  const int own = nll::cuda_on_host::current_lane();
  const int source = (own & ~(width - 1)) | (lane & (width - 1));
  return nll::cuda_on_host::shuffle("__shfl_sync", mask, value, source, file, line);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32, NLL_CALLED_FROM) {
  const int own = nll::cuda_on_host::current_lane();
  const int source = own - static_cast<int>(distance);
  return nll::cuda_on_host::shuffle("__shfl_up_sync", mask, value, source < (own & ~(width - 1)) ? -1 : source, file,
                                    line);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32, NLL_CALLED_FROM) {
  const int own = nll::cuda_on_host::current_lane();
  const int source = own + static_cast<int>(distance);
  return nll::cuda_on_host::shuffle("__shfl_down_sync", mask, value, source > (own | (width - 1)) ? -1 : source, file,
                                    line);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, NLL_CALLED_FROM) {
  const int own = nll::cuda_on_host::current_lane();
  const int source = own ^ lanes;
  return nll::cuda_on_host::shuffle("__shfl_xor_sync", mask, value, source > (own | (width - 1)) ? -1 : source, file,
                                    line);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, NLL_CALLED_FROM) {
  return nll::cuda_on_host::ballot("__ballot_sync", mask, predicate != 0, file, line);
}
inline int __any_sync(unsigned mask, int predicate, NLL_CALLED_FROM) {
  return nll::cuda_on_host::ballot("__any_sync", mask, predicate != 0, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, NLL_CALLED_FROM) {
  return nll::cuda_on_host::ballot("__all_sync", mask, predicate != 0, file, line) == mask;
}
