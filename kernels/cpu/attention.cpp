// Causal attention.                             B batch, T time, C width, H heads, D = C / H;  qkv (B,T,3C), lse
// (B,H,T) The arithmetic of one head is in rows/attention.h; here the heads and their blocks of queries are dealt to
// the threads. A block of queries costs as many pairs of blocks as it has blocks of keys before it. Neither a sum's
// order nor its grouping depends on who computes it.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

struct AttentionShape {
  std::int64_t batch, time, width, heads, head_size;
};

AttentionShape attention_shape(const Tensor& qkv, std::int64_t heads) {
  CHECK(qkv.rank() == 3);
  CHECK(qkv.dim(2) % 3 == 0);
  const std::int64_t width = qkv.dim(2) / 3;
  CHECK(heads >= 1);
  CHECK(width % heads == 0);
  return {qkv.dim(0), qkv.dim(1), width, heads, width / heads};
}

// Head `index` of B * H, within qkv.
AttentionHead head_of(const AttentionShape& shape, std::int64_t index, const float* qkv, float* y, float* lse) {
  const std::int64_t b = index / shape.heads, h = index % shape.heads;
  AttentionHead head;
  head.q = qkv + b * shape.time * 3 * shape.width + h * shape.head_size;
  head.k = head.q + shape.width;
  head.v = head.k + shape.width;
  head.q_stride = head.kv_stride = 3 * shape.width;
  head.queries = shape.time;
  head.head_size = shape.head_size;
  head.y = y + b * shape.time * shape.width + h * shape.head_size;
  head.y_stride = shape.width;
  head.lse = lse == nullptr ? nullptr : lse + index * shape.time;
  return head;
}

// The blocks of `blocks` that one thread computes for each head: calls body(head, first, last). cost(block) in any
// unit.
template <class Cost, class Body>
void deal_blocks(std::int64_t heads, std::int64_t blocks, int thread, int threads, Cost&& cost, Body&& body) {
  std::int64_t total = 0;
  for (std::int64_t i = 0; i < blocks; ++i) total += cost(i);
  const Range share = part_of(total * heads, 1, thread, threads);
  // A block belongs to the thread in whose share its cost begins.
  for (std::int64_t head = share.begin / std::max<std::int64_t>(total, 1); head < heads; ++head) {
    std::int64_t at = head * total, first = blocks, last = 0;
    if (at >= share.end) break;
    for (std::int64_t i = 0; i < blocks; at += cost(i), ++i) {
      if (at < share.begin || at >= share.end) continue;
      first = std::min(first, i);
      last = i + 1;
    }
    if (first < last) body(head, first, last);
  }
}

// Heads dealt whole keep all threads busy when they leave at most this part of the time idle; else their blocks are
// dealt, for which the backward computes 7 products instead of 5.
bool heads_are_enough(std::int64_t heads, int threads) {
  const std::int64_t rounds = (heads + threads - 1) / threads;
  return static_cast<double>(heads) >= 5.0 / 7.0 * static_cast<double>(rounds * threads);
}

}  // namespace

void CpuOps::attention(Tensor y, Tensor lse, Tensor qkv, std::int64_t heads) {
  const AttentionShape shape = attention_shape(qkv, heads);
  float* out = expect_rows(y, "y", shape.batch * shape.time, shape.width);
  float* log_sums = expect_size(lse, "lse", shape.batch * shape.heads * shape.time);
  const float* in = qkv.as<float>();
  const std::int64_t blocks = (shape.time + rows_.query_block - 1) / rows_.query_block;
  team_->run([&](int thread) {
    float* space = scratch_.floats(thread, rows_.attention_scratch(shape.time, shape.time, shape.head_size));
    deal_blocks(
        shape.batch * shape.heads, blocks, thread, team_->size(), [](std::int64_t block) { return block + 1; },
        [&](std::int64_t head, std::int64_t first, std::int64_t last) {
          rows_.attention(head_of(shape, head, in, out, log_sums), first, last, space);
        });
  });
}

void CpuOps::attention_backward(Tensor dqkv, Tensor dy, Tensor y, Tensor lse, Tensor qkv, std::int64_t heads) {
  const AttentionShape shape = attention_shape(qkv, heads);
  const std::int64_t n = shape.batch * shape.time, all_heads = shape.batch * shape.heads;
  float* out = expect_rows(dqkv, "dqkv", n, 3 * shape.width);
  const float* gradient = expect_rows(dy, "dy", n, shape.width);
  float *forward = expect_rows(y, "y", n, shape.width), *log_sums = expect_size(lse, "lse", all_heads * shape.time);
  const float* in = qkv.as<float>();
  CHECK(out != in);  // keys are read again after their gradients are written
  const auto head_at = [&](std::int64_t index) {
    AttentionHead head = head_of(shape, index, in, forward, log_sums);
    head.dy = gradient + (head.y - forward);
    head.dq = out + (head.q - in);
    head.dk = out + (head.k - in);
    head.dv = out + (head.v - in);
    return head;
  };
  const std::int64_t blocks = (shape.time + rows_.query_block - 1) / rows_.query_block;
  const bool whole = blocks == 1 || heads_are_enough(all_heads, team_->size());
  team_->run([&](int thread) {
    float* space = scratch_.floats(thread, rows_.attention_backward_scratch(shape.time, shape.head_size));
    if (whole) {
      const Range part = part_of(all_heads, 1, thread, team_->size());
      for (std::int64_t head = part.begin; head < part.end; ++head) rows_.attention_backward(head_at(head), space);
      return;
    }
    deal_blocks(
        all_heads, blocks, thread, team_->size(), [](std::int64_t block) { return block + 1; },
        [&](std::int64_t head, std::int64_t first, std::int64_t last) {
          rows_.attention_backward_queries(head_at(head), first, last, space);
        });
    deal_blocks(
        all_heads, blocks, thread, team_->size(), [&](std::int64_t block) { return blocks - block; },
        [&](std::int64_t head, std::int64_t first, std::int64_t last) {
          rows_.attention_backward_keys(head_at(head), first, last, space);
        });
  });
}

void CpuOps::attention_cached(Tensor y, Tensor k_cache, Tensor v_cache, Tensor qkv, std::int64_t position,
                              std::int64_t heads) {
  const AttentionShape shape = attention_shape(qkv, heads);
  CHECK(k_cache.rank() == 3);
  const std::int64_t context = k_cache.dim(1), width = shape.width, fresh = shape.time;
  float* keys = expect(k_cache, "k_cache", {shape.batch, context, width});
  float* values = expect(v_cache, "v_cache", {shape.batch, context, width});
  float* out = expect_rows(y, "y", shape.batch * fresh, width);
  CHECK(position >= 0);
  CHECK(position + fresh <= context);
  const float* in = qkv.as<float>();
  team_->for_each_part(shape.batch * fresh, 1, [&](Range part, int) {
    for (std::int64_t i = part.begin; i < part.end; ++i) {
      const std::int64_t to = (i / fresh * context + position + i % fresh) * width;
      const std::size_t bytes = static_cast<std::size_t>(width) * sizeof(float);
      std::memcpy(keys + to, in + (3 * i + 1) * width, bytes);
      std::memcpy(values + to, in + (3 * i + 2) * width, bytes);
    }
  });
  const auto head_at = [&](std::int64_t index) {
    AttentionHead head = head_of(shape, index, in, out, nullptr);
    head.k = keys + (index / heads * context) * width + index % heads * shape.head_size;
    head.v = values + (head.k - keys);
    head.kv_stride = width;
    head.first_position = position;
    return head;
  };
  const std::int64_t all_heads = shape.batch * heads;
  // Packing the keys pays when many queries share them.
  constexpr std::int64_t few_queries = 8;
  if (fresh < few_queries) {
    team_->for_each_part(all_heads * fresh, 1, [&](Range part, int thread) {
      // For the whole context at once, so that it does not grow with every token.
      float* space = scratch_.floats(thread, context);
      for (std::int64_t i = part.begin; i < part.end; ++i) rows_.attention_row(head_at(i / fresh), i % fresh, space);
    });
    return;
  }
  const std::int64_t blocks = (fresh + rows_.query_block - 1) / rows_.query_block;
  const std::int64_t before = position / rows_.query_block;
  team_->run([&](int thread) {
    float* space = scratch_.floats(thread, rows_.attention_scratch(fresh, context, shape.head_size));
    deal_blocks(
        all_heads, blocks, thread, team_->size(), [&](std::int64_t block) { return before + block + 1; },
        [&](std::int64_t head, std::int64_t first, std::int64_t last) {
          rows_.attention(head_at(head), first, last, space);
        });
  });
}

}  // namespace nll::cpu
