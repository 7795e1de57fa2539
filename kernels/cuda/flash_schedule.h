// FlashSchedule: one call of flash attention as its kernels see it, and which block computes what.
//                                                                        B batch, T time, H heads, D head size, C = H *
//                                                                        D
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/cuda/attention_call.h"
#include "kernels/philox.h"  // NLL_HOST_DEVICE

namespace nll::cuda {

// Rows that the backward streams by at once (flash_tile_sizes.cuh says why); its statistics are padded to whole steps.
inline constexpr int flash_backward_step = 32;

struct FlashSchedule {
  int time, heads, batch_heads;  // T, H, B * H
  int width;                     // C
  int padded_time;               // T in whole steps of the backward
  int tiles;                     // blocks of one head
  int group;                     // heads whose blocks are dealt together
  float scale;                   // 1 / sqrt(D)
  float scale_base2;             // log2(e) / sqrt(D): e^(scale s) = 2^(scale_base2 s)

  unsigned blocks() const { return static_cast<unsigned>(batch_heads * tiles); }
};

// Each block takes `rows` rows of one head.
inline FlashSchedule flash_schedule(const AttentionCall& call, int rows) {
  constexpr std::int64_t most = std::numeric_limits<int>::max();
  const std::int64_t batch_heads = call.batch * call.heads, tiles = (call.time + rows - 1) / rows;
  const std::int64_t padded =
      (call.time + flash_backward_step - 1) / flash_backward_step * std::int64_t{flash_backward_step};
  CHECK(padded <= most - 256);  // a tile may reach beyond the end
  CHECK(checked_product(batch_heads, tiles) <= most);
  CHECK(3 * call.width() <= most / 128);  // offsets within a tile
  // Two of the four operands of a group's heads, read again by every block of a head, take this much of the L2 cache
  // (40 MB on an A100, 50 on an H100).
  constexpr std::int64_t group_bytes = 16 << 20;
  const std::int64_t head_bytes = 2 * padded * call.head_size * bytes_of(call.type);
  const double scale = 1 / std::sqrt(static_cast<double>(call.head_size));
  FlashSchedule schedule;
  schedule.time = static_cast<int>(call.time);
  schedule.heads = static_cast<int>(call.heads);
  schedule.batch_heads = static_cast<int>(batch_heads);
  schedule.width = static_cast<int>(call.width());
  schedule.padded_time = static_cast<int>(padded);
  schedule.tiles = static_cast<int>(tiles);
  schedule.group = static_cast<int>(std::clamp<std::int64_t>(group_bytes / head_bytes, 1, batch_heads));
  schedule.scale = static_cast<float>(scale);
  schedule.scale_base2 = static_cast<float>(scale * 1.4426950408889634);
  return schedule;
}

// What a block computes: the order-th longest tile of a head. Within a group of heads the longest tiles of all come
// first: long work begins before short work, so that the multiprocessors end together.
struct FlashWork {
  int head, order;  // head: of B * H

  // Where the head's rows begin in (B,T,3C) and in (B,T,C).
  NLL_HOST_DEVICE std::int64_t packed(const FlashSchedule& schedule, int head_size) const {
    return first_row(schedule) * 3 * schedule.width + head % schedule.heads * head_size;
  }
  NLL_HOST_DEVICE std::int64_t own(const FlashSchedule& schedule, int head_size) const {
    return first_row(schedule) * schedule.width + head % schedule.heads * head_size;
  }
  NLL_HOST_DEVICE std::int64_t first_row(const FlashSchedule& schedule) const {
    return static_cast<std::int64_t>(head / schedule.heads) * schedule.time;
  }
};
NLL_HOST_DEVICE inline FlashWork flash_work(const FlashSchedule& schedule, int block) {
  const int first = block / schedule.tiles / schedule.group * schedule.group;
  const int left = schedule.batch_heads - first, size = left < schedule.group ? left : schedule.group;
  const int rest = block - first * schedule.tiles;
  return {first + rest % size, rest / size};
}

}  // namespace nll::cuda
