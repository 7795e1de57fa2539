#include "src/eval/scaling_law.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/philox.h"
#include "src/eval/student_t.h"

namespace nll {
namespace {

nlohmann::json vectors(const char* name) {
  std::ifstream file(NLL_SOURCE_DIR "/tests/eval/fixtures/scaling_vectors.json");
  return nlohmann::json::parse(file).at(name);
}

std::vector<ScalingRun> hoffmann_runs(const nlohmann::json& vector) {
  std::vector<ScalingRun> runs;
  for (const auto& point : vector.at("points"))
    runs.push_back({point.at("N"), point.at("N"), point.at("D"), point.at("L"), 1});
  return runs;
}

// Runs of the published constants (Hoffmann et al. as refitted by Besiroglu et al., 2024), 5 sizes x 4 token counts,
// with log errors up to `noise`.
std::vector<ScalingRun> published_runs(double noise) {
  std::vector<ScalingRun> runs;
  for (double n : {2e7, 8e7, 3e8, 1.2e9, 5e9}) {
    for (double d : {4e8, 2e9, 1e10, 5e10}) {
      const PhiloxBlock block = philox(3, 0, runs.size());
      const double error = noise * (2 * unit_double(block.word[0], block.word[1]) - 1);
      const double loss = (1.82 + 482 / std::pow(n, 0.348) + 2085 / std::pow(d, 0.366)) * std::exp(error);
      runs.push_back({n, 0.9 * n, d, loss, 1});
    }
  }
  return runs;
}

TEST(ScalingLaw, KaplanFitEqualsTheVectors) {
  const nlohmann::json vector = vectors("scaling_kaplan");
  std::vector<double> sizes, losses;
  for (const auto& point : vector.at("points")) {
    sizes.push_back(point[0]);
    losses.push_back(point[1]);
  }
  const std::optional<PowerLaw> law = fit_power_law(sizes, losses);
  ASSERT_TRUE(law);
  EXPECT_NEAR(law->exponent, vector.at("alpha").get<double>(), 1e-13);
  EXPECT_NEAR(law->log_scale, vector.at("log_Nc").get<double>(), 1e-10);
  EXPECT_NEAR(law->error, vector.at("se_alpha").get<double>(), 1e-13);
  // In closed form; the vector's quantile has ten digits.
  EXPECT_NEAR(student_t_quantile(0.975, 2), 0.95 * std::sqrt(2 / 0.0975), 1e-12);
  EXPECT_NEAR(student_t_quantile(0.975, 2), vector.at("t_975_df2").get<double>(), 1e-9);
  EXPECT_NEAR(law->interval.low, vector.at("ci95")[0].get<double>(), 1e-12);
  EXPECT_NEAR(law->interval.high, vector.at("ci95")[1].get<double>(), 1e-12);
}

TEST(ScalingLaw, KaplanFitTakesTheBestRunOfEachSize) {
  std::vector<ScalingRun> runs;
  for (double n : {1e6, 1e7, 1e8}) {
    const double loss = std::pow(8.8e13 / n, 0.076);
    runs.push_back({2 * n, n, 1e9, loss, 1});
    runs.push_back({2 * n, n, 1e8, 1.5 * loss, 1});
  }
  const std::optional<PowerLaw> law = fit_over_parameters(runs);
  ASSERT_TRUE(law);
  EXPECT_EQ(law->points, 3);
  EXPECT_NEAR(law->exponent, 0.076, 1e-13);
  EXPECT_NEAR(law->log_scale, std::log(8.8e13), 1e-9);
  EXPECT_FALSE(fit_over_tokens(runs)) << "two token counts";
}

TEST(ScalingLaw, StudentsQuantilesAreThoseOfTheTables) {
  // t of 1 degree is tan(pi (p - 1/2)); the others from tables with three decimals.
  EXPECT_NEAR(student_t_quantile(0.975, 1), std::tan(M_PI * 0.475), 1e-9);
  EXPECT_NEAR(student_t_quantile(0.975, 5), 2.571, 5e-4);
  EXPECT_NEAR(student_t_quantile(0.975, 30), 2.042, 5e-4);
  EXPECT_NEAR(student_t_quantile(0.975, 1e6), 1.960, 5e-4);
  EXPECT_EQ(student_t_probability(0, 7), 0.5);
}

TEST(ScalingLaw, HoffmannObjectiveAndGradientEqualTheVectors) {
  const nlohmann::json vector = vectors("scaling_hoffmann");
  const std::vector<ScalingRun> runs = hoffmann_runs(vector);
  LawVector gradient{};
  EXPECT_NEAR(hoffmann_objective(runs, vector.at("theta").get<LawVector>(), gradient),
              vector.at("objective").get<double>(), 1e-16);
  for (int i = 0; i < law_size; ++i) EXPECT_NEAR(gradient[i], vector.at("gradient")[i].get<double>(), 1e-15);
  EXPECT_LT(hoffmann_objective(runs, vector.at("true_theta").get<LawVector>(), gradient), 1e-29);
}

TEST(ScalingLaw, HoffmannFitFindsTheConstantsOfTheVectors) {
  const nlohmann::json vector = vectors("scaling_hoffmann");
  const std::vector<ScalingRun> runs = hoffmann_runs(vector);
  ASSERT_TRUE(hoffmann_identified(runs));
  const HoffmannLaw law = fit_hoffmann(runs);
  const LawVector truth = vector.at("true_theta").get<LawVector>();
  for (int i = 0; i < law_size; ++i) EXPECT_NEAR(law.theta[i], truth[i], 1e-6) << "constant " << i;
  HoffmannLaw exact;
  exact.theta = truth;
  const ComputeOptimum optimum = compute_optimum(exact, vector.at("optimum").at("C"));
  const double n = vector.at("optimum").at("N_opt"), d = vector.at("optimum").at("D_opt");
  EXPECT_NEAR(optimum.parameters / n, 1, 1e-12);
  EXPECT_NEAR(optimum.tokens / d, 1, 1e-12);
  EXPECT_NEAR(optimum.ratio(), d / n, 1e-10);
}

TEST(ScalingLaw, HoffmannFitRecoversPublishedConstants) {
  const HoffmannLaw law = fit_hoffmann(published_runs(0));
  EXPECT_NEAR(law.floor(), 1.82, 1e-4);
  EXPECT_NEAR(law.parameter_factor(), 482, 0.5);
  EXPECT_NEAR(law.token_factor(), 2085, 2);
  EXPECT_NEAR(law.alpha(), 0.348, 1e-4);
  EXPECT_NEAR(law.beta(), 0.366, 1e-4);
}

TEST(ScalingLaw, OneBadRunHardlyMovesTheFit) {
  std::vector<ScalingRun> runs = published_runs(0);
  runs[7].loss *= 1.2;
  const HoffmannLaw law = fit_hoffmann(runs);
  EXPECT_NEAR(law.floor(), 1.82, 2e-3);
  EXPECT_NEAR(law.alpha(), 0.348, 2e-3);
  EXPECT_NEAR(law.beta(), 0.366, 2e-3);
}

TEST(ScalingLaw, NoNeighbourOfTheFitIsBetter) {
  const std::vector<ScalingRun> runs = published_runs(0.01);
  const HoffmannLaw law = fit_hoffmann(runs);
  LawVector gradient{};
  for (int i = 0; i < law_size; ++i) {
    for (double change : {-1e-4, 1e-4}) {
      LawVector theta = law.theta;
      theta[i] += change;
      EXPECT_GE(hoffmann_objective(runs, theta, gradient), law.objective) << "constant " << i;
    }
  }
  // The truth is no better than the best fit either.
  EXPECT_LE(law.objective,
            hoffmann_objective(runs, {std::log(1.82), std::log(482), std::log(2085), 0.348, 0.366}, gradient));
}

TEST(ScalingLaw, BootstrapIntervalsHoldTheTruthAndRepeat) {
  const std::vector<ScalingRun> runs = published_runs(0.005);
  const HoffmannLaw law = fit_hoffmann(runs);
  const std::vector<HoffmannLaw> laws = bootstrap_laws(runs, law, 1, 100, {});
  ASSERT_EQ(laws.size(), 100u);
  const Interval floor = interval_of(laws, [](const HoffmannLaw& one) { return one.floor(); });
  EXPECT_LT(floor.low, 1.82);
  EXPECT_GT(floor.high, 1.82);
  EXPECT_LT(floor.high - floor.low, 0.5);
  const std::vector<HoffmannLaw> again = bootstrap_laws(runs, law, 1, 5, {});
  for (std::size_t i = 0; i < again.size(); ++i) EXPECT_EQ(again[i].theta, laws[i].theta);
}

TEST(ScalingLaw, SaysWhenTheRunsAreTooFew) {
  const std::vector<ScalingRun> all = published_runs(0);
  EXPECT_TRUE(hoffmann_identified(all));
  const std::vector<ScalingRun> three_sizes(all.begin(), all.begin() + 12);
  EXPECT_FALSE(hoffmann_identified(three_sizes));
  EXPECT_TRUE(hoffmann_possible(three_sizes));
  EXPECT_FALSE(hoffmann_possible(std::span(all).first(8)));
}

}  // namespace
}  // namespace nll
