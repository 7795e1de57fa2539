// N tokens, C width, Vp stored vocabulary, n tokens of a chunk or a slice of it.
#include "src/model/head.h"

#include <algorithm>
#include <bit>

#include "src/model/parameters.h"

namespace nll {

namespace {

// Rows of the statistics; the first six are Head::statistics_block().
enum { logp_row, maximum_row, log_denominator_row, entropy_row, mean_logp_row, argmax_row, sum_p2_row, rank_row, rows };

bool in_place(const Numerics& numerics) { return numerics.logits == numerics.compute; }

std::int64_t whole_128s(std::int64_t tokens) { return tokens / 128 * 128; }

}  // namespace

HeadChunks Head::chunks(const ModelConfig& model, const HeadConfig& head, std::int64_t tokens,
                        const Numerics& numerics) {
  const std::int64_t row = 4 * padded_vocabulary(model.vocabulary);  // bytes of a token's FP32 logits
  HeadChunks chunks;
  if (head.chunk_tokens) {
    chunks.chunk = *head.chunk_tokens;
  } else if (numerics.gpu) {
    // Each chunk reads and writes the gradient of wte: with 16k tokens that is lost beside the products.
    const std::int64_t budget = std::int64_t{2} << 30;
    chunks.chunk = std::clamp<std::int64_t>(whole_128s(budget / (numerics.rounded() ? row / 2 : row)), 128, 16384);
  } else {
    // Bytes: a few L3 caches, and wide enough for a full-speed GEMM.
    chunks.chunk = std::max<std::int64_t>(whole_128s((std::int64_t{64} << 20) / row), 256);
  }
  chunks.chunk = std::min(tokens, chunks.chunk);
  chunks.logits = chunks.chunk;
  if (!in_place(numerics)) {
    // As many as the cache holds, but enough that the product has a tile for each multiprocessor.
    const std::int64_t fit = std::max<std::int64_t>(whole_128s(numerics.cache_bytes / row), 256);
    chunks.logits = std::min(chunks.chunk, head.logits_tokens ? *head.logits_tokens : fit);
  }
  return chunks;
}

ArenaPlan Head::plan(const ModelConfig& model, const HeadConfig& head, std::int64_t tokens, const Numerics& numerics,
                     HeadSlots* slots, RowChoice choice) {
  const HeadChunks sizes = chunks(model, head, tokens, numerics);
  const std::int64_t Vp = padded_vocabulary(model.vocabulary);
  const bool chosen = choice == RowChoice::chosen;
  const std::int64_t least = chosen ? chosen_rows : 0, chunk = std::max(sizes.chunk, least);
  ArenaPlan plan("head");
  HeadSlots made{};
  made.logits = plan.add("logits", numerics.logits, {std::max(sizes.logits, least), Vp});
  made.dlogits = in_place(numerics) ? -1 : plan.add("dlogits", numerics.compute, {chunk, Vp});
  made.statistics = plan.add("statistics", DType::f32, {rows, tokens});
  made.chosen = chosen ? plan.add("chosen", numerics.compute, {chunk, model.width}) : -1;
  made.dchosen = chosen ? plan.add("dchosen", numerics.compute, {chunk, model.width}) : -1;
  if (slots != nullptr) *slots = made;
  return plan;
}

Head::Head(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device, std::int64_t tokens,
           const Numerics& numerics, RowChoice choice)
    : ops_(ops),
      device_(device),
      gpu_(numerics.gpu),
      chunks_(chunks(model, head, tokens, numerics)),
      arena_(device, plan(model, head, tokens, numerics, &slots_, choice)) {
  shape_.vocabulary = model.vocabulary;
  shape_.softcap = static_cast<float>(head.softcap);
}

void Head::set_temperature(double temperature) {
  CHECK(temperature > 0);
  shape_.inverse_temperature = static_cast<float>(1 / temperature);
}

TokenStatistics Head::statistics(std::int64_t begin, std::int64_t count, bool ranked) const {
  const Tensor all = arena_[slots_.statistics];
  const auto part = [&](int row) { return all.slice(row, 1).reshape({all.dim(1)}).slice(begin, count); };
  const auto integers = [&](int row) { return Tensor(part(row).data(), DType::i32, {count}); };
  TokenStatistics s;
  s.logp = part(logp_row);
  s.maximum = part(maximum_row);
  s.log_denominator = part(log_denominator_row);
  s.entropy = part(entropy_row);
  s.mean_logp = part(mean_logp_row);
  s.argmax = integers(argmax_row);
  if (ranked) {
    s.sum_p2 = part(sum_p2_row);
    s.rank = integers(rank_row);
  }
  return s;
}

TokenStatistics Head::score(Tensor hidden, Tensor targets, Tensor wte, bool ranked) {
  const std::int64_t N = hidden.dim(0);
  for (std::int64_t begin = 0; begin < N; begin += chunks_.logits) {
    const std::int64_t n = std::min(chunks_.logits, N - begin);
    const Tensor logits = arena_[slots_.logits].slice(0, n);
    ops_.head_logits(logits, hidden.slice(begin, n), wte);
    ops_.cross_entropy(statistics(begin, n, ranked), logits, targets.slice(begin, n), shape_);
  }
  return statistics(0, N, ranked);
}

TokenStatistics Head::train(Tensor dhidden, Tensor dwte, Into into, Tensor hidden, Tensor targets, Tensor coefficients,
                            Tensor wte, Tensor loss_scale) {
  const std::int64_t N = hidden.dim(0);
  const Tensor gradients = arena_[slots_.dlogits < 0 ? slots_.logits : slots_.dlogits];
  for (std::int64_t begin = 0; begin < N; begin += chunks_.chunk) {
    const std::int64_t n = std::min(chunks_.chunk, N - begin);
    for (std::int64_t from = 0; from < n; from += chunks_.logits) {
      const std::int64_t count = std::min(chunks_.logits, n - from), first = begin + from;
      const Tensor logits = arena_[slots_.logits].slice(0, count);
      ops_.head_logits(logits, hidden.slice(first, count), wte);
      ops_.cross_entropy_backward(statistics(first, count, false), gradients.slice(from, count), logits,
                                  targets.slice(first, count), coefficients.slice(first, count), loss_scale, shape_);
    }
    ops_.head_backward(dhidden.slice(begin, n), dwte, begin == 0 ? into : Into::add, gradients.slice(0, n),
                       hidden.slice(begin, n), wte);
  }
  return statistics(0, N, false);
}

std::int64_t Head::product_rows(std::int64_t count, std::int64_t capacity) const {
  // On a GPU the algorithm of each size is chosen by timing: so there are few, at most a quarter apart.
  const std::int64_t unit =
      std::max<std::int64_t>(128, static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(count))) / 4);
  return std::min(capacity, gpu_ ? (count + unit - 1) / unit * unit : std::max(count, chosen_rows));
}

Tensor Head::gather(Tensor hidden, Tensor rows) const {
  CHECK(slots_.chosen >= 0);  // RowChoice::chosen
  const std::int64_t n = rows.dim(0);
  const Tensor all = arena_[slots_.chosen], chosen = all.slice(0, product_rows(n, all.dim(0)));
  ops_.gather_rows(chosen.slice(0, n), hidden, rows);
  device_.zero(chosen.slice(n, chosen.dim(0) - n));
  return chosen;
}

Tensor Head::logits_of_chosen(Tensor chosen, std::int64_t first, std::int64_t count, Tensor wte) {
  const Tensor all = arena_[slots_.logits];
  const std::int64_t n = product_rows(count, std::min(all.dim(0), chosen.dim(0) - first));
  ops_.head_logits(all.slice(0, n), chosen.slice(first, n), wte);
  return all.slice(0, count);
}

TokenStatistics Head::score(Tensor hidden, Tensor rows, Tensor targets, Tensor wte, bool ranked) {
  const std::int64_t m = rows.dim(0);
  // Cut as in train(), so that both multiply the same shapes and get the same bits on a GPU too.
  for (std::int64_t begin = 0; begin < m; begin += chunks_.chunk) {
    const std::int64_t n = std::min(chunks_.chunk, m - begin);
    const Tensor chosen = gather(hidden, rows.slice(begin, n));
    for (std::int64_t from = 0; from < n; from += chunks_.logits) {
      const std::int64_t count = std::min(chunks_.logits, n - from), first = begin + from;
      ops_.cross_entropy(statistics(first, count, ranked), logits_of_chosen(chosen, from, count, wte),
                         targets.slice(first, count), shape_);
    }
  }
  return statistics(0, m, ranked);
}

TokenStatistics Head::train(Tensor dhidden, Tensor dwte, Into into, Tensor hidden, Tensor rows, Tensor targets,
                            Tensor coefficients, Tensor wte, Tensor loss_scale) {
  const std::int64_t m = rows.dim(0);
  const Tensor gradients = arena_[slots_.dlogits < 0 ? slots_.logits : slots_.dlogits];
  for (std::int64_t begin = 0; begin < m; begin += chunks_.chunk) {
    const std::int64_t n = std::min(chunks_.chunk, m - begin);
    const Tensor of_chunk = rows.slice(begin, n), chosen = gather(hidden, of_chunk);
    for (std::int64_t from = 0; from < n; from += chunks_.logits) {
      const std::int64_t count = std::min(chunks_.logits, n - from), first = begin + from;
      const Tensor logits = logits_of_chosen(chosen, from, count, wte);
      ops_.cross_entropy_backward(statistics(first, count, false), gradients.slice(from, count), logits,
                                  targets.slice(first, count), coefficients.slice(first, count), loss_scale, shape_);
    }
    const std::int64_t product = chosen.dim(0);
    const Tensor dchosen = arena_[slots_.dchosen].slice(0, product);
    device_.zero(gradients.slice(n, product - n));
    ops_.head_backward(dchosen, dwte, begin == 0 ? into : Into::add, gradients.slice(0, product), chosen, wte);
    ops_.scatter_rows(dhidden, begin == 0 ? Into::write : Into::add, dchosen.slice(0, n), of_chunk);
  }
  if (m == 0) {
    device_.zero(dhidden);
    if (into == Into::write) device_.zero(dwte);
  }
  return statistics(0, m, false);
}

Tensor Head::logits(Tensor hidden, Tensor wte) {
  const Tensor logits = arena_[slots_.logits].slice(0, hidden.dim(0));
  ops_.head_logits(logits, hidden, wte);
  return logits;
}

}  // namespace nll
