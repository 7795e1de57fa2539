// The backward of rows/attention.h: P is computed again from lse.
#pragma once
#include "kernels/cpu/rows/attention.h"

namespace nll::cpu {
namespace {

// Scratch, in floats, with R = T rounded up to `block`: dy, q, dq (R, padded) and lse, D (R) of the whole head, then
// the tiles of one key block and of one pair.
struct BackwardSpace {
  std::int64_t size, padded, rows;
  float *q, *dy, *dq, *lse, *dot;         // of the head
  float *k_rows, *k_columns, *v_columns;  // (block, padded), (size, block), (size, block)
  float *dk, *dv, *p, *ds;                // (block, padded) twice, (block, block) twice

  NLL_INLINE BackwardSpace(const AttentionHead& head, float* scratch)
      : size(head.head_size), padded(round_up(head.head_size, width)), rows(round_up(head.queries, block)) {
    float* next = scratch;
    const auto take = [&](std::int64_t count) {
      float* piece = next;
      next += count;
      return piece;
    };
    q = take(rows * padded), dy = take(rows * padded), dq = take(rows * padded), lse = take(rows), dot = take(rows);
    k_rows = take(block * padded), k_columns = take(block * size), v_columns = take(block * size);
    dk = take(block * padded), dv = take(block * padded), p = take(block * block), ds = take(block * block);
  }
};

std::int64_t attention_backward_scratch(std::int64_t queries, std::int64_t head_size) {
  const std::int64_t padded = round_up(head_size, width), rows = round_up(queries, block);
  return rows * (3 * padded + 2) + block * (5 * padded + 2 * block) + 64;
}

// q (scaled), dy, lse (in units of ln 2) and D of query blocks [first, last); padded queries get lse = inf, so that
// their P is 0.
NLL_INLINE void prepare_queries(const AttentionHead& head, const BackwardSpace& space, std::int64_t first,
                                std::int64_t last) {
  for (std::int64_t begin = first * block; begin < last * block; begin += block) {
    pack_rows(space.q + begin * space.padded, head.q, head.q_stride, begin, head.queries, space.size, space.padded,
              softmax_scale(space.size) * per_ln2);
    pack_rows(space.dy + begin * space.padded, head.dy, head.y_stride, begin, head.queries, space.size, space.padded,
              1);
    for (std::int64_t i = begin; i < begin + block; ++i) {
      space.lse[i] = i < head.queries ? head.lse[i] * per_ln2 : __builtin_huge_valf();
      space.dot[i] = 0;
      if (i >= head.queries) continue;
      Floats sum{};
      for_vectors(space.size, [&](auto at) NLL_BODY {
        sum += at.get(head.y + i * head.y_stride) * at.get(head.dy + i * head.y_stride);
      });
      space.dot[i] = sum_lanes(sum);
    }
    for (std::int64_t i = begin * space.padded; i < (begin + block) * space.padded; ++i) space.dq[i] = 0;
  }
}

NLL_INLINE void prepare_keys(const AttentionHead& head, const BackwardSpace& space, std::int64_t key_block) {
  const std::int64_t begin = key_block * block;
  pack_rows(space.k_rows, head.k, head.kv_stride, begin, head.queries, space.size, space.padded, 1);
  pack_columns(space.k_columns, head.k, head.kv_stride, begin, head.queries, space.size);
  pack_columns(space.v_columns, head.v, head.kv_stride, begin, head.queries, space.size);
}

// P and dS of a block pair, (query, key). Elements beyond the diagonal are 0.
NLL_INLINE void pair_probabilities(const BackwardSpace& space, std::int64_t query_block, std::int64_t key_block) {
  const std::int64_t begin = query_block * block;
  const float* q = space.q + begin * space.padded;
  const float* dy = space.dy + begin * space.padded;
  const Tile scores{space.p, block, q, space.padded, 1, space.k_columns, block};
  const Tile dp{space.ds, block, dy, space.padded, 1, space.v_columns, block};
  for (std::int64_t strip = 0; strip < block; strip += tile_rows) {
    const std::int64_t visible = visible_keys(begin + strip, key_block * block);
    const std::int64_t columns = round_up(visible, width);
    multiply_rows(scores, strip, columns, space.size, false);
    multiply_rows(dp, strip, columns, space.size, false);
    for (std::int64_t i = strip; i < strip + tile_rows; ++i) {
      float* p = space.p + i * block;
      float* ds = space.ds + i * block;
      const float lse = space.lse[begin + i], dot = space.dot[begin + i];
      for (std::int64_t c = 0; c < columns; c += width) {
        const Floats probability = power_of_two_of(load(p + c) - lse);
        store(p + c, probability);
        store(ds + c, probability * (load(ds + c) - dot));
      }
      const std::int64_t own = begin + i + 1 - key_block * block;
      for (std::int64_t c = own; c < block; ++c) p[c] = ds[c] = 0;
    }
  }
}

NLL_INLINE void add_query_gradients(const BackwardSpace& space, std::int64_t query_block, std::int64_t key_block) {
  const std::int64_t begin = query_block * block;
  const Tile dq{space.dq + begin * space.padded, space.padded, space.ds, block, 1, space.k_rows, space.padded};
  for (std::int64_t strip = 0; strip < block; strip += tile_rows) {
    multiply_rows(dq, strip, space.padded, visible_keys(begin + strip, key_block * block), true);
  }
}

NLL_INLINE void add_key_gradients(const BackwardSpace& space, std::int64_t query_block, std::int64_t key_block) {
  const std::int64_t begin = query_block * block;
  const bool diagonal = query_block == key_block;
  for (std::int64_t strip = 0; strip < block; strip += tile_rows) {
    // Keys from `strip` on are seen by queries from `strip` on only, in the pair on the diagonal.
    const std::int64_t skip = diagonal ? strip : 0;
    const float* q = space.q + (begin + skip) * space.padded;
    const float* dy = space.dy + (begin + skip) * space.padded;
    const Tile dk{space.dk, space.padded, space.ds + skip * block, 1, block, q, space.padded};
    const Tile dv{space.dv, space.padded, space.p + skip * block, 1, block, dy, space.padded};
    multiply_rows(dk, strip, space.padded, block - skip, true);
    multiply_rows(dv, strip, space.padded, block - skip, true);
  }
}

// dq of the packed rows to its place, with the scale that q carried.
NLL_INLINE void write_query_gradients(const AttentionHead& head, const BackwardSpace& space, std::int64_t first,
                                      std::int64_t last) {
  const std::int64_t end = last * block < head.queries ? last * block : head.queries;
  const float scale = softmax_scale(space.size);
  for (std::int64_t i = first * block; i < end; ++i) {
    float* to = head.dq + i * head.q_stride;
    for_vectors(space.size, [&](auto at) NLL_BODY { at.put(to, at.get(space.dq + i * space.padded) * scale); });
  }
}

NLL_INLINE void clear_key_gradients(const BackwardSpace& space) {
  for (std::int64_t i = 0; i < block * space.padded; ++i) space.dk[i] = space.dv[i] = 0;
}

NLL_INLINE void write_key_gradients(const AttentionHead& head, const BackwardSpace& space, std::int64_t key_block) {
  const std::int64_t begin = key_block * block;
  for (std::int64_t i = 0; i < block && begin + i < head.queries; ++i) {
    float* dk = head.dk + (begin + i) * head.kv_stride;
    float* dv = head.dv + (begin + i) * head.kv_stride;
    for_vectors(space.size, [&](auto at) NLL_BODY {
      at.put(dk, at.get(space.dk + i * space.padded) * ln2);  // q carried its inverse
      at.put(dv, at.get(space.dv + i * space.padded));
    });
  }
}

void attention_backward_head(const AttentionHead& head, float* scratch) {
  const BackwardSpace space(head, scratch);
  const std::int64_t blocks = space.rows / block;
  prepare_queries(head, space, 0, blocks);
  for (std::int64_t key_block = 0; key_block < blocks; ++key_block) {
    prepare_keys(head, space, key_block);
    clear_key_gradients(space);
    for (std::int64_t query_block = key_block; query_block < blocks; ++query_block) {
      pair_probabilities(space, query_block, key_block);
      add_query_gradients(space, query_block, key_block);
      add_key_gradients(space, query_block, key_block);
    }
    write_key_gradients(head, space, key_block);
  }
  write_query_gradients(head, space, 0, blocks);
}

void attention_backward_queries(const AttentionHead& head, std::int64_t first_block, std::int64_t last_block,
                                float* scratch) {
  const BackwardSpace space(head, scratch);
  prepare_queries(head, space, first_block, last_block);
  for (std::int64_t key_block = 0; key_block < last_block; ++key_block) {
    prepare_keys(head, space, key_block);
    for (std::int64_t query_block = key_block > first_block ? key_block : first_block; query_block < last_block;
         ++query_block) {
      pair_probabilities(space, query_block, key_block);
      add_query_gradients(space, query_block, key_block);
    }
  }
  write_query_gradients(head, space, first_block, last_block);
}

void attention_backward_keys(const AttentionHead& head, std::int64_t first_block, std::int64_t last_block,
                             float* scratch) {
  const BackwardSpace space(head, scratch);
  const std::int64_t blocks = space.rows / block;
  prepare_queries(head, space, first_block, blocks);
  for (std::int64_t key_block = first_block; key_block < last_block; ++key_block) {
    prepare_keys(head, space, key_block);
    clear_key_gradients(space);
    for (std::int64_t query_block = key_block; query_block < blocks; ++query_block) {
      pair_probabilities(space, query_block, key_block);
      add_key_gradients(space, query_block, key_block);
    }
    write_key_gradients(head, space, key_block);
  }
}

}  // namespace
}  // namespace nll::cpu
