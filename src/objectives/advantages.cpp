#include "src/objectives/advantages.h"

#include <cmath>
#include <string>

#include "kernels/check.h"

namespace nll {

namespace {

constexpr double group_epsilon = 1e-4;  // of TRL

// Of the completions that were scored. The mean of equal rewards is exactly their value, so that their deviation and
// their advantages are exactly 0.
Moments scored_moments(std::span<const double> rewards) {
  Moments moments;
  for (double reward : rewards) {
    if (!std::isnan(reward)) moments.add(reward);
  }
  return moments;
}

// Calls f(rewards of the group, its advantages to fill) for each, and reports the rewards.
template <class F>
std::vector<double> by_group(std::span<const double> rewards, std::int64_t group, Metrics& metrics, F f) {
  CHECK(group >= 1);
  const auto size = static_cast<std::size_t>(group);
  CHECK(rewards.size() % size == 0u);
  for (const char* name : {"reward", "reward_std", "frac_reward_zero_std"}) metrics.at(name);
  std::vector<double> advantages(rewards.size(), 0.0);
  for (std::size_t begin = 0; begin < rewards.size(); begin += size) {
    const auto mine = rewards.subspan(begin, size);
    const Moments known = scored_moments(mine);
    metrics.at("reward").add_sum(known.mean * known.count, known.count);
    if (known.count > 0) {
      metrics.at("reward_std").add(std::sqrt(known.variance()));
      metrics.at("frac_reward_zero_std").add(known.variance() == 0 ? 1 : 0);
    }
    f(mine, known, std::span(advantages).subspan(begin, size));
  }
  return advantages;
}

}  // namespace

Advantages generalized_advantages(std::span<const double> rewards, std::span<const double> values, double gamma,
                                  double lambda) {
  CHECK(rewards.size() == values.size());
  const std::size_t n = rewards.size();
  Advantages result{std::vector<double>(n), std::vector<double>(n)};
  double next_value = 0, next_advantage = 0;
  for (std::size_t t = n; t-- > 0;) {
    next_advantage = rewards[t] + gamma * next_value - values[t] + gamma * lambda * next_advantage;
    next_value = values[t];
    result.advantages[t] = next_advantage;
    result.returns[t] = next_advantage + values[t];
  }
  return result;
}

std::vector<double> rewards_to_go(std::span<const double> rewards, double gamma) {
  std::vector<double> sums(rewards.begin(), rewards.end());
  for (std::size_t t = sums.size(); t-- > 1;) sums[t - 1] += gamma * sums[t];
  return sums;
}

void Moments::add(double x) { *this += Moments{1, x, 0}; }

Moments& Moments::operator+=(const Moments& other) {
  if (other.count == 0) return *this;
  const double total = count + other.count, gap = other.mean - mean;
  squares += other.squares + gap * gap * count * other.count / total;
  mean += gap * other.count / total;
  count = total;
  return *this;
}

Moments moments_of(std::span<const double> numbers) {
  Moments moments;
  for (double x : numbers) moments.add(x);
  return moments;
}

void whiten(std::span<double> numbers, const Moments& moments, bool shift) {
  const double scale = 1 / std::sqrt(moments.variance() + 1e-8);
  for (double& x : numbers) x = (x - moments.mean) * scale + (shift ? 0 : moments.mean);
}

std::vector<double> group_advantages(std::span<const double> rewards, std::int64_t group, RewardScale scale,
                                     Metrics& metrics) {
  const double batch_deviation = std::sqrt(scored_moments(rewards).variance());
  return by_group(rewards, group, metrics, [&](auto mine, const Moments& known, auto advantages) {
    const double deviation = scale == RewardScale::batch ? batch_deviation : std::sqrt(known.variance());
    const double divisor = scale == RewardScale::none ? 1 : deviation + group_epsilon;
    for (std::size_t i = 0; i < mine.size(); ++i) {
      if (!std::isnan(mine[i])) advantages[i] = (mine[i] - known.mean) / divisor;
    }
  });
}

std::vector<double> leave_one_out(std::span<const double> rewards, std::int64_t group, bool normalise,
                                  Metrics& metrics) {
  auto advantages = by_group(rewards, group, metrics, [](auto mine, const Moments& known, auto out) {
    const double n = known.count;
    if (n < 2) return;
    for (std::size_t i = 0; i < mine.size(); ++i) {
      // R - (S - R)/(n - 1) = (R - mean) n/(n - 1)
      if (!std::isnan(mine[i])) out[i] = (mine[i] - known.mean) * n / (n - 1);
    }
  });
  if (!normalise) return advantages;
  Moments all;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    if (!std::isnan(rewards[i])) all.add(advantages[i]);
  }
  const double divisor = std::sqrt(all.variance()) + group_epsilon;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    if (!std::isnan(rewards[i])) advantages[i] = (advantages[i] - all.mean) / divisor;
  }
  return advantages;
}

void report_rewards(std::string_view function, std::span<const double> rewards, Metrics& metrics) {
  const std::string name = "rewards/" + std::string(function);
  metrics.at(name + "/mean");
  metrics.at(name + "/std", Metric::Kind::deviation);
  for (double reward : rewards) {
    if (std::isnan(reward)) continue;
    metrics.at(name + "/mean").add(reward);
    metrics.at(name + "/std", Metric::Kind::deviation).add(reward);
  }
}

void report_completion(std::int64_t tokens, bool ended, Metrics& metrics) {
  const auto length = static_cast<double>(tokens);
  for (const bool terminated : {false, true}) {
    const std::string name = terminated ? "_terminated_length" : "_length";
    Metric& mean = metrics.at("completions/mean" + name);
    if (ended || !terminated) mean.add(length);
    Metric& least = metrics.at("completions/min" + name, Metric::Kind::least);
    if (ended || !terminated) least.add(length);
    Metric& most = metrics.at("completions/max" + name, Metric::Kind::most);
    if (ended || !terminated) most.add(length);
  }
  metrics.at("completions/clipped_ratio").add(ended ? 0 : 1);
}

}  // namespace nll
