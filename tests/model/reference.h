// The model and its loss once more, in double precision and as plainly as it can be said: what src/model is held
// against.
#pragma once
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/ops.h"
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
  std::vector<std::vector<double>> masks = {};  // dropout: (N,C) factors of each site in forward order; empty: none

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

namespace detail {

using Row = Reference::Row;

// y (N,O) = x (N,I) w (I,O) + b (O), with w and b at offsets of the arena.
inline Row linear(const Row& x, const Row& arena, const ParameterSpec& w, const ParameterSpec& b) {
  const std::size_t I = static_cast<std::size_t>(w.rows), O = static_cast<std::size_t>(w.columns), N = x.size() / I;
  Row y(N * O);
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t o = 0; o < O; ++o) {
      double sum = arena[static_cast<std::size_t>(b.offset) + o];
      for (std::size_t i = 0; i < I; ++i) sum += x[n * I + i] * arena[static_cast<std::size_t>(w.offset) + i * O + o];
      y[n * O + o] = sum;
    }
  }
  return y;
}

inline Row layernorm(const Row& x, const Row& arena, const ParameterSpec& weight, const ParameterSpec& bias) {
  const std::size_t C = static_cast<std::size_t>(weight.columns);
  Row y(x.size());
  for (std::size_t begin = 0; begin < x.size(); begin += C) {
    double mean = 0, variance = 0;
    for (std::size_t c = 0; c < C; ++c) mean += x[begin + c] / static_cast<double>(C);
    for (std::size_t c = 0; c < C; ++c) variance += std::pow(x[begin + c] - mean, 2) / static_cast<double>(C);
    for (std::size_t c = 0; c < C; ++c) {
      y[begin + c] =
          (x[begin + c] - mean) / std::sqrt(variance + 1e-5) * arena[static_cast<std::size_t>(weight.offset) + c] +
          arena[static_cast<std::size_t>(bias.offset) + c];
    }
  }
  return y;
}

inline Row attention(const Row& qkv, std::size_t B, std::size_t T, std::size_t C, std::size_t H) {
  const std::size_t D = C / H;
  Row y(B * T * C);
  for (std::size_t b = 0; b < B; ++b) {
    for (std::size_t h = 0; h < H; ++h) {
      for (std::size_t t = 0; t < T; ++t) {
        const double* q = &qkv[(b * T + t) * 3 * C + h * D];
        Row p(t + 1);
        double sum = 0;
        for (std::size_t s = 0; s <= t; ++s) {
          const double* k = &qkv[(b * T + s) * 3 * C + C + h * D];
          double dot = 0;
          for (std::size_t d = 0; d < D; ++d) dot += q[d] * k[d];
          sum += p[s] = std::exp(dot / std::sqrt(static_cast<double>(D)));
        }
        for (std::size_t s = 0; s <= t; ++s) {
          const double* v = &qkv[(b * T + s) * 3 * C + 2 * C + h * D];
          for (std::size_t d = 0; d < D; ++d) y[(b * T + t) * C + h * D + d] += p[s] / sum * v[d];
        }
      }
    }
  }
  return y;
}

inline double gelu(double x) { return x / 2 * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

}  // namespace detail

inline const ParameterSpec& Reference::spec(const std::string& name) const {
  for (const ParameterSpec& candidate : table.specs()) {
    if (candidate.name == "transformer." + name) return candidate;
  }
  CHECK(name == "a parameter");
  return table.specs().front();
}

inline Reference::Row Reference::hidden(const Row& weights, const std::vector<std::int32_t>& tokens,
                                        std::int64_t sequences) const {
  const std::size_t N = tokens.size(), B = static_cast<std::size_t>(sequences), T = N / B;
  const std::size_t C = static_cast<std::size_t>(model.width);
  const auto at = [&](const ParameterSpec& s, std::size_t i) {
    return weights[static_cast<std::size_t>(s.offset) + i];
  };
  const auto dropped = [&](Row x, std::size_t site) {
    if (!masks.empty()) {
      for (std::size_t i = 0; i < x.size(); ++i) x[i] *= masks[site][i];
    }
    return x;
  };
  const auto add = [](Row& x, const Row& y) {
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  };
  const ParameterSpec &wte = spec("wte.weight"), &wpe = spec("wpe.weight");
  Row x(N * C);
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t c = 0; c < C; ++c) {
      x[n * C + c] = at(wte, static_cast<std::size_t>(tokens[n]) * C + c) + at(wpe, n % T * C + c);
    }
  }
  x = dropped(x, 0);
  for (std::int64_t l = 0; l < model.layers; ++l) {
    const std::string h = "h." + std::to_string(l) + ".";
    const auto apply = [&](const Row& in, const std::string& name) {
      return detail::linear(in, weights, spec(h + name + ".weight"), spec(h + name + ".bias"));
    };
    const auto norm = [&](const std::string& name) {
      return detail::layernorm(x, weights, spec(h + name + ".weight"), spec(h + name + ".bias"));
    };
    const std::size_t site = 1 + 2 * static_cast<std::size_t>(l);
    const Row y = detail::attention(apply(norm("ln_1"), "attn.c_attn"), B, T, C, static_cast<std::size_t>(model.heads));
    add(x, dropped(apply(y, "attn.c_proj"), site));
    Row z = apply(norm("ln_2"), "mlp.c_fc");
    for (double& value : z) value = detail::gelu(value);
    add(x, dropped(apply(z, "mlp.c_proj"), site + 1));
  }
  return detail::layernorm(x, weights, spec("ln_f.weight"), spec("ln_f.bias"));
}

inline std::vector<ReferenceToken> Reference::score(const Row& weights, const std::vector<std::int32_t>& tokens,
                                                    const std::vector<std::int32_t>& targets,
                                                    std::int64_t sequences) const {
  const std::size_t C = static_cast<std::size_t>(model.width), V = static_cast<std::size_t>(model.vocabulary);
  const std::size_t wte = static_cast<std::size_t>(spec("wte.weight").offset);
  const Row h = hidden(weights, tokens, sequences);
  std::vector<ReferenceToken> scored(tokens.size());
  for (std::size_t n = 0; n < tokens.size(); ++n) {
    if (targets[n] == ignore_index) continue;
    const std::size_t y = static_cast<std::size_t>(targets[n]);
    ReferenceToken& s = scored[n];
    Row u(V);
    for (std::size_t j = 0; j < V; ++j) {
      for (std::size_t c = 0; c < C; ++c) u[j] += h[n * C + c] * weights[wte + j * C + c];
      if (softcap > 0) u[j] = softcap * std::tanh(u[j] / softcap);
      if (u[j] > u[static_cast<std::size_t>(s.argmax)]) s.argmax = static_cast<int>(j);
    }
    s.maximum = u[static_cast<std::size_t>(s.argmax)];
    double d = 0;
    for (std::size_t j = 0; j < V; ++j) d += std::exp(u[j] - s.maximum);
    s.log_denominator = std::log(d);
    s.rank = 1;
    for (std::size_t j = 0; j < V; ++j) {
      const double logp = u[j] - s.maximum - s.log_denominator;
      s.entropy -= std::exp(logp) * logp;
      s.mean_logp += logp / static_cast<double>(V);
      s.sum_p2 += std::exp(2 * logp);
      s.rank += u[j] > u[y] || (u[j] == u[y] && j < y) ? 1 : 0;
      if (j == y) s.logp = logp;
    }
  }
  return scored;
}

inline double Reference::loss(const Row& weights, const std::vector<std::int32_t>& tokens,
                              const std::vector<std::int32_t>& targets, std::int64_t sequences) const {
  double sum = 0, valid = 0;
  const std::vector<ReferenceToken> scored = score(weights, tokens, targets, sequences);
  for (std::size_t n = 0; n < scored.size(); ++n) {
    if (targets[n] == ignore_index) continue;
    const double lse = scored[n].maximum + scored[n].log_denominator;
    sum -= (1 - label_smoothing) * scored[n].logp + label_smoothing * scored[n].mean_logp - z_loss * lse * lse;
    ++valid;
  }
  return sum / valid;
}

}  // namespace nll::test
