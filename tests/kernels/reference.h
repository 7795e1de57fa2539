// The forward of every op in FP64, as plainly as its formula in kernels/ops.h reads.
#pragma once
#include "tests/kernels/machine.h"

namespace nll::test {

// Factors 0 or 1 / (1 - rate) of an (n, width) tensor, word by word from kernels/philox.h.
Reals dropout_factors(const Dropout& dropout, std::int64_t n, std::int64_t width);

// (B*T, C)
Reals embedding(const std::vector<std::int32_t>& tokens, std::int64_t time, const Reals& wte, const Reals& wpe,
                std::int64_t width, std::int64_t position, const Dropout& dropout);
// y (N,O) = x (N,I) w (I,O) + bias (O)
Reals linear(const Reals& x, const Reals& w, const Reals& bias, std::int64_t inputs);
Reals gelu(const Reals& x);
Reals layernorm(const Reals& x, const Reals& weight, const Reals& bias);
struct Attention {
  Reals y, lse;
};
Attention attention(const Reals& qkv, std::int64_t batch, std::int64_t time, std::int64_t heads);

// One row of the head.
struct HeadRow {
  double logp = 0, maximum = 0, log_denominator = 0, entropy = 0, mean_logp = 0, sum_p2 = 0;
  std::int32_t argmax = 0, rank = 0;
};
HeadRow head_row(const double* logits, std::int32_t target, const HeadShape& shape);

}  // namespace nll::test
