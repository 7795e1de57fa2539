// Advantages: how much better than expected, token by token or within a group of completions of one prompt.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "src/objectives/metrics.h"

namespace nll {

// Generalized advantage estimation (Schulman et al. 2016) over one completion, the value after its end being 0:
//   delta_t = r_t + gamma V_(t+1) - V_t;  A_t = delta_t + gamma lambda A_(t+1);  return_t = A_t + V_t
struct Advantages {
  std::vector<double> advantages, returns;
};
Advantages generalized_advantages(std::span<const double> rewards, std::span<const double> values, double gamma = 1,
                                  double lambda = 0.95);

// Sums of rewards from each token on, discounted: the returns without a value model.
std::vector<double> rewards_to_go(std::span<const double> rewards, double gamma = 1);

// Mean and unbiased variance of numbers that may lie on several ranks: each counts its own, all are added in order.
struct Moments {
  double count = 0, mean = 0, squares = 0;  // squared deviations from the mean
  void add(double x);
  Moments& operator+=(const Moments& other);
  double variance() const { return count > 1 ? squares / (count - 1) : 0; }
};
Moments moments_of(std::span<const double> numbers);
// (x - mean) / sqrt(variance + 1e-8) in place; without `shift` the mean is put back.
void whiten(std::span<double> numbers, const Moments& moments, bool shift = true);

// Rewards of groups: `group` completions of each prompt in a row, of all ranks where `batch` scaling is wanted. NaN:
// the completion could not be scored; it takes no part in mean and deviation, and its advantage is 0.
enum class RewardScale { group, batch, none };
// (R - mean of the group) / (deviation + 1e-4). A group whose rewards are all the same has advantages of exactly 0.
// `metrics` gets reward, reward_std (mean over groups) and frac_reward_zero_std.
std::vector<double> group_advantages(std::span<const double> rewards, std::int64_t group, RewardScale scale,
                                     Metrics& metrics);
// R minus the mean of the others of its group; 0 where there are none. `normalise`: then by mean and deviation of all.
std::vector<double> leave_one_out(std::span<const double> rewards, std::int64_t group, bool normalise,
                                  Metrics& metrics);

// rewards/<function>/{mean,std} of the rewards that one function gave; NaN as above.
void report_rewards(std::string_view function, std::span<const double> rewards, Metrics& metrics);
// completions/{mean,min,max}_length, the same of those that ended by themselves, and completions/clipped_ratio: the
// share that did not.
void report_completion(std::int64_t tokens, bool ended, Metrics& metrics);

}  // namespace nll
