#include "src/eval/scaling_law.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "kernels/check.h"
#include "kernels/philox.h"
#include "src/eval/student_t.h"

namespace nll {
namespace {

std::optional<PowerLaw> fit_over(std::span<const ScalingRun> runs, double ScalingRun::*size) {
  std::map<double, double> best;
  for (const ScalingRun& run : runs) {
    const auto [at, fresh] = best.emplace(run.*size, run.loss);
    if (!fresh) at->second = std::min(at->second, run.loss);
  }
  std::vector<double> sizes, losses;
  for (const auto& [one, loss] : best) {
    sizes.push_back(one);
    losses.push_back(loss);
  }
  return fit_power_law(sizes, losses);
}

std::size_t different(std::span<const ScalingRun> runs, double ScalingRun::*size) {
  std::set<double> all;
  for (const ScalingRun& run : runs) all.insert(run.*size);
  return all.size();
}

}  // namespace

std::optional<PowerLaw> fit_power_law(std::span<const double> sizes, std::span<const double> losses) {
  CHECK(sizes.size() == losses.size());
  const std::size_t count = sizes.size();
  if (count < 3) return std::nullopt;
  const double n = static_cast<double>(count);
  double mean_x = 0, mean_y = 0;
  for (std::size_t i = 0; i < count; ++i) {
    mean_x += std::log(sizes[i]) / n;
    mean_y += std::log(losses[i]) / n;
  }
  double xx = 0, xy = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double x = std::log(sizes[i]) - mean_x;
    xx += x * x;
    xy += x * (std::log(losses[i]) - mean_y);
  }
  if (!(xx > 0)) return std::nullopt;
  const double slope = xy / xx, intercept = mean_y - slope * mean_x;
  double squares = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double off = std::log(losses[i]) - intercept - slope * std::log(sizes[i]);
    squares += off * off;
  }
  PowerLaw law;
  law.points = static_cast<std::int64_t>(count);
  law.exponent = -slope;
  law.error = std::sqrt(squares / (n - 2) / xx);
  const double reach = student_t_quantile(0.975, n - 2) * law.error;
  law.interval = {law.exponent - reach, law.exponent + reach};
  law.log_scale = intercept / law.exponent;
  return law;
}

std::optional<PowerLaw> fit_over_parameters(std::span<const ScalingRun> runs) {
  return fit_over(runs, &ScalingRun::without_tables);
}

std::optional<PowerLaw> fit_over_tokens(std::span<const ScalingRun> runs) {
  return fit_over(runs, &ScalingRun::tokens);
}

bool hoffmann_possible(std::span<const ScalingRun> runs) {
  return different(runs, &ScalingRun::parameters) >= 3 && different(runs, &ScalingRun::tokens) >= 3;
}

bool hoffmann_identified(std::span<const ScalingRun> runs) {
  return runs.size() >= 12 && different(runs, &ScalingRun::parameters) >= 4 &&
         different(runs, &ScalingRun::tokens) >= 3;
}

double HoffmannLaw::floor() const { return std::exp(theta[0]); }
double HoffmannLaw::parameter_factor() const { return std::exp(theta[1]); }
double HoffmannLaw::token_factor() const { return std::exp(theta[2]); }

double HoffmannLaw::loss(double parameters, double tokens) const {
  return floor() + std::exp(theta[1] - alpha() * std::log(parameters)) + std::exp(theta[2] - beta() * std::log(tokens));
}

ComputeOptimum compute_optimum(const HoffmannLaw& law, double flops) {
  const double both = law.alpha() + law.beta();
  const double g = std::exp((std::log(law.alpha()) + law.theta[1] - std::log(law.beta()) - law.theta[2]) / both);
  ComputeOptimum optimum;
  optimum.parameters = g * std::pow(flops / 6, law.beta() / both);
  optimum.tokens = std::pow(flops / 6, law.alpha() / both) / g;
  optimum.loss = law.loss(optimum.parameters, optimum.tokens);
  return optimum;
}

std::vector<HoffmannLaw> bootstrap_laws(std::span<const ScalingRun> runs, const HoffmannLaw& law, std::uint64_t seed,
                                        std::int64_t resamples,
                                        const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  std::map<double, std::vector<std::size_t>> by_size;
  for (std::size_t i = 0; i < runs.size(); ++i) by_size[runs[i].parameters].push_back(i);
  std::vector<HoffmannLaw> laws;
  for (std::int64_t r = 0; r < resamples; ++r) {
    std::vector<double> weights(runs.size(), 0);
    std::uint64_t draw = 0;
    PhiloxBlock block{};
    for (const auto& [size, members] : by_size) {
      for (std::size_t i = 0; i < members.size(); ++i, ++draw) {
        if (draw % 4 == 0) block = philox(seed, static_cast<std::uint64_t>(r), draw / 4);
        weights[members[std::uint64_t{block.word[draw % 4]} * members.size() >> 32]] += 1;
      }
    }
    std::vector<ScalingRun> drawn;
    for (std::size_t i = 0; i < runs.size(); ++i) {
      if (weights[i] == 0) continue;
      drawn.push_back(runs[i]);
      drawn.back().weight = weights[i];
    }
    laws.push_back(fit_hoffmann(drawn, &law));
    if (progress && !progress(r + 1, resamples)) break;
  }
  return laws;
}

Interval interval_of(std::span<const HoffmannLaw> laws, const std::function<double(const HoffmannLaw&)>& of) {
  CHECK(!laws.empty());
  std::vector<double> values;
  for (const HoffmannLaw& law : laws) values.push_back(of(law));
  return middle_95(std::move(values));
}

}  // namespace nll
