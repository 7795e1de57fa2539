// Token and position embedding.                                     B batch, T time, C width, V rows of wte
//   x[b,t] = factor * (wte[token] + wpe[position + t]);   dwte[token] += factor * dx, dwpe[t] (+)= sum_b factor * dx
// The backward gives each thread a range of columns and walks all tokens in order: no two threads meet, nothing is
// sorted, and the order of every sum is the order of the tokens.
#include <cstring>

#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

std::uint64_t first_word(const Dropout& dropout, std::int64_t row, std::int64_t width) {
  return static_cast<std::uint64_t>(dropout.first_row + row) * static_cast<std::uint64_t>(width);
}

struct TokenShape {
  std::int64_t batch, time, width, vocabulary;
};

TokenShape token_shape(const Tensor& tokens, const Tensor& wte) {
  CHECK(tokens.rank() == 2);
  CHECK(wte.rank() == 2);
  return {tokens.dim(0), tokens.dim(1), wte.dim(1), wte.dim(0)};
}

std::int64_t token_at(const std::int32_t* tokens, std::int64_t i, std::int64_t vocabulary) {
  const std::int64_t token = tokens[i];
  CHECK(token >= 0);
  CHECK(token < vocabulary);
  return token;
}

}  // namespace

void CpuOps::embedding(Tensor x, Tensor tokens, Tensor wte, Tensor wpe, std::int64_t position, const Dropout& given) {
  const Dropout dropout = at_this_step(given);
  const auto [batch, time, width, vocabulary] = token_shape(tokens, wte);
  CHECK(wpe.rank() == 2);
  CHECK(wpe.dim(1) == width);
  CHECK(position >= 0);
  CHECK(position + time <= wpe.dim(0));
  float* out = expect_rows(x, "x", batch * time, width);
  const std::int32_t* ids = tokens.as<std::int32_t>();
  const float *token_rows = wte.as<float>(), *position_rows = wpe.as<float>();
  team_->for_each_part(batch * time, 1,
                       [&, time = time, width = width, vocabulary = vocabulary](Range part, int thread) {
                         float* factor = scratch_.floats(thread, width);
                         for (std::int64_t i = part.begin; i < part.end; ++i) {
                           float* row = out + i * width;
                           rows_.add(row, token_rows + token_at(ids, i, vocabulary) * width,
                                     position_rows + (position + i % time) * width, width);
                           if (dropout.rate == 0) continue;
                           rows_.dropout_factors(factor, width, first_word(dropout, i, width), dropout.rate,
                                                 dropout.seed, dropout.stream);
                           rows_.multiply(row, row, factor, width, false);
                         }
                       });
}

void CpuOps::embedding_backward(Tensor dwte, Tensor dwpe, Into wpe_into, Tensor dx, Tensor tokens,
                                const Dropout& given) {
  const Dropout dropout = at_this_step(given);
  const auto [batch, time, width, vocabulary] = token_shape(tokens, dwte);
  CHECK(dwpe.rank() == 2);
  CHECK(dwpe.dim(1) == width);
  CHECK(time <= dwpe.dim(0));
  const std::int64_t context = dwpe.dim(0);
  const float* gradient = expect_rows(dx, "dx", batch * time, width);
  const std::int32_t* ids = tokens.as<std::int32_t>();
  float *token_rows = dwte.as<float>(), *position_rows = dwpe.as<float>();
  team_->for_each_part(
      width, 16, [&, batch = batch, time = time, width = width, vocabulary = vocabulary](Range columns, int thread) {
        const std::int64_t count = columns.size();
        float* dropped = scratch_.floats(thread, count);
        if (wpe_into == Into::write) {
          for (std::int64_t t = 0; t < context; ++t) {
            std::memset(position_rows + t * width + columns.begin, 0, static_cast<std::size_t>(count) * sizeof(float));
          }
        }
        for (std::int64_t i = 0; i < batch * time; ++i) {
          const float* from = gradient + i * width + columns.begin;
          if (dropout.rate != 0) {
            rows_.dropout_factors(dropped, count,
                                  first_word(dropout, i, width) + static_cast<std::uint64_t>(columns.begin),
                                  dropout.rate, dropout.seed, dropout.stream);
            rows_.multiply(dropped, dropped, from, count, false);
            from = dropped;
          }
          float* token_row = token_rows + token_at(ids, i, vocabulary) * width + columns.begin;
          float* position_row = position_rows + (i % time) * width + columns.begin;
          rows_.add(token_row, token_row, from, count);
          rows_.add(position_row, position_row, from, count);
        }
      });
}

}  // namespace nll::cpu
