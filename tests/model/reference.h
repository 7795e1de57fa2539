// The model and its loss once more, in double precision and as plainly as it can be said: what src/model is held
// against.
#pragma once
#include <cstdint>
#include <vector>

#include "src/model/parameters.h"

namespace nll::test {

// By-products of one token, by the formulas of docs/head.md.
struct ReferenceToken {
  double logp = 0, maximum = 0, log_denominator = 0, entropy = 0, mean_logp = 0, sum_p2 = 0;
  int argmax = 0, rank = 0;
};

struct Reference {
  ModelConfig model;
  const ParameterTable& table;
  double softcap = 0, label_smoothing = 0, z_loss = 0;
  std::vector<std::vector<double>> masks;  // dropout: (N,C) factors of each site in forward order; empty: none

  using Row = std::vector<double>;
  // weights: one arena as `table` lays it out. tokens (B,T). Returns the normed hidden states (B*T, C).
  Row hidden(const Row& weights, const std::vector<std::int32_t>& tokens, std::int64_t sequences) const;
  // Ignored targets give an all-zero token.
  std::vector<ReferenceToken> score(const Row& weights, const std::vector<std::int32_t>& tokens,
                                    const std::vector<std::int32_t>& targets, std::int64_t sequences) const;
  // Mean over valid targets of (1 - epsilon) (-logp) + epsilon (-mean_logp) + z lse^2.
  double loss(const Row& weights, const std::vector<std::int32_t>& tokens, const std::vector<std::int32_t>& targets,
              std::int64_t sequences) const;

  const ParameterSpec& spec(const std::string& name) const;
};

}  // namespace nll::test
