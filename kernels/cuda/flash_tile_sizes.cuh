// The tile sizes of flash attention, each with its reason, and the bridge from a call to a kernel's types.
#pragma once
#include <type_traits>

#include "kernels/cuda/flash_schedule.h"
#include "kernels/cuda/number.cuh"
#include "kernels/cuda/warp.cuh"

namespace nll::cuda {

// Blocks of 4 warps, one for each scheduler of a multiprocessor. Two blocks fit, so that one's exponentials run under
// the other's products.
inline constexpr int flash_threads = 128;
inline constexpr int flash_warps = flash_threads / warp_size;

template <int head_size>
struct FlashTiles {
  static_assert(head_size == 64 || head_size == 128, "flash attention: head size 64 or 128");
  // Forward. 32 queries a warp: each part of K and V that is read from shared memory serves two products, without which
  // those reads, not the products, set the time. 64 keys: the scores (64 registers) fit beside y (64 or 128).
  static constexpr int forward_queries = 32 * flash_warps;
  static constexpr int forward_keys = 64;
  // dK and dV stay in registers: with 32 keys a warp they take 128 of them at head size 64. At 128 they would take
  // 256, so a warp has 16 keys there, and each part of Q and dY that it reads serves one product.
  static constexpr int keys_per_warp = head_size == 64 ? 32 : 16;
  static constexpr int backward_keys = keys_per_warp * flash_warps;
  // dQ takes 64 or 128 registers with 32 queries a warp.
  static constexpr int backward_queries = 32 * flash_warps;
  // What the backward streams past them: 32 rows leave P and dP 64 registers together.
  static constexpr int backward_step = flash_backward_step;
};

// f(TypeTag<T>{}, std::integral_constant<int, D>{}) for the call's type and head size, which must be among ours.
template <class F>
void with_flash_kernel(const AttentionCall& call, F&& f) {
  const auto with_size = [&](auto tag) {
    if (call.head_size == 64) {
      f(tag, std::integral_constant<int, 64>{});
    } else {
      f(tag, std::integral_constant<int, 128>{});
    }
  };
  if (call.type == DType::bf16) {
    with_size(TypeTag<__nv_bfloat16>{});
  } else {
    with_size(TypeTag<__half>{});
  }
}

}  // namespace nll::cuda
