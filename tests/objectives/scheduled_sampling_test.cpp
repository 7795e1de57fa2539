#include "src/objectives/scheduled_sampling.h"

#include "tests/objectives/rig.h"

namespace nll::test {
namespace {

using nlohmann::json;
using Tokens = std::vector<std::int32_t>;

TEST(ScheduledSampling, SchedulesGiveTheirReferenceVectors) {
  const json& c = vectors()["scheduled_sampling"]["schedules"];
  const auto expect = [&](const char* name, const ScheduledSampling& settings) {
    for (std::size_t i = 0; i < c["steps"].size(); ++i) {
      expect_close(gold_probability(settings, c["steps"][i].get<std::int64_t>()), c[name]["p"][i].get<double>(), name);
    }
  };
  const json& linear = c["linear"];
  expect("linear",
         {GoldDecay::linear, linear["k"].get<double>(), linear["c"].get<double>(), linear["floor"].get<double>()});
  expect("exponential", {GoldDecay::exponential, c["exponential"]["k"].get<double>()});
  expect("inverse_sigmoid", {GoldDecay::inverse_sigmoid, c["inverse_sigmoid"]["k"].get<double>()});
}

TEST(ScheduledSampling, ProbabilitiesStayProbabilitiesForEver) {
  for (GoldDecay decay : {GoldDecay::linear, GoldDecay::exponential, GoldDecay::inverse_sigmoid}) {
    const ScheduledSampling settings{decay, decay == GoldDecay::exponential ? 0.5 : 1.0, 0.5, 0};
    for (std::int64_t step : {std::int64_t{0}, std::int64_t{10}, std::int64_t{1} << 40}) {
      const double p = gold_probability(settings, step);
      EXPECT_GE(p, 0);
      EXPECT_LE(p, 1);
    }
  }
  EXPECT_EQ(gold_probability({}, 1000), 1) << "off by default";
}

TEST(ScheduledSampling, MixingGivesItsReferenceVector) {
  const json& c = vectors()["scheduled_sampling"]["mixing"];
  const auto gold = c["gold_inputs"].get<Tokens>(), predictions = c["pass1_predictions"].get<Tokens>();
  Reals uniforms{0.99};  // of input 0, which is never replaced
  for (const json& u : c["uniforms"]) uniforms.push_back(u.get<double>());
  Tokens mixed(gold.size());
  const std::int64_t replaced = mix_inputs(gold, predictions, uniforms, c["p_gold"].get<double>(), {}, mixed);
  EXPECT_EQ(mixed, c["mixed_inputs"].get<Tokens>());
  EXPECT_EQ(replaced, 3);
}

TEST(ScheduledSampling, KeptInputsAreNeverReplaced) {
  const Tokens gold{1, 2, 3, 4}, predictions{7, 7, 7, 7};
  const std::vector<std::uint8_t> keep{0, 1, 0, 1};
  Tokens mixed(4);
  EXPECT_EQ(mix_inputs(gold, predictions, Reals(4, 0.5), 0, keep, mixed), 1);
  EXPECT_EQ(mixed, (Tokens{1, 2, 7, 4}));
  EXPECT_EQ(mix_inputs(gold, predictions, Reals(4, 0.5), 1, {}, mixed), 0);
  EXPECT_EQ(mixed, gold);
}

}  // namespace
}  // namespace nll::test
