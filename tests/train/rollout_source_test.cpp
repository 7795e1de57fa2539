#include "src/train/rollout_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>
#include <set>

#include "tests/train/rollout_rig.h"

namespace nll::test {
namespace {

// The rows of steps [0, steps) of all ranks together, sorted, and the metrics of the first.
struct Served {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::pair<std::string, double>> metrics;
};

Served serve(const Config& config, int ranks, std::int64_t steps) {
  const RolloutDesk::Shelf shelf;
  shelf.open(config.objective.kind == "mixer" ? RecordKind::supervised : RecordKind::prompt_only);
  Served served;
  served.rows.resize(static_cast<std::size_t>(steps));
  std::vector<Metrics> metrics(static_cast<std::size_t>(ranks));
  std::mutex mutex;
  expect_all_done(run_ranks(threads_transports(ranks), [&](int rank, std::shared_ptr<Transport> transport) {
    RolloutDesk desk(shelf, config, std::move(transport));
    const auto source = desk.source();
    std::int64_t position = 0;
    for (std::int64_t step = 0; step < steps; ++step) {
      StepData data;
      ASSERT_TRUE(source->next(step, position, data));
      position += data.samples;
      const std::vector<std::string> mine = rows_of(data);
      const std::lock_guard lock(mutex);
      std::vector<std::string>& all = served.rows[static_cast<std::size_t>(step)];
      all.insert(all.end(), mine.begin(), mine.end());
      if (step == 0) metrics[static_cast<std::size_t>(rank)] = data.metrics;
    }
  }));
  for (std::vector<std::string>& rows : served.rows) std::sort(rows.begin(), rows.end());
  Metrics sum = metrics[0];
  for (int rank = 1; rank < ranks; ++rank) sum.add_numbers(metrics[static_cast<std::size_t>(rank)].numbers());
  for (const Metric& metric : sum.all()) {
    if (metric.value()) served.metrics.emplace_back(metric.name(), *metric.value());
  }
  return served;
}

Config config_of(const std::string& kind) {
  Config config = rollout_config(kind);
  config.rollout.epochs = 2;
  config.rollout.mini_batches = 2;
  if (kind == "grpo") {
    config.rollout.completions = 3;
    config.objective.grpo.beta = 0.1;
  }
  config.objective.mixer.gold_tokens = 4;
  config.objective.mixer.every_steps = 4;
  config.objective.mixer.fewer_gold_tokens = 3;
  return config;
}

class Kind : public testing::TestWithParam<const char*> {};

TEST_P(Kind, OneRankAndTwoLearnFromTheSame) {
  const Config config = config_of(GetParam());
  const Served one = serve(config, 1, 5), two = serve(config, 2, 5);
  for (const auto& rows : one.rows) EXPECT_FALSE(rows.empty());
  EXPECT_EQ(one.rows, two.rows);
  EXPECT_EQ(one.metrics, two.metrics);
  EXPECT_FALSE(one.metrics.empty());
}

TEST_P(Kind, ARolloutIsGoneOnWithExactlyOnAnotherNumberOfRanks) {
  const Config config = config_of(GetParam());
  const Served whole = serve(config, 1, 4);
  const RolloutDesk::Shelf shelf;
  RolloutDesk first(shelf, config);
  const auto source = first.source();
  StepData data;
  EXPECT_EQ(source->state(), "");
  ASSERT_TRUE(source->next(0, 0, data));
  ASSERT_TRUE(source->next(1, 4, data));
  const std::string state = source->state();
  ASSERT_NE(state, "");
  for (int ranks : {1, 2}) {
    std::vector<std::vector<std::string>> rows(2);
    std::mutex mutex;
    expect_all_done(run_ranks(threads_transports(ranks), [&](int rank, std::shared_ptr<Transport> transport) {
      RolloutDesk desk(shelf, config, std::move(transport));
      const auto again = desk.source();
      again->restore(state, "checkpoint");
      EXPECT_EQ(again->state(), rank == 0 ? state : "");
      for (std::int64_t step : {2, 3}) {
        StepData part;
        ASSERT_TRUE(again->next(step, 4, part));
        EXPECT_EQ(part.samples, 0);
        EXPECT_TRUE(part.metrics.all().empty());
        const std::lock_guard lock(mutex);
        std::vector<std::string>& all = rows[static_cast<std::size_t>(step) - 2];
        for (const std::string& row : rows_of(part)) all.push_back(row);
      }
      EXPECT_EQ(again->state(), "") << "at the rollout's end";
    }));
    for (std::size_t i = 0; i < 2; ++i) {
      std::sort(rows[i].begin(), rows[i].end());
      EXPECT_EQ(rows[i], whole.rows[i + 2]) << ranks << " ranks";
    }
  }
}

TEST_P(Kind, TheFirstRatioIsExactlyOne) {
  const Config config = config_of(GetParam());
  const RolloutDesk::Shelf shelf;
  RolloutDesk desk(shelf, config);
  StepData data;
  ASSERT_TRUE(desk.source()->next(0, 0, data));
  std::int64_t compared = 0;
  for (const StepBatch& part : data.batches) {
    const TokenScores now = desk.scorer.score(desk.rig.w, part.batch, true, desk.needs.old_values);
    for (std::size_t t = 0; t < part.batch.targets.size(); ++t) {
      if (part.batch.targets[t] < 0) continue;
      ++compared;
      if (desk.needs.old_logp) {
        EXPECT_NEAR(part.old_logp[t], now.logp[t], desk.exact() ? 0.0 : 1e-5);
      }
      if (desk.needs.old_values) {
        EXPECT_NEAR(part.old_values[t], now.values[t], desk.exact() ? 0.0 : 1e-4);
      }
    }
  }
  EXPECT_GT(compared, 0);
}

INSTANTIATE_TEST_SUITE_P(RolloutSource, Kind, testing::Values("reinforce", "mixer", "ppo", "grpo", "rloo"));

TEST(RolloutSource, GroupsAreOfOnePromptAndEveryEpochHasAllCompletions) {
  Config config = config_of("grpo");
  config.rollout.mini_batches = 3;
  const Served served = serve(config, 1, 6);
  for (int epoch : {0, 1}) {
    std::multiset<std::string> records;
    std::set<std::string> rows;
    for (int k = 0; k < 3; ++k) {
      for (const std::string& row : served.rows[static_cast<std::size_t>(3 * epoch + k)]) {
        records.insert(row.substr(0, row.find(' ')));
        rows.insert(row);
      }
    }
    EXPECT_EQ(rows.size(), 12u) << "all completions, and they differ";
    for (const std::string& record : records) EXPECT_EQ(records.count(record), 3u);
  }
}

TEST(RolloutSource, ALastStepThatIsTakenBackIsServedAgain) {
  const Config config = config_of("ppo");
  const RolloutDesk::Shelf shelf;
  RolloutDesk desk(shelf, config);
  const auto source = desk.source();
  StepData first, data;
  ASSERT_TRUE(source->next(0, 0, first));
  source->take_back();
  EXPECT_EQ(source->state(), "") << "nothing of the rollout counted";
  ASSERT_TRUE(source->next(0, 0, data));
  EXPECT_EQ(rows_of(data), rows_of(first));
  EXPECT_EQ(data.samples, 4);
  for (std::int64_t step : {1, 2, 3}) ASSERT_TRUE(source->next(step, 4, data));
  EXPECT_EQ(source->state(), "");
  const std::vector<std::string> last = rows_of(data);
  source->take_back();
  EXPECT_NE(source->state(), "");
  ASSERT_TRUE(source->next(3, 4, data));
  EXPECT_EQ(rows_of(data), last);
}

TEST(RolloutSource, ACompletionThatWasCutOffMayBeMasked) {
  Config config = rollout_config("reinforce");
  config.rollout.prompts = 8;
  config.rollout.max_tokens = 3;
  for (const char* how : {"keep", "mask"}) {
    config.rollout.truncated = how;
    const RolloutDesk::Shelf shelf;
    RolloutDesk desk(shelf, config);
    StepData data;
    ASSERT_TRUE(desk.source()->next(0, 0, data));
    int cut = 0, ended = 0;
    for (const StepBatch& part : data.batches) {
      const auto T = static_cast<std::size_t>(part.batch.context);
      for (std::size_t row = 0; row < part.batch.sequence_info.size(); ++row) {
        const SequenceInfo& info = part.batch.sequence_info[row];
        if (info.record < 0) continue;
        const std::size_t begin = row * T;
        const bool end = part.batch.tokens[begin + static_cast<std::size_t>(info.tokens) - 1] == end_of_text;
        (end ? ended : cut) += 1;
        const std::int64_t targets = std::count_if(part.batch.targets.begin() + static_cast<std::ptrdiff_t>(begin),
                                                   part.batch.targets.begin() + static_cast<std::ptrdiff_t>(begin + T),
                                                   [](std::int32_t id) { return id >= 0; });
        EXPECT_EQ(targets, end || std::string(how) == "keep" ? info.tokens - info.prompt_tokens : 0);
      }
    }
    EXPECT_GT(cut, 0);
    EXPECT_GT(ended, 0);
    EXPECT_DOUBLE_EQ(*data.metrics.value("completions/clipped_ratio"), cut / 8.0);
  }
}

TEST(RolloutSource, MixerGivesFewerGoldTokensAsTimeGoesOn) {
  Config config = config_of("mixer");
  config.rollout.epochs = config.rollout.mini_batches = 1;
  config.objective.mixer.every_steps = 1;
  const RolloutDesk::Shelf shelf;
  RolloutDesk desk(shelf, config);
  const auto source = desk.source();
  std::vector<std::int64_t> gold;
  for (std::int64_t step : {0, 1, 2}) {
    StepData data;
    ASSERT_TRUE(source->next(step, 4 * step, data));
    gold.push_back(data.gold_tokens);
    const StepBatch& part = data.batches[0];
    const std::string answer = "yes and no";
    for (std::int64_t i = 0; i < data.gold_tokens; ++i) {
      const std::int64_t at = part.batch.sequence_info[0].prompt_tokens + i;
      EXPECT_EQ(part.batch.tokens[static_cast<std::size_t>(at)], answer[static_cast<std::size_t>(i)]);
      EXPECT_EQ(part.batch.targets[static_cast<std::size_t>(at) - 1], answer[static_cast<std::size_t>(i)]);
    }
  }
  EXPECT_EQ(gold, (std::vector<std::int64_t>{4, 1, 0}));
}

TEST(RolloutSource, AnyRankMayStopAllInTheMiddleOfATextAndNothingHappened) {
  const Config config = config_of("ppo");
  const Served whole = serve(config, 2, 1);
  const RolloutDesk::Shelf shelf;
  shelf.open(RecordKind::prompt_only);
  std::vector<std::string> rows;
  std::mutex mutex;
  expect_all_done(run_ranks(threads_transports(2), [&](int rank, std::shared_ptr<Transport> transport) {
    RolloutDesk desk(shelf, config, std::move(transport));
    bool asked = rank == 1;
    desk.stop = [&asked] { return asked; };
    const auto source = desk.source();
    StepData data;
    EXPECT_FALSE(source->next(0, 0, data));
    EXPECT_TRUE(data.batches.empty());
    EXPECT_EQ(source->state(), "");
    EXPECT_FALSE(source->evaluate(desk.dataset, 5).has_value());
    asked = false;
    ASSERT_TRUE(source->next(0, 0, data));
    const std::lock_guard lock(mutex);
    for (const std::string& row : rows_of(data)) rows.push_back(row);
  }));
  std::sort(rows.begin(), rows.end());
  EXPECT_EQ(rows, whole.rows[0]);
}

TEST(RolloutSource, AFailureOnOneRankIsTheSameErrorOnAll) {
  const Config base = config_of("grpo");
  const RolloutDesk::Shelf shelf;
  shelf.open(RecordKind::prompt_only);
  const std::vector<Outcome> outcomes =
      run_ranks(threads_transports(2), [&](int rank, std::shared_ptr<Transport> transport) {
        Config config = base;
        config.reward.rules = {"model"};
        RolloutDesk desk(shelf, config, std::move(transport), [&](std::span<const RewardRequest> r) {
          if (rank == 1) throw Error(Exit::io, "no rewards today");
          return std::vector<double>(r.size(), 1.0);
        });
        StepData data;
        desk.source()->next(0, 0, data);
      });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.exit, Exit::io);
    EXPECT_NE(outcome.message.find("no rewards today"), std::string::npos) << outcome.message;
    EXPECT_TRUE(outcome.agreed);
  }
}

TEST(RolloutSource, WhatCannotBeScoredTeachesNothing) {
  Config config = rollout_config("grpo");
  config.reward.rules = {"model"};
  config.rollout.completions = 4;
  const RolloutDesk::Shelf shelf;
  int asked = 0;
  RolloutDesk desk(shelf, config, one_rank(), [&](std::span<const RewardRequest> requests) {
    std::vector<double> rewards;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      rewards.push_back(i % 4 == 0 ? std::numeric_limits<double>::quiet_NaN() : static_cast<double>(i % 4));
    }
    asked += static_cast<int>(requests.size());
    return rewards;
  });
  StepData data;
  ASSERT_TRUE(desk.source()->next(0, 0, data));
  EXPECT_EQ(asked, 16);
  int zero = 0, other = 0;
  for (const StepBatch& part : data.batches) {
    for (std::size_t row = 0; row < part.advantages.size(); ++row) {
      if (part.batch.sequence_info[row].record < 0) continue;
      EXPECT_TRUE(std::isfinite(part.advantages[row]));
      // Rewards 1, 2, 3: the middle one is the mean.
      (part.advantages[row] == 0 ? zero : other) += 1;
    }
  }
  EXPECT_EQ(zero, 8);
  EXPECT_EQ(other, 8);
  EXPECT_DOUBLE_EQ(*data.metrics.value("reward"), 2);
}

TEST(RolloutSource, ACommandGivesRewards) {
  Config config = rollout_config("reinforce");
  config.reward.rules = {"command"};
  config.reward.command = {"/bin/sh", "-c", "while read -r line; do echo '{\"reward\": 0.25}'; done"};
  const RolloutDesk::Shelf shelf;
  RolloutDesk desk(shelf, config);
  const auto source = desk.source();
  StepData data;
  ASSERT_TRUE(source->next(0, 0, data));
  EXPECT_EQ(data.metrics.value("reward"), 0.25);
  EXPECT_EQ(data.metrics.value("rewards/command/mean"), 0.25);
  ASSERT_EQ(source->examples(1).size(), 1u);
  EXPECT_EQ(source->examples(1)[0].reward, 0.25);
}

TEST(RolloutSource, HeldOutPromptsAreWorthTheSameOnAnyNumberOfRanks) {
  const Config config = config_of("grpo");
  const RolloutDesk::Shelf shelf;
  shelf.open(RecordKind::prompt_only);
  std::vector<double> numbers[2];
  for (int ranks : {1, 2}) {
    std::mutex mutex;
    expect_all_done(run_ranks(threads_transports(ranks), [&](int, std::shared_ptr<Transport> transport) {
      RolloutDesk desk(shelf, config, std::move(transport));
      const auto source = desk.source();
      const std::optional<Metrics> first = source->evaluate(desk.dataset, 1000),
                                   again = source->evaluate(desk.dataset, 5);
      ASSERT_TRUE(first && again);
      EXPECT_EQ(first->numbers(), again->numbers());
      EXPECT_TRUE(first->value("rewards/length/mean"));
      const std::lock_guard lock(mutex);
      numbers[ranks - 1] = first->numbers();
    }));
  }
  EXPECT_EQ(numbers[0], numbers[1]);
}

TEST(RolloutSource, WithOneUpdateARolloutNothingIsScoredBeforehand) {
  const Config config = rollout_config("grpo");
  const RolloutDesk::Shelf shelf;
  RolloutDesk desk(shelf, config);
  EXPECT_FALSE(rollout_passes(config, desk.needs).policy);
  StepData data;
  ASSERT_TRUE(desk.source()->next(0, 0, data));
  for (const StepBatch& part : data.batches) EXPECT_TRUE(part.old_logp.empty());
}

}  // namespace
}  // namespace nll::test
