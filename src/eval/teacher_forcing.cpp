// T tokens of one sequence.
#include "src/eval/teacher_forcing.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "src/eval/evaluate.h"

namespace nll {

namespace {

// As evaluation_plan for one sequence, under a name that says what it is.
ArenaPlan sequence_plan(std::int64_t context) {
  ArenaPlan plan("gold text");
  plan.add("tokens", DType::i32, {context});
  plan.add("targets", DType::i32, {context});
  return plan;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

std::int64_t different_bits(std::span<const float> a, std::span<const float> b) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    count += std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i]);
  return count;
}

}  // namespace

ParallelScorer::ParallelScorer(const ModelConfig& model, const HeadConfig& head, Ops& ops, Device& device,
                               const GptTensors& weights, const Numerics& numerics)
    : device_(device),
      weights_(weights),
      gpt_(model, ops, device, 1, model.context, Pass::inference, numerics),
      head_(model, head, ops, device, model.context, numerics),
      inputs_(device, sequence_plan(model.context)) {}

ForcedTokens ParallelScorer::score(std::span<const std::int32_t> inputs, std::span<const std::int32_t> targets) {
  CHECK(inputs.size() == targets.size());
  const std::int64_t T = static_cast<std::int64_t>(inputs.size());
  const Tensor tokens = inputs_[evaluation_tokens].slice(0, T).reshape({1, T});
  const Tensor wanted = inputs_[evaluation_targets].slice(0, T);
  device_.upload(tokens, inputs.data());
  device_.upload(wanted, targets.data());
  const TokenStatistics statistics = head_.score(gpt_.forward(weights_, tokens), wanted, weights_.wte, false);
  ForcedTokens scored{std::vector<float>(inputs.size()), std::vector<std::int32_t>(inputs.size())};
  device_.download(scored.logp.data(), statistics.logp);
  device_.download(scored.choice.data(), statistics.argmax);
  return scored;
}

ForcingLimits forcing_limits(DType compute) {
  // Multiples of the type's epsilon. FP32: errors of some hundred roundings in a row, and sums of some thousand terms.
  // The narrow types round activations only, and sum in FP32.
  const auto narrow = [](double epsilon) { return ForcingLimits{12.8 * epsilon, 0.64 * epsilon, 1e-3}; };
  switch (compute) {
    case DType::bf16:
      return narrow(0x1p-7);  // 0.1 and 5e-3
    case DType::f16:
      return narrow(0x1p-10);
    default:
      return {1e-4, 1e-4, 1e-3};  // 840 epsilon
  }
}

bool ForcingDifference::within(const ForcingLimits& limits) const {
  return largest <= limits.largest && mean <= limits.mean && perplexity <= limits.perplexity;
}

ForcingDifference compare_passes(ParallelScorer& parallel, const ScoreText& stepwise,
                                 std::span<const std::vector<std::int32_t>> windows, std::int64_t length) {
  ForcingDifference found;
  found.length = length;
  double sum = 0, signed_sum = 0;
  for (const std::vector<std::int32_t>& window : windows) {
    CHECK(static_cast<std::int64_t>(window.size()) > length);
    const std::span<const std::int32_t> text = std::span(window).first(static_cast<std::size_t>(length + 1));
    const std::vector<float> at_once = parallel.score(text).logp;
    const std::vector<double> in_steps = stepwise(text);
    CHECK(in_steps.size() == at_once.size());
    for (std::size_t i = 0; i < at_once.size(); ++i) {
      double difference = static_cast<double>(at_once[i]) - in_steps[i];
      if (!std::isfinite(difference)) difference = std::numeric_limits<double>::infinity();
      found.largest = std::max(found.largest, std::abs(difference));
      sum += std::abs(difference);
      signed_sum += difference;
    }
    ++found.windows;
    found.tokens += length;
  }
  const double n = static_cast<double>(found.tokens);
  found.mean = sum / n;
  found.perplexity = std::abs(std::expm1(signed_sum / n));
  return found;
}

std::vector<CausalityCheck> check_causality(ParallelScorer& parallel, std::span<const std::int32_t> window,
                                            std::int64_t vocabulary) {
  CHECK(window.size() >= 2u);
  const std::int64_t T = static_cast<std::int64_t>(window.size()) - 1;
  const std::span<const std::int32_t> targets = window.subspan(1);
  std::vector<std::int32_t> inputs(window.begin(), window.end() - 1);
  const std::vector<float> before = parallel.score(inputs, targets).logp;
  std::vector<std::int64_t> positions{1, T / 4, T / 2, 3 * T / 4, T - 1};
  std::erase_if(positions, [](std::int64_t j) { return j < 1; });
  std::sort(positions.begin(), positions.end());
  positions.erase(std::unique(positions.begin(), positions.end()), positions.end());

  std::vector<CausalityCheck> checks;
  for (const std::int64_t j : positions) {
    if (j >= T) continue;
    std::int32_t& token = inputs[static_cast<std::size_t>(j)];
    const std::int32_t gold = token;
    token = static_cast<std::int32_t>((gold + std::max<std::int64_t>(1, vocabulary / 2)) % vocabulary);
    const std::vector<float> after = parallel.score(inputs, targets).logp;
    token = gold;
    const std::size_t cut = static_cast<std::size_t>(j);
    const std::span<const float> a(before), b(after);
    checks.push_back(
        {j, j, different_bits(a.first(cut), b.first(cut)), T - j, different_bits(a.subspan(cut), b.subspan(cut))});
  }
  return checks;
}

ForcingSpeed measure_speed(std::int64_t length, const ForcingWays& ways, double enough,
                           const std::function<double()>& now) {
  constexpr std::int64_t most = 100;
  ForcingSpeed speed;
  speed.length = length;
  const std::array<const std::function<void()>*, 3> in_turn{&ways.parallel, &ways.stepwise, &ways.free_running};
  std::array<std::vector<double>, 3> seconds;
  // The first parallel pass of a length may choose its algorithms; it is not counted.
  ways.parallel();
  const double start = now();
  do {
    for (std::size_t way = 0; way < in_turn.size(); ++way) {
      const double begin = now();
      (*in_turn[way])();
      seconds[way].push_back(std::max(now() - begin, 1e-9));
    }
    ++speed.repeats;
  } while (now() - start < enough && speed.repeats < most);
  const double n = static_cast<double>(length);
  speed.parallel = n / median(seconds[0]);
  speed.stepwise = n / median(seconds[1]);
  speed.free_running = n / median(seconds[2]);
  return speed;
}

std::vector<std::int64_t> forcing_lengths(std::int64_t longest) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t length = 16; length < longest; length *= 4) lengths.push_back(length);
  lengths.push_back(longest);
  return lengths;
}

}  // namespace nll
