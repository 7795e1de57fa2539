#include "tests/kernels/reference.h"

#include "kernels/philox.h"

namespace nll::test {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

Reals dropout_factors(const Dropout& dropout, std::int64_t n, std::int64_t width) {
  Reals factors(at(n * width), 1.0);
  if (dropout.rate == 0) return factors;
  for (std::int64_t i = 0; i < n * width; ++i) {
    const auto word = static_cast<std::uint64_t>(dropout.first_row * width + i);
    const PhiloxBlock block = philox(dropout.seed, dropout.stream, word / 4);
    const bool kept = unit_float(block.word[word % 4]) >= dropout.rate;
    factors[at(i)] = kept ? 1.0 / (1.0 - static_cast<double>(dropout.rate)) : 0.0;
  }
  return factors;
}

Reals embedding(const std::vector<std::int32_t>& tokens, std::int64_t time, const Reals& wte, const Reals& wpe,
                std::int64_t width, std::int64_t position, const Dropout& dropout) {
  const auto n = static_cast<std::int64_t>(tokens.size());
  const Reals factors = dropout_factors(dropout, n, width);
  Reals x(at(n * width));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t c = 0; c < width; ++c) {
      x[at(i * width + c)] = factors[at(i * width + c)] *
                             (wte[at(tokens[at(i)] * width + c)] + wpe[at((position + i % time) * width + c)]);
    }
  }
  return x;
}

Reals linear(const Reals& x, const Reals& w, const Reals& bias, std::int64_t inputs) {
  const auto n = static_cast<std::int64_t>(x.size()) / inputs, outputs = static_cast<std::int64_t>(w.size()) / inputs;
  Reals y(at(n * outputs));
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t o = 0; o < outputs; ++o) {
      double sum = bias.empty() ? 0 : bias[at(o)];
      for (std::int64_t k = 0; k < inputs; ++k) sum += x[at(i * inputs + k)] * w[at(k * outputs + o)];
      y[at(i * outputs + o)] = sum;
    }
  }
  return y;
}

Reals gelu(const Reals& x) {
  Reals y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    y[i] = 0.5 * x[i] * (1 + std::tanh(std::sqrt(2 / M_PI) * (x[i] + 0.044715 * x[i] * x[i] * x[i])));
  }
  return y;
}

Reals layernorm(const Reals& x, const Reals& weight, const Reals& bias) {
  const std::size_t width = weight.size();
  Reals y(x.size());
  for (std::size_t row = 0; row < x.size(); row += width) {
    double mean = 0, variance = 0;
    for (std::size_t c = 0; c < width; ++c) mean += x[row + c] / static_cast<double>(width);
    for (std::size_t c = 0; c < width; ++c) {
      variance += (x[row + c] - mean) * (x[row + c] - mean) / static_cast<double>(width);
    }
    const double rstd = 1 / std::sqrt(variance + 1e-5);
    for (std::size_t c = 0; c < width; ++c) y[row + c] = (x[row + c] - mean) * rstd * weight[c] + bias[c];
  }
  return y;
}

Attention attention(const Reals& qkv, std::int64_t batch, std::int64_t time, std::int64_t heads) {
  const std::int64_t width = static_cast<std::int64_t>(qkv.size()) / (batch * time * 3), size = width / heads;
  Attention result;
  result.y.resize(at(batch * time * width));
  result.lse.resize(at(batch * heads * time));
  for (std::int64_t b = 0; b < batch; ++b) {
    for (std::int64_t h = 0; h < heads; ++h) {
      const auto element = [&](std::int64_t t, std::int64_t which, std::int64_t d) {
        return qkv[at(((b * time + t) * 3 + which) * width + h * size + d)];
      };
      for (std::int64_t t = 0; t < time; ++t) {
        Reals score(at(t + 1));
        double denominator = 0;
        for (std::int64_t j = 0; j <= t; ++j) {
          for (std::int64_t d = 0; d < size; ++d) score[at(j)] += element(t, 0, d) * element(j, 1, d);
          score[at(j)] /= std::sqrt(static_cast<double>(size));
          denominator += std::exp(score[at(j)]);
        }
        result.lse[at((b * heads + h) * time + t)] = std::log(denominator);
        for (std::int64_t d = 0; d < size; ++d) {
          double sum = 0;
          for (std::int64_t j = 0; j <= t; ++j) sum += std::exp(score[at(j)]) / denominator * element(j, 2, d);
          result.y[at((b * time + t) * width + h * size + d)] = sum;
        }
      }
    }
  }
  return result;
}

HeadRow head_row(const double* logits, std::int32_t target, const HeadShape& shape) {
  Reals u(at(shape.vocabulary));
  for (std::size_t j = 0; j < u.size(); ++j) {
    double value = logits[j] * static_cast<double>(shape.pre_scale);
    const auto cap = static_cast<double>(shape.softcap);
    if (cap != 0) value = cap * std::tanh(value / cap);
    u[j] = value * static_cast<double>(shape.inverse_temperature);
  }
  HeadRow row;
  for (std::size_t j = 0; j < u.size(); ++j) {
    if (u[j] > u[at(row.argmax)]) row.argmax = static_cast<std::int32_t>(j);
  }
  row.maximum = u[at(row.argmax)];
  double rest = 0;
  for (std::size_t j = 0; j < u.size(); ++j) rest += j == at(row.argmax) ? 0 : std::exp(u[j] - row.maximum);
  row.log_denominator = std::log1p(rest);
  row.rank = 1;
  for (std::size_t j = 0; j < u.size(); ++j) {
    const double logp = u[j] - row.maximum - row.log_denominator, p = std::exp(logp);
    if (j == at(target)) row.logp = logp;
    row.entropy -= p * logp;
    row.mean_logp += logp / static_cast<double>(u.size());
    row.sum_p2 += p * p;
    if (u[j] > u[at(target)] || (u[j] == u[at(target)] && j < at(target))) ++row.rank;
  }
  return row;
}

}  // namespace nll::test
