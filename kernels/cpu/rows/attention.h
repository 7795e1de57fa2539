// Causal attention of one head by blocks with a running softmax (Milakov and Gimelshein, 2018; Dao et al., 2022):
//   S = scale Q K^T,  P = e^(S - lse),  O = P V,  lse_i = log sum_j e^S_ij
//   D_i = dO_i . O_i,  dS = P (dO V^T - D),  dQ = scale dS K,  dK = dS^T (scale Q),  dV = P^T dO
// A block pair is `block` queries by `block` keys; pairs above the diagonal are never looked at, and within a pair on
// the diagonal a strip of 4 queries stops at its own keys. K^T and V are packed once a head; memory is linear in T.
// Padded rows and columns are zero. Each dQ, dK, dV element is summed in the order of the blocks, whoever computes it.
#pragma once
#include "kernels/cpu/rows/math.h"
#include "kernels/cpu/rows/tile.h"

namespace nll::cpu {
namespace {

constexpr std::int64_t block = 64;

// Copies rows [begin, begin + block) of x (count rows of head_size) into a tile of `padded` columns, scaled.
NLL_INLINE void pack_rows(float* tile, const float* x, std::int64_t stride, std::int64_t begin, std::int64_t count,
                          std::int64_t head_size, std::int64_t padded, float scale) {
  for (std::int64_t i = 0; i < block; ++i) {
    float* to = tile + i * padded;
    std::int64_t filled = 0;
    if (begin + i < count) {
      const float* from = x + (begin + i) * stride;
      for_vectors(head_size, [&](auto at) NLL_BODY { at.put(to, at.get(from) * scale); });
      filled = head_size;
    }
    for (std::int64_t d = filled; d < padded; ++d) to[d] = 0;
  }
}

// The same, transposed: tile (head_size, block).
NLL_INLINE void pack_columns(float* tile, const float* x, std::int64_t stride, std::int64_t begin, std::int64_t count,
                             std::int64_t head_size) {
  for (std::int64_t i = 0; i < block; ++i) {
    const float* from = x + (begin + i) * stride;
    if (begin + i < count) {
      for (std::int64_t d = 0; d < head_size; ++d) tile[d * block + i] = from[d];
    } else {
      for (std::int64_t d = 0; d < head_size; ++d) tile[d * block + i] = 0;
    }
  }
}

NLL_INLINE float softmax_scale(std::int64_t head_size) { return 1.0f / __builtin_sqrtf(static_cast<float>(head_size)); }

// Within a block, scores are in units of ln 2: e^s = 2^(s / ln 2).
constexpr float per_ln2 = 1.44269504f;
constexpr float ln2 = 0.693147181f;

// How many of the keys of the block that begins at `first_key` the last of 4 queries from `first_query` on may see.
NLL_INLINE std::int64_t visible_keys(std::int64_t first_query, std::int64_t first_key) {
  const std::int64_t visible = first_query + tile_rows - first_key;
  return visible < block ? visible : block;
}

std::int64_t attention_scratch(std::int64_t, std::int64_t keys, std::int64_t head_size) {
  const std::int64_t padded = round_up(head_size, width), rows = round_up(keys, block);
  return rows * (head_size + padded) + block * (block + 2 * padded) + 64;
}

void attention_head(const AttentionHead& head, std::int64_t first_block, std::int64_t last_block, float* scratch) {
  const std::int64_t size = head.head_size, padded = round_up(size, width);
  const std::int64_t last_query = last_block * block < head.queries ? last_block * block : head.queries;
  const std::int64_t keys = head.first_position + last_query;
  const std::int64_t key_blocks = (keys + block - 1) / block;
  float* k_tiles = scratch;                              // (key_blocks, size, block)
  float* v_tiles = k_tiles + key_blocks * size * block;  // (key_blocks, block, padded)
  float* q = v_tiles + key_blocks * block * padded;      // (block, padded)
  float* s = q + block * padded;                         // (block, block)
  float* o = s + block * block;                          // (block, padded)
  float largest[block], denominator[block];
  for (std::int64_t j = 0; j < key_blocks; ++j) {
    pack_columns(k_tiles + j * size * block, head.k, head.kv_stride, j * block, keys, size);
    pack_rows(v_tiles + j * block * padded, head.v, head.kv_stride, j * block, keys, size, padded, 1);
  }
  for (std::int64_t query_block = first_block; query_block < last_block; ++query_block) {
    const std::int64_t begin = query_block * block;
    const std::int64_t count = begin + block < head.queries ? block : head.queries - begin;
    const std::int64_t first_position = head.first_position + begin;
    pack_rows(q, head.q, head.q_stride, begin, head.queries, size, padded, softmax_scale(size) * per_ln2);
    for (std::int64_t i = 0; i < block; ++i) {
      largest[i] = -__builtin_huge_valf();
      denominator[i] = 0;
    }
    for (std::int64_t i = 0; i < block * padded; ++i) o[i] = 0;
    for (std::int64_t first_key = 0; first_key < first_position + count; first_key += block) {
      const std::int64_t j = first_key / block;
      const Tile scores{s, block, q, padded, 1, k_tiles + j * size * block, block};
      const Tile output{o, padded, s, block, 1, v_tiles + j * block * padded, padded};
      for (std::int64_t strip = 0; strip < count; strip += tile_rows) {
        const std::int64_t visible = visible_keys(first_position + strip, first_key);
        if (visible <= 0) continue;
        const std::int64_t columns = round_up(visible, width);
        multiply_rows(scores, strip, columns, size, false);
        for (std::int64_t i = strip; i < strip + tile_rows; ++i) {
          float* row = s + i * block;
          // Keys beyond the query, in the strip's own columns.
          const std::int64_t own = first_position + i + 1 - first_key;
          for (std::int64_t c = own < 0 ? 0 : own; c < columns; ++c) row[c] = -__builtin_huge_valf();
          if (own <= 0) {
            for (std::int64_t c = 0; c < columns; ++c) row[c] = 0;
            continue;
          }
          Floats high = load(row);
          for (std::int64_t c = width; c < columns; c += width) high = maximum(load(row + c), high);
          const float row_largest = largest_lane(high);
          const float next = row_largest > largest[i] ? row_largest : largest[i];
          Floats sum{};
          for (std::int64_t c = 0; c < columns; c += width) {
            const Floats p = power_of_two_of(load(row + c) - next);
            store(row + c, p);
            sum += p;
          }
          if (next != largest[i]) {
            const float shrink = first_key == 0 ? 0.0f : power_of_two_of(broadcast(largest[i] - next))[0];
            denominator[i] *= shrink;
            for (std::int64_t d = 0; d < padded; d += width)
              store(o + i * padded + d, load(o + i * padded + d) * shrink);
            largest[i] = next;
          }
          denominator[i] += sum_lanes(sum);
        }
        multiply_rows(output, strip, padded, visible, true);
      }
    }
    for (std::int64_t i = 0; i < count; ++i) {
      float* y = head.y + (begin + i) * head.y_stride;
      const float inverse = 1.0f / denominator[i];
      for_vectors(size, [&](auto at) NLL_BODY { at.put(y, at.get(o + i * padded) * inverse); });
      if (head.lse != nullptr) head.lse[begin + i] = largest[i] * ln2 + __builtin_logf(denominator[i]);
    }
  }
}

// One query without packing: scores, softmax, mean of the values. For decoding, where each key is used once.
void attention_row(const AttentionHead& head, std::int64_t query, float* scratch) {
  const std::int64_t size = head.head_size, keys = head.first_position + query + 1;
  const float* q = head.q + query * head.q_stride;
  const float scale = softmax_scale(size);
  float largest = -__builtin_huge_valf();
  for (std::int64_t j = 0; j < keys; ++j) {
    const float* k = head.k + j * head.kv_stride;
    Floats sum{};
    for_vectors(size, [&](auto at) NLL_BODY { sum += at.get(q) * at.get(k); });
    scratch[j] = sum_lanes(sum) * scale;
    largest = scratch[j] > largest ? scratch[j] : largest;
  }
  float denominator = 0;
  for (std::int64_t j = 0; j < keys; j += width) {
    const std::int64_t count = keys - j < width ? keys - j : width;
    const Floats s = count == width ? load(scratch + j) : load_part(scratch + j, count, -__builtin_huge_valf());
    const Floats p = exponential(s - largest);
    if (count == width) {
      store(scratch + j, p);
    } else {
      store_part(scratch + j, p, count);
    }
    denominator += sum_lanes(p);
  }
  float* y = head.y + query * head.y_stride;
  const float inverse = 1.0f / denominator;
  for_vectors(size, [&](auto at) NLL_BODY {
    Floats sum{};
    for (std::int64_t j = 0; j < keys; ++j) sum += scratch[j] * at.get(head.v + j * head.kv_stride);
    at.put(y, sum * inverse);
  });
  if (head.lse != nullptr) head.lse[query] = largest + __builtin_logf(denominator);
}

}  // namespace
}  // namespace nll::cpu
