#include "src/infer/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "kernels/check.h"
#include "kernels/philox.h"

namespace nll {
namespace {

// Scores whose softmax at temperature 1 is `probabilities`.
std::vector<double> scores_of(const std::vector<double>& probabilities) {
  std::vector<double> scores;
  for (double p : probabilities) scores.push_back(std::log(p));
  return scores;
}

std::set<std::int32_t> ids(const std::vector<Candidate>& left) {
  std::set<std::int32_t> set;
  for (const Candidate& c : left) set.insert(c.id);
  return set;
}

double total(const std::vector<Candidate>& left) {
  double sum = 0;
  for (const Candidate& c : left) sum += c.probability;
  return sum;
}

std::vector<double> penalised(const SamplingRules& rules, bool history_in_prompt) {
  std::vector<double> scores = {2.0, -1.0, 0.5, 3.0, -0.25, 0.0, 1.0};
  TokenCounts counts(7);
  for (std::int32_t id : {3, 3, 1, 0, 3, 5}) history_in_prompt ? counts.add_prompt(id) : counts.add_generated(id);
  apply_penalties(scores, counts, rules);
  return scores;
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 4e-16 * 4) << i;
}

TEST(Penalties, RepetitionDividesPositiveAndMultipliesNegativeScoresOnce) {
  SamplingRules rules;
  rules.repetition_penalty = 1.25;
  expect_near(penalised(rules, false), {1.6, -1.25, 0.5, 2.4, -0.25, 0.0, 1.0});
  expect_near(penalised(rules, true), {1.6, -1.25, 0.5, 2.4, -0.25, 0.0, 1.0});
}

TEST(Penalties, FrequencyAndPresenceCountGeneratedTokensOnly) {
  SamplingRules rules;
  rules.frequency_penalty = 0.5;
  rules.presence_penalty = 0.25;
  expect_near(penalised(rules, false), {1.25, -1.75, 0.5, 1.25, -0.25, -0.75, 1.0});
  expect_near(penalised(rules, true), {2.0, -1.0, 0.5, 3.0, -0.25, 0.0, 1.0});
}

TEST(Penalties, RepetitionComesBeforeFrequencyAndPresence) {
  SamplingRules rules;
  rules.repetition_penalty = 1.25;
  rules.frequency_penalty = 0.5;
  rules.presence_penalty = 0.25;
  expect_near(penalised(rules, false), {0.85, -2.0, 0.5, 0.65, -0.25, -0.75, 1.0});
}

TEST(Candidates, WithoutRulesAreAllTokensWithTheirProbabilities) {
  const std::vector<double> p = {0.1, 0.4, 0.2, 0.3};
  const std::vector<Candidate> left = candidates(scores_of(p), {});
  ASSERT_EQ(left.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(left[i].id, static_cast<std::int32_t>(i));
    EXPECT_NEAR(left[i].probability, p[i], 1e-15);
  }
}

TEST(Candidates, TemperatureRaisesProbabilitiesToItsInverse) {
  SamplingRules rules;
  rules.temperature = 0.5;
  const std::vector<Candidate> left = candidates(scores_of({0.5, 0.25, 0.25}), rules);
  EXPECT_NEAR(left[0].probability, 0.25 / 0.375, 1e-15);
  EXPECT_NEAR(left[1].probability, 0.0625 / 0.375, 1e-15);
}

TEST(Candidates, TopKKeepsExactlyKAndTakesLowerIdsOnTies) {
  SamplingRules rules;
  rules.top_k = 3;
  const std::vector<Candidate> left = candidates(std::vector<double>{1, 2, 1, 3, 1, 0}, rules);
  EXPECT_EQ(ids(left), (std::set<std::int32_t>{3, 1, 0}));
  EXPECT_NEAR(total(left), 1, 1e-15);
  rules.top_k = 100;
  EXPECT_EQ(candidates(std::vector<double>{1, 2, 1}, rules).size(), 3u);
}

TEST(Candidates, TopPKeepsTheSmallestSetThatHoldsIt) {
  // Sixteenths are exact: 8, 4, 2, 1, 1 of them, in another order.
  const std::vector<double> scores = scores_of({2, 8, 1, 4, 1});
  const std::map<double, std::set<std::int32_t>> expected = {
      {1e-9, {1}},       {0.49, {1}},          {0.51, {1, 3}},       {0.74, {1, 3}},          {0.76, {1, 3, 0}},
      {0.87, {1, 3, 0}}, {0.88, {1, 3, 0, 2}}, {0.93, {1, 3, 0, 2}}, {0.94, {1, 3, 0, 2, 4}}, {0.999, {1, 3, 0, 2, 4}}};
  for (const auto& [top_p, set] : expected) {
    SamplingRules rules;
    rules.top_p = top_p;
    const std::vector<Candidate> left = candidates(scores, rules);
    EXPECT_EQ(ids(left), set) << top_p;
    EXPECT_EQ(left.front().id, 1);
    EXPECT_NEAR(total(left), 1, 1e-15);
  }
}

TEST(Candidates, TopPIsMinimalForManyRandomDistributions) {
  for (std::uint64_t trial = 0; trial < 200; ++trial) {
    std::vector<double> scores;
    for (std::uint64_t j = 0; j < 50; ++j) scores.push_back(6 * unit_double(philox(trial, 0, j).word[0], 0));
    SamplingRules rules;
    rules.top_p = 0.01 + 0.98 * unit_double(philox(trial, 1, 0).word[0], 0);
    const std::vector<Candidate> all = candidates(scores, {}), left = candidates(scores, rules);
    double held = 0, least = 1;
    for (const Candidate& c : left) {
      held += all[static_cast<std::size_t>(c.id)].probability;
      least = std::min(least, all[static_cast<std::size_t>(c.id)].probability);
    }
    EXPECT_GE(held, rules.top_p - 1e-14);
    EXPECT_LT(held - least, rules.top_p);
    for (const Candidate& c : all) {
      if (ids(left).count(c.id) != 0) continue;
      EXPECT_LE(c.probability, least);
    }
  }
}

TEST(Candidates, TopPIsTakenOfWhatTopKLeft) {
  SamplingRules rules;
  rules.top_k = 2;
  rules.top_p = 0.6;  // of all: two tokens are needed; of the first two, 4 / 6 of the mass is in the first
  EXPECT_EQ(ids(candidates(scores_of({0.4, 0.2, 0.2, 0.2}), rules)), (std::set<std::int32_t>{0}));
}

TEST(Candidates, MinPKeepsWhatIsLikelyBesideTheMostLikely) {
  SamplingRules rules;
  rules.min_p = 0.25;
  EXPECT_EQ(ids(candidates(scores_of({0.6, 0.2, 0.1, 0.1}), rules)), (std::set<std::int32_t>{0, 1}));
  rules.min_p = 1;
  EXPECT_EQ(ids(candidates(std::vector<double>{1, 5, 5, 0}, rules)), (std::set<std::int32_t>{1, 2}));
  rules.min_p = 0.3;
  rules.top_p = 0.9;  // min-p comes last: the nucleus is of the whole distribution
  EXPECT_EQ(ids(candidates(scores_of({0.6, 0.2, 0.1, 0.1}), rules)), (std::set<std::int32_t>{0, 1}));
}

TEST(Candidates, ExtremeScoresAndTemperaturesStayFinite) {
  for (double temperature : {1e-300, 1e-3, 1.0, 1e300}) {
    SamplingRules rules;
    rules.temperature = temperature;
    const std::vector<Candidate> left = candidates(std::vector<double>{-1e30, 1e4, 1e30, 0}, rules);
    EXPECT_NEAR(total(left), 1, 1e-15) << temperature;
    for (const Candidate& c : left) EXPECT_TRUE(std::isfinite(c.probability)) << temperature;
  }
}

TEST(SampleToken, AtTemperatureZeroIsTheMostLikelyAndTheLowestIdOnTies) {
  SamplingRules rules;
  rules.temperature = 0;
  for (double uniform : {0.0, 0.5, 0.999}) {
    EXPECT_EQ(sample_token(std::vector<double>{1, 3, 2, 3}, TokenCounts(4), rules, uniform), 1);
  }
  TokenCounts counts(4);
  counts.add_generated(1);
  rules.presence_penalty = 0.5;
  EXPECT_EQ(sample_token(std::vector<double>{1, 3, 2, 3}, counts, rules, 0), 3);
}

TEST(SampleToken, NeverDrawsWhatHasNoProbability) {
  const std::vector<double> scores = {-1e30, 0, -1e30, 0, -1e30};
  EXPECT_EQ(sample_token(scores, TokenCounts(5), {}, 0), 1);
  EXPECT_EQ(sample_token(scores, TokenCounts(5), {}, 0.4999), 1);
  EXPECT_EQ(sample_token(scores, TokenCounts(5), {}, 0.5), 3);
  EXPECT_EQ(sample_token(scores, TokenCounts(5), {}, 1 - 0x1p-53), 3);
}

TEST(SampleToken, FrequenciesFollowTheDistribution) {
  const std::vector<double> p = {0.05, 0.3, 0.15, 0.02, 0.25, 0.03, 0.2};
  const std::vector<double> scores = scores_of(p);
  const int draws = 20000;
  std::vector<int> count(p.size());
  for (std::uint64_t i = 0; i < draws; ++i) {
    const PhiloxBlock block = philox(42, random_stream(RandomPurpose::sample, 0), i);
    ++count[static_cast<std::size_t>(
        sample_token(scores, TokenCounts(7), {}, unit_double(block.word[0], block.word[1])))];
  }
  double chi_square = 0;
  for (std::size_t j = 0; j < p.size(); ++j) {
    const double expected = draws * p[j];
    chi_square += (count[j] - expected) * (count[j] - expected) / expected;
  }
  EXPECT_LT(chi_square, 16.81);  // 99 % point of 6 degrees of freedom
}

TEST(LogProbability, KeepsWhatIsFarBelowTheMaximum) {
  const std::vector<double> scores = {1000, 0, 999};
  const double log_denominator = std::log1p(std::exp(-1.0));
  EXPECT_NEAR(log_probability(scores, 1), -1000 - log_denominator, 1e-12);
  EXPECT_NEAR(log_probability(scores, 0), -log_denominator, 1e-15);
}

TEST(CheckSampling, NamesTheFlagTheValueAndTheRange) {
  const auto message = [](auto change) {
    SamplingRules rules;
    change(rules);
    try {
      check_sampling(rules);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::usage);
      return std::string(error.what());
    }
    return std::string("no error");
  };
  using R = SamplingRules;
  EXPECT_EQ(message([](R& r) { r.temperature = -0.5; }),
            "--temperature: -0.5 is out of range (expected a number of at least 0; 0 takes the most likely token)");
  EXPECT_EQ(message([](R& r) { r.temperature = NAN; }).substr(0, 18), "--temperature: nan");
  EXPECT_EQ(message([](R& r) { r.top_k = -1; }),
            "--top-k: -1 is out of range (expected a whole number of at least 0; 0 is off)");
  EXPECT_EQ(message([](R& r) { r.top_p = 0; }),
            "--top-p: 0 is out of range (expected more than 0 and at most 1; 1 is off)");
  EXPECT_EQ(message([](R& r) { r.min_p = 1.5; }), "--min-p: 1.5 is out of range (expected 0 to 1; 0 is off)");
  EXPECT_EQ(message([](R& r) { r.repetition_penalty = 0; }),
            "--repetition-penalty: 0 is out of range (expected a number above 0; 1 is off)");
  EXPECT_EQ(message([](R& r) { r.frequency_penalty = 3; }),
            "--frequency-penalty: 3 is out of range (expected -2 to 2; 0 is off)");
  EXPECT_EQ(message([](R& r) { r.presence_penalty = -2.5; }),
            "--presence-penalty: -2.5 is out of range (expected -2 to 2; 0 is off)");
  EXPECT_EQ(message([](R&) {}), "no error");
}

}  // namespace
}  // namespace nll
