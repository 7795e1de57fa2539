#include "src/eval/sampled_calibration.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/philox.h"

namespace nll {
namespace {

// Random logits of V tokens, and a token drawn from them at a temperature.
struct Draw {
  std::vector<float> logits;
  std::int32_t target = 0;
};
Draw draw(std::uint64_t seed, std::size_t V, double temperature) {
  Draw made;
  std::vector<double> weights;
  double sum = 0;
  for (std::size_t j = 0; j < V; ++j) {
    const double unit = static_cast<double>(philox(seed, 0, j).word[0]) * 0x1p-32;
    made.logits.push_back(static_cast<float>(8 * unit));
    weights.push_back(std::exp(static_cast<double>(made.logits.back()) / temperature));
    sum += weights.back();
  }
  double left = static_cast<double>(philox(seed, 1, 0).word[0]) * 0x1p-32 * sum;
  for (std::size_t j = 0; j < V; ++j) {
    left -= weights[j];
    made.target = static_cast<std::int32_t>(j);
    if (left < 0) break;
  }
  return made;
}

double loss_at(const std::vector<Draw>& draws, double temperature) {
  double sum = 0;
  for (const Draw& one : draws) {
    double d = 0;
    for (const float u : one.logits) d += std::exp(static_cast<double>(u) / temperature);
    sum += std::log(d) - static_cast<double>(one.logits[static_cast<std::size_t>(one.target)]) / temperature;
  }
  return sum / static_cast<double>(draws.size());
}

std::vector<Draw> draws(std::uint64_t count, double temperature) {
  std::vector<Draw> made;
  for (std::uint64_t i = 0; i < count; ++i) made.push_back(draw(i, 40, temperature));
  return made;
}

TEST(EventCalibration, EveryProbabilityIsInItsBin) {
  EventCalibration events;
  // p = 0.5, 0.25, 0.25 and, far below, 1e-30
  const std::vector<float> logits = {std::log(2.0f), 0, 0, -68};
  events.add(logits, 0);
  events.add(logits, 3);
  const auto& bins = events.result();
  // (10^(-1/3), 1] = (0.464, 1]: 0.5; (10^(-2/3), 0.464] = (0.215, 0.464]: both 0.25
  EXPECT_EQ(bins[0].events, 2);
  EXPECT_EQ(bins[0].happened, 1);
  EXPECT_NEAR(bins[0].probability(), 0.5, 1e-6);
  EXPECT_EQ(bins[1].events, 4);
  EXPECT_EQ(bins[1].happened, 0);
  EXPECT_EQ(bins.back().events, 2);
  EXPECT_EQ(bins.back().happened, 1);
  EXPECT_EQ(bins.back().rate(), 0.5);
  EXPECT_EQ(EventCalibration::upper(0), 1);
  EXPECT_DOUBLE_EQ(EventCalibration::upper(3), 0.1);
}

TEST(EventCalibration, ASureThingIsInTheFirstBin) {
  EventCalibration events;
  events.add(std::vector<float>{500, 0}, 0);
  EXPECT_EQ(events.result()[0].events, 1);
  EXPECT_EQ(events.result()[0].rate(), 1);
  EXPECT_EQ(events.result().back().events, 1);
}

TEST(EventCalibration, TokensDrawnFromTheModelComeAsOftenAsItSays) {
  EventCalibration events;
  std::int64_t happened = 0, seen = 0;
  for (const Draw& one : draws(4000, 1)) events.add(one.logits, one.target);
  for (const EventCalibration::Bin& bin : events.result()) {
    happened += bin.happened;
    seen += bin.events;
    if (bin.events == 0) continue;
    // Four standard errors of a count.
    const double p = bin.probability(), n = static_cast<double>(bin.events);
    EXPECT_NEAR(bin.rate(), p, 4 * std::sqrt(p * (1 - p) / n) + 1 / n);
  }
  EXPECT_EQ(happened, 4000);
  EXPECT_EQ(seen, 4000 * 40);
}

TEST(TemperatureFit, FindsTheTemperatureThatTokensWereDrawnAt) {
  for (const double temperature : {0.7, 1.0, 1.3}) {
    const std::vector<Draw> drawn = draws(4000, temperature);
    TemperatureFit fit;
    for (const Draw& one : drawn) fit.add(one.logits, one.target);
    EXPECT_EQ(fit.tokens(), 4000);
    // The loss is flat at its least: no temperature near it is better, and the true one is hardly worse.
    const double found = fit.temperature();
    // Four standard errors: the logits under the softmax have a variance of about 1 at these temperatures.
    EXPECT_NEAR(found, temperature, 4 * temperature * temperature / std::sqrt(4000.0));
    EXPECT_LE(loss_at(drawn, found), loss_at(drawn, found * 1.01));
    EXPECT_LE(loss_at(drawn, found), loss_at(drawn, found / 1.01));
  }
}

TEST(TemperatureFit, BetweenGridPointsTheLossIsTheLoss) {
  const std::vector<Draw> drawn = draws(50, 1);
  TemperatureFit fit;
  for (const Draw& one : drawn) fit.add(one.logits, one.target);
  // A cubic through values and slopes h = 0.05 apart errs by h^4 / 384 times the fourth derivative in the inverse
  // temperature, the fourth cumulant of logits within [0, 8]: at most 8^4 / 8.
  for (const double temperature : {0.5, 0.613, 0.97, 1.0, 1.4142, 1.9, 2.0})
    EXPECT_NEAR(fit.loss(temperature), loss_at(drawn, temperature), 512 * 6.25e-6 / 384) << temperature;
}

TEST(TemperatureFit, EndsAtItsLimits) {
  TemperatureFit sure, unsure;
  for (int i = 0; i < 10; ++i) {
    sure.add(std::vector<float>{1, 0}, 0);    // always right: the colder the better
    unsure.add(std::vector<float>{9, 0}, 1);  // always wrong
  }
  EXPECT_NEAR(sure.temperature(), 0.5, 1e-3);
  EXPECT_NEAR(unsure.temperature(), 2, 1e-3);
  EXPECT_EQ(TemperatureFit().temperature(), 1);
}

TEST(TemperedScore, IsTheLossAndTheCalibrationOfTheFirstChoice) {
  const std::vector<Draw> drawn = draws(60, 1);
  for (const double temperature : {1.0, 1.7}) {
    TemperedScore score(temperature);
    for (const Draw& one : drawn) score.add(one.logits, one.target);
    EXPECT_EQ(score.tokens(), 60);
    EXPECT_NEAR(score.loss(), loss_at(drawn, temperature), 1e-12);
  }
  TemperedScore half(1);
  half.add(std::vector<float>{0, 0}, 0);  // of equal choices the first
  half.add(std::vector<float>{0, 0}, 1);
  EXPECT_NEAR(half.ece(), 0, 1e-15);
  EXPECT_EQ(half.bins()[7].count, 2);
  EXPECT_EQ(half.bins()[7].correct, 1);
}

}  // namespace
}  // namespace nll
