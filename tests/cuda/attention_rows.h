// The gradient of attention in FP64, by its formulas.
#pragma once
#include "tests/cuda/machine.h"

namespace nll::test {

// dq, dk, dv as (B,T,3C) for the y and lse that the backward is given.
Reals attention_gradient(const Reals& qkv, const Reals& dy, const Attention& forward, std::int64_t batch,
                         std::int64_t time, std::int64_t heads);

}  // namespace nll::test
