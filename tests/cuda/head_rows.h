// What the tests of the head on CUDA share: all by-products of some rows read back, and the gradient of a row in FP64.
#pragma once
#include <vector>

#include "tests/cuda/machine.h"

namespace nll::test {

// Tensors for all by-products of n rows, and what they held when read.
struct HeadStatistics {
  TokenStatistics tensors;
  Reals logp, maximum, log_denominator, entropy, mean_logp, sum_p2;
  std::vector<std::int32_t> argmax, rank;

  HeadStatistics(CudaMachine& machine, std::int64_t n) {
    for (Tensor* tensor : {&tensors.logp, &tensors.maximum, &tensors.log_denominator, &tensors.entropy,
                           &tensors.mean_logp, &tensors.sum_p2}) {
      *tensor = machine.make({n});
    }
    tensors.argmax = machine.make({n}, DType::i32);
    tensors.rank = machine.make({n}, DType::i32);
  }
  void read(CudaMachine& machine) {
    logp = machine.get(tensors.logp), maximum = machine.get(tensors.maximum);
    log_denominator = machine.get(tensors.log_denominator), entropy = machine.get(tensors.entropy);
    mean_logp = machine.get(tensors.mean_logp), sum_p2 = machine.get(tensors.sum_p2);
    argmax = machine.get_ints(tensors.argmax), rank = machine.get_ints(tensors.rank);
  }
  // Of every tensor, one after the other.
  std::vector<std::uint8_t> bytes(CudaMachine& machine) const {
    std::vector<std::uint8_t> all;
    for (const Tensor& tensor : {tensors.logp, tensors.maximum, tensors.log_denominator, tensors.entropy,
                                 tensors.mean_logp, tensors.sum_p2, tensors.argmax, tensors.rank}) {
      const std::vector<std::uint8_t> part = machine.get_bytes(tensor);
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  }
};

// dL/dz of one row for the coefficients g_logp, g_lse, g_unif, g_ent.
inline Reals head_gradient(const double* logits, std::int32_t target, const HeadShape& shape, const double* g) {
  const HeadRow row = head_row(logits, target, shape);
  const auto size = static_cast<double>(shape.vocabulary);
  const auto scale = static_cast<double>(shape.pre_scale), cap = static_cast<double>(shape.softcap);
  const auto heat = static_cast<double>(shape.inverse_temperature);
  Reals gradient(static_cast<std::size_t>(shape.vocabulary));
  for (std::size_t j = 0; j < gradient.size(); ++j) {
    const double bent = cap == 0 ? 0 : std::tanh(logits[j] * scale / cap);
    const double u = heat * (cap == 0 ? logits[j] * scale : cap * bent);
    const double logp = u - row.maximum - row.log_denominator;
    const double du = std::exp(logp) * (g[1] - g[0] - g[2] - g[3] * (row.entropy + logp)) + g[2] / size +
                      (j == static_cast<std::size_t>(target) ? g[0] : 0.0);
    gradient[j] = du * heat * scale * (1 - bent * bent);
  }
  return gradient;
}

// Half the distance of neighbouring numbers of this type around 0.
inline double smallest_of(DType type) {
  return type == DType::f16 ? std::ldexp(1.0, -25) : std::ldexp(1.0, type == DType::bf16 ? -134 : -150);
}

}  // namespace nll::test
