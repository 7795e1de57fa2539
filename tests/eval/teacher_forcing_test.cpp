#include "src/eval/teacher_forcing.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <numeric>
#include <optional>
#include <set>

#include "src/eval/exposure_bias.h"
#include "src/eval/gold_windows.h"
#include "tests/model/reference.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

using Tokens = std::vector<std::int32_t>;

constexpr std::int64_t V = 19, context = 24;

struct Bench {
  Bench() : rig(config()) {
    rig.randomize(61);
    scorer.emplace(rig.model, rig.head, rig.ops, rig.device, rig.w);
  }
  static ModelConfig config() {
    ModelConfig model = tiny_model();
    model.context = context;
    return model;
  }
  // One token at a time without a cache: the last row of a pass over ever longer prefixes.
  ScoreText stepwise(double error = 0, std::int64_t broken_at = -1) {
    return [this, error, broken_at](std::span<const std::int32_t> text) {
      std::vector<double> logp;
      for (std::size_t i = 1; i < text.size(); ++i) {
        logp.push_back(static_cast<double>(scorer->score(text.first(i + 1)).logp.back()));
        if (static_cast<std::int64_t>(i) - 1 == broken_at) logp.back() += error;
      }
      return logp;
    };
  }
  // The model's first choices, step by step.
  Tokens greedy(std::span<const std::int32_t> prompt, std::int64_t count) {
    Tokens text(prompt.begin(), prompt.end());
    for (std::int64_t i = 0; i < count; ++i) {
      Tokens padded = text;
      padded.push_back(0);
      text.push_back(scorer->score(padded).choice.back());
    }
    return {text.end() - count, text.end()};
  }
  std::vector<Tokens> windows(std::uint64_t count, std::int64_t length = context + 1) const {
    std::vector<Tokens> made;
    for (std::uint64_t i = 0; i < count; ++i) made.push_back(random_tokens(70 + i, length, V));
    return made;
  }
  Rig rig;
  std::optional<ParallelScorer> scorer;
};

TEST(ParallelScorer, EqualsTheReferenceInDouble) {
  Bench bench;
  const Tokens text = random_tokens(1, context + 1, V);
  const ForcedTokens found = bench.scorer->score(text);
  const std::vector<float> stored = bench.rig.download(bench.rig.weights);
  const Tokens inputs(text.begin(), text.end() - 1), targets(text.begin() + 1, text.end());
  const Reference model{bench.rig.model, bench.rig.table};
  const std::vector<ReferenceToken> expected =
      model.score(std::vector<double>(stored.begin(), stored.end()), inputs, targets, 1);
  ASSERT_EQ(found.logp.size(), expected.size());
  // 8 L + 6 ops with sums of at most 4 C terms on logits of a few units.
  constexpr double tolerance = (8 * 2 + 6) * 4 * 8 * 0x1p-24 * 4;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(found.logp[i], expected[i].logp, tolerance) << i;
    EXPECT_EQ(found.choice[i] == targets[i], expected[i].rank == 1) << i;
  }
}

TEST(TeacherForcing, ParallelEqualsStepByStepWithinTheLimits) {
  Bench bench;
  const std::vector<Tokens> windows = bench.windows(3);
  for (const std::int64_t length : forcing_lengths(context)) {
    const ForcingDifference found = compare_passes(*bench.scorer, bench.stepwise(), windows, length);
    EXPECT_EQ(found.length, length);
    EXPECT_EQ(found.windows, 3);
    EXPECT_EQ(found.tokens, 3 * length);
    EXPECT_TRUE(found.within(forcing_limits(DType::f32))) << found.largest;
    EXPECT_LE(found.mean, found.largest);
  }
}

TEST(TeacherForcing, OneBrokenStepIsFoundAndMeasured) {
  Bench bench;
  const std::vector<Tokens> windows = bench.windows(2);
  for (const double error : {-0.01, 0.01}) {
    const ForcingDifference found = compare_passes(*bench.scorer, bench.stepwise(error, 17), windows, context);
    EXPECT_FALSE(found.within(forcing_limits(DType::f32)));
    EXPECT_NEAR(found.largest, 0.01, 1e-4);
    EXPECT_NEAR(found.mean, 0.01 / context, 1e-4);
    EXPECT_NEAR(found.perplexity, 0.01 / context, 1e-4);
    EXPECT_TRUE(compare_passes(*bench.scorer, bench.stepwise(error, 17), windows, 16)
                    .within(forcing_limits(DType::f32)));  // the break is behind it
  }
}

TEST(TeacherForcing, AStepThatIsNoNumberFails) {
  Bench bench;
  for (const double broken : {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
    const ForcingDifference found = compare_passes(*bench.scorer, bench.stepwise(broken, 0), bench.windows(2), context);
    EXPECT_TRUE(std::isinf(found.largest));
    for (const DType type : {DType::f32, DType::bf16, DType::f16}) EXPECT_FALSE(found.within(forcing_limits(type)));
  }
}

TEST(ForcingLimits, AreTheSpecifiedMultiplesOfEpsilon) {
  EXPECT_DOUBLE_EQ(forcing_limits(DType::f32).largest, 1e-4);
  EXPECT_DOUBLE_EQ(forcing_limits(DType::bf16).largest, 0.1);
  EXPECT_DOUBLE_EQ(forcing_limits(DType::bf16).mean, 5e-3);
  EXPECT_DOUBLE_EQ(forcing_limits(DType::f16).largest, 0.1 / 8);
  EXPECT_DOUBLE_EQ(forcing_limits(DType::f16).mean, 5e-3 / 8);
  for (const DType type : {DType::f32, DType::bf16, DType::f16})
    EXPECT_DOUBLE_EQ(forcing_limits(type).perplexity, 1e-3);
}

TEST(Causality, NoPositionSeesALaterOne) {
  Bench bench;
  const std::vector<CausalityCheck> checks = check_causality(*bench.scorer, bench.windows(1)[0], V);
  ASSERT_EQ(checks.size(), 5u);
  std::set<std::int64_t> positions;
  for (const CausalityCheck& check : checks) {
    positions.insert(check.changed);
    EXPECT_EQ(check.earlier, check.changed);
    EXPECT_EQ(check.earlier_different, 0) << check.changed;
    EXPECT_EQ(check.earlier + check.later, context);
    EXPECT_GT(check.later_different, 0) << check.changed;
    EXPECT_TRUE(check.passed());
  }
  EXPECT_EQ(positions, (std::set<std::int64_t>{1, 6, 12, 18, 23}));
}

TEST(Causality, FailsForAModelThatSeesAheadAndForOneThatSeesNothing) {
  EXPECT_FALSE((CausalityCheck{4, 4, 1, 20, 20}.passed()));
  EXPECT_FALSE((CausalityCheck{4, 4, 0, 20, 0}.passed()));
  Rig blind(Bench::config());  // all weights zero: every log-probability is -ln V
  ParallelScorer scorer(blind.model, blind.head, blind.ops, blind.device, blind.w);
  const std::vector<CausalityCheck> checks = check_causality(scorer, random_tokens(5, context + 1, V), V);
  ASSERT_FALSE(checks.empty());
  for (const CausalityCheck& check : checks) EXPECT_FALSE(check.passed());
}

TEST(Causality, ShortWindowsHaveFewerPositionsToChange) {
  Bench bench;
  EXPECT_TRUE(check_causality(*bench.scorer, Tokens{1, 2}, V).empty());
  const std::vector<CausalityCheck> checks = check_causality(*bench.scorer, Tokens{1, 2, 3}, V);
  ASSERT_EQ(checks.size(), 1u);
  EXPECT_EQ(checks[0].changed, 1);
  EXPECT_TRUE(checks[0].passed());
}

TEST(ForcingSpeed, IsTheMedianOfWhatRanInTurn) {
  double clock = 0;
  std::string order;
  const auto takes = [&](char name, double seconds) {
    return [&, name, seconds] {
      order += name;
      clock += seconds * (order.size() < 5 ? 3 : 1);  // the first round is slow
    };
  };
  const ForcingWays ways{takes('p', 0.5), takes('s', 4), takes('f', 2)};
  const ForcingSpeed speed = measure_speed(8, ways, 30, [&] { return clock; });
  EXPECT_EQ(order, "ppsfpsfpsf");
  EXPECT_EQ(speed.repeats, 3);
  EXPECT_DOUBLE_EQ(speed.parallel, 16);
  EXPECT_DOUBLE_EQ(speed.stepwise, 2);
  EXPECT_DOUBLE_EQ(speed.free_running, 4);
  EXPECT_DOUBLE_EQ(speed.ratio(), 8);
}

TEST(ForcingSpeed, EndsWhereTheClockStandsStill) {
  int runs = 0;
  const auto run = [&] { ++runs; };
  EXPECT_EQ(measure_speed(8, {run, run, run}, 1, [] { return 0.0; }).repeats, 100);
  EXPECT_EQ(runs, 301);
}

TEST(ForcingLengths, GrowFourfoldUpToTheLongest) {
  EXPECT_EQ(forcing_lengths(1024), (std::vector<std::int64_t>{16, 64, 256, 1024}));
  EXPECT_EQ(forcing_lengths(100), (std::vector<std::int64_t>{16, 64, 100}));
  EXPECT_EQ(forcing_lengths(3), (std::vector<std::int64_t>{3}));
}

TEST(ExposureBias, EqualsTheLossesOfTheReplacedTexts) {
  Bench bench;
  const std::vector<Tokens> windows = bench.windows(2);
  const auto writes = [](std::span<const std::int32_t> prompt, std::int64_t count, double, std::uint64_t seed) {
    return Tokens(static_cast<std::size_t>(count), static_cast<std::int32_t>((prompt.size() + seed) % V));
  };
  const ExposureBias found = measure_exposure(*bench.scorer, writes, windows, 3);
  EXPECT_EQ(found.windows, 2);
  EXPECT_EQ(found.continuation, 6);  // a quarter of 25
  EXPECT_EQ(found.prefix, 19);
  ASSERT_EQ(found.curve.size(), 3u);
  const auto loss = [&](const Tokens& text) {
    const std::vector<float> logp = bench.scorer->score(text).logp;
    return -std::accumulate(logp.end() - 6, logp.end(), 0.0) / 6;
  };
  for (std::size_t i = 0; i < 3; ++i) {
    const std::size_t k = std::size_t{1} << (2 * i);
    double own[2], other[2];
    for (std::size_t w = 0; w < 2; ++w) {
      Tokens text = windows[w], mixed = windows[w];
      for (std::size_t p = 19 - k; p < 19; ++p) {
        text[p] = static_cast<std::int32_t>((19 - k + 3 + w) % V);
        mixed[p] = windows[1 - w][p];
      }
      own[w] = loss(text) - loss(windows[w]);
      other[w] = loss(mixed) - loss(windows[w]);
    }
    const ExposurePoint& point = found.curve[i];
    EXPECT_EQ(point.k, static_cast<std::int64_t>(k));
    EXPECT_NEAR(point.excess.mean, (own[0] + own[1]) / 2, 1e-12);
    EXPECT_NEAR(point.excess.error, std::abs(own[0] - own[1]) / 2, 1e-12);  // sqrt(2 (d/2)^2 / 1 / 2)
    EXPECT_NEAR(point.other.mean, (other[0] + other[1]) / 2, 1e-12);
    EXPECT_NEAR(point.loss.mean - found.gold.mean, point.excess.mean, 1e-12);
  }
}

TEST(ExposureBias, IsZeroForAModelThatWritesTheGoldText) {
  Bench bench;
  const std::vector<Tokens> windows = bench.windows(3);
  const auto recites = [&](std::span<const std::int32_t> prompt, std::int64_t count, double, std::uint64_t seed) {
    const Tokens& window = windows[seed - 9];
    const auto begin = window.begin() + static_cast<std::ptrdiff_t>(prompt.size());
    return Tokens(begin, begin + count);
  };
  const ExposureBias found = measure_exposure(*bench.scorer, recites, windows, 9);
  ASSERT_FALSE(found.curve.empty());
  for (const ExposurePoint& point : found.curve) {
    EXPECT_EQ(point.excess.mean, 0);
    EXPECT_EQ(point.excess.error, 0);
  }
  for (const StepAccuracy& steps : found.accuracy) EXPECT_EQ(steps.free_running.mean, 1);
}

TEST(ExposureBias, FreeRunningAndForcedChoicesAgreeAtTheFirstStep) {
  Bench bench;
  const auto greedy = [&](std::span<const std::int32_t> prompt, std::int64_t count, double, std::uint64_t) {
    return bench.greedy(prompt, count);
  };
  // Gold text that the model itself would choose: it is right at every step, forced or not.
  std::vector<Tokens> windows;
  for (std::int32_t first = 0; first < 3; ++first) {
    windows.push_back({first, 5, 7});
    const Tokens rest = bench.greedy(windows.back(), context - 2);
    windows.back().insert(windows.back().end(), rest.begin(), rest.end());
  }
  const ExposureBias own = measure_exposure(*bench.scorer, greedy, windows, 1);
  ASSERT_EQ(own.accuracy.size(), 3u);
  for (const StepAccuracy& steps : own.accuracy) {
    EXPECT_EQ(steps.forced.mean, 1);
    EXPECT_EQ(steps.free_running.mean, 1);
  }
  EXPECT_EQ(own.accuracy[2].first, 5);
  EXPECT_EQ(own.accuracy[2].last, 16);
  const ExposureBias random = measure_exposure(*bench.scorer, greedy, bench.windows(8), 1);
  EXPECT_EQ(random.accuracy[0].forced.mean, random.accuracy[0].free_running.mean);
}

TEST(ExposureBias, TheShortestWindowHasOnePointAndASingleOneNoError) {
  Bench bench;
  const auto zeros = [](std::span<const std::int32_t>, std::int64_t count, double, std::uint64_t) {
    return Tokens(static_cast<std::size_t>(count));
  };
  const ExposureBias found = measure_exposure(*bench.scorer, zeros, bench.windows(1, 3), 1);
  EXPECT_EQ(found.prefix, 2);
  EXPECT_EQ(found.continuation, 1);
  ASSERT_EQ(found.curve.size(), 1u);
  EXPECT_TRUE(std::isfinite(found.curve[0].excess.mean));
  EXPECT_TRUE(std::isnan(found.curve[0].excess.error));
  EXPECT_TRUE(std::isnan(found.curve[0].other.mean));
}

// A fresh folder that goes when the test is over, with a token file of each length: file f holds 100 f, 100 f + 1, ...
struct Files {
  explicit Files(const std::vector<std::int64_t>& lengths) {
    std::string made = (std::filesystem::temp_directory_path() / "nll_windows_XXXXXX").string();
    CHECK(mkdtemp(made.data()) != nullptr);
    at = made;
    for (std::size_t f = 0; f < lengths.size(); ++f) {
      paths.push_back((at / (std::to_string(f) + ".bin")).string());
      Tokens tokens;
      for (std::int64_t i = 0; i < lengths[f]; ++i)
        tokens.push_back(static_cast<std::int32_t>(100 * f) + static_cast<std::int32_t>(i));
      TokenFileWriter writer(paths.back(), 1000, 999, 1);
      writer.append(tokens);
      writer.finish();
    }
  }
  ~Files() {
    std::error_code ignored;
    std::filesystem::remove_all(at, ignored);
  }
  TokenDataset dataset() const { return TokenDataset(paths, 1, 1000); }
  std::filesystem::path at;
  std::vector<std::string> paths;
};

TEST(GoldWindows, AreSpreadOverTheFilesWithoutOverlap) {
  const Files files({25, 4, 40});
  std::set<std::int32_t> begins;
  for (const GoldWindow& window : gold_windows(files.dataset(), 5, 100)) {
    ASSERT_EQ(window.size(), 5u);
    begins.insert(window[0]);
    EXPECT_EQ(window[4], window[0] + 4);  // of one file
  }
  EXPECT_EQ(begins, (std::set<std::int32_t>{0, 5, 10, 15, 20, 200, 205, 210, 215, 220, 225, 230, 235}));
  const std::vector<GoldWindow> three = gold_windows(files.dataset(), 5, 3);
  ASSERT_EQ(three.size(), 3u);
  EXPECT_EQ(three[0][0], 0);
  EXPECT_EQ(three[1][0], 20);   // window 4 of 13
  EXPECT_EQ(three[2][0], 215);  // window 8
}

TEST(GoldWindows, MayOverlapWhereMoreAreAskedForThanFit) {
  const Files files({25, 4, 40});
  std::set<std::int32_t> begins;
  for (const GoldWindow& window : overlapping_windows(files.dataset(), 20, 100)) {
    EXPECT_EQ(window[19], window[0] + 19);  // of one file
    begins.insert(window[0]);
  }
  EXPECT_EQ(begins.size(), 6u + 21u);
  EXPECT_EQ(*begins.rbegin(), 220);
  const std::vector<GoldWindow> three = overlapping_windows(files.dataset(), 20, 3);
  ASSERT_EQ(three.size(), 3u);
  EXPECT_EQ(three[1][0], 203);  // window 9 of 27
}

TEST(GoldWindows, AreAsLongAsTheTextWhereThatIsShort) {
  const std::vector<GoldWindow> windows = gold_windows(Files({3, 9}).dataset(), 50, 4);
  ASSERT_EQ(windows.size(), 1u);
  EXPECT_EQ(windows[0].size(), 9u);
  EXPECT_EQ(windows[0][0], 100);
  EXPECT_THROW(gold_windows(Files({2}).dataset(), 50, 4), Error);
}

}  // namespace
}  // namespace nll::test
