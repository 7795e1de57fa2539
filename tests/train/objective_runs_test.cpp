// Every objective as a whole run: resumed, on two ranks, in other micro-batches, stopped anywhere.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <numbers>

#include "tests/train/objective_rig.h"

namespace nll::test {

namespace {

void expect_done(const RunResult& result) { EXPECT_EQ(result.exit, Exit::done) << result.error << "; " << result.hint; }

void expect_same_end(const Config& a, const Config& b, const std::string& what) {
  const std::int64_t step = a.schedule.steps;
  for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
    const std::string left = read_file(checkpoint_of(a, step) + "/" + file),
                      right = read_file(checkpoint_of(b, step) + "/" + file);
    EXPECT_FALSE(left.empty()) << file << " " << what;
    EXPECT_TRUE(left == right) << file << " differs: " << what;
  }
  EXPECT_EQ(story(a), story(b)) << what;
}

void expect_near(const std::vector<double>& found, const std::vector<double>& expected, double tolerance,
                 const std::string& what) {
  ASSERT_EQ(found.size(), expected.size()) << what;
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], tolerance * std::max(1.0, std::abs(expected[i]))) << what << " " << i;
}

class ObjectiveRuns : public ::testing::TestWithParam<std::string> {
 protected:
  Config config() const { return objective_config(folder_, GetParam()); }
  Folder folder_;
};

TEST_P(ObjectiveRuns, StoppedInTheMiddleAndResumedEqualsNeverStopped) {
  const Config whole = config(), parts = in(whole, folder_ / "parts");
  expect_done(run(whole));
  expect_done(run(parts, ResumePolicy::automatic, 3));
  const bool inside = GetParam() == "ppo" || GetParam() == "grpo";
  EXPECT_EQ(std::filesystem::exists(checkpoint_of(parts, 3) + "/rollout.json"), inside);
  expect_done(run(parts, ResumePolicy::automatic));
  expect_same_end(whole, parts, GetParam());
}

TEST_P(ObjectiveRuns, TwoRanksTrainWhatOneTrains) {
  Config one = config();
  one.schedule.steps = 4;  // all of a rollout
  one.evaluation.every_steps = 0;
  // KTO's baseline pairs the records of a micro-batch: these are to be the same ones.
  if (GetParam() == "kto") one.batch.sequences = 3;
  const Config two = in(one, folder_ / "two");
  expect_done(run(one));
  for (const RunResult& result : run_ranks(two, 2)) expect_done(result);
  expect_near(numbers(two, "train", "loss"), numbers(one, "train", "loss"), 1e-5, "loss of step");
  // Of rollouts the loss is near 0, so the gradient says more.
  expect_near(numbers(two, "train", "gradient_norm"), numbers(one, "train", "gradient_norm"), 1e-4, "gradient of step");
  const char* held_out = one.objective.of_rollouts() ? "reward" : "loss";
  expect_near(numbers(two, "validation", held_out), numbers(one, "validation", held_out), 1e-5, held_out);
}

TEST_P(ObjectiveRuns, TheLossDoesNotDependOnTheCutIntoMicroBatches) {
  Config whole = config();
  whole.schedule.steps = 1;
  Config cut = in(whole, folder_ / "cut");
  cut.batch.sequences = GetParam() == "contrastive" ? 4 : 2;
  expect_done(run(whole));
  expect_done(run(cut));
  for (const char* name : {"loss", "gradient_norm"})
    expect_near(numbers(cut, "train", name), numbers(whole, "train", name), 1e-6, name);
}

TEST_P(ObjectiveRuns, AreMeasuredOnHeldOutRecords) {
  Config config = this->config();
  config.schedule.steps = 2;
  config.evaluation.every_steps = 1;
  config.sample.every_steps = 1;
  config.sample.tokens = 4;
  expect_done(run(config));
  const std::vector<Event> held_out = events(config, "validation");
  ASSERT_EQ(held_out.size(), 2u);
  std::vector<std::string> names = {"loss"};
  if (config.objective.of_rollouts()) names = {"reward", "completions/mean_length"};
  if (config.objective.of_pairs()) names = {"loss", "rewards/accuracies", "rewards/margins"};
  if (GetParam() == "kto") names = {"loss", "rewards/margins", "kl"};
  if (GetParam() == "reward") names = {"loss", "accuracy", "margin"};
  if (GetParam() == "contrastive") names = {"loss", "accuracy", "positive_probability"};
  if (GetParam() == "sft") names = {"loss", "perplexity", "mean_token_accuracy"};
  for (const Event& event : held_out) {
    for (const std::string& name : names) EXPECT_TRUE(std::isfinite(event.number(name))) << name;
  }
  const std::vector<Event> samples = events(config, "sample");
  EXPECT_FALSE(samples.empty());
  for (const Event& sample : samples) EXPECT_NE(sample.text("text"), nullptr);
}

INSTANTIATE_TEST_SUITE_P(Kinds, ObjectiveRuns, ::testing::ValuesIn(objective_kinds),
                         [](const auto& parameter) { return parameter.param; });

// A run asks whether it should stop while it tokenizes, reads the reference model, samples, trains and validates.
class StoppedRuns : public ::testing::TestWithParam<std::string> {};

TEST_P(StoppedRuns, GoOnToTheSameEndWhereverTheyWereStopped) {
  Folder folder;
  Config whole = objective_config(folder, GetParam());
  whole.schedule.steps = 3;
  whole.evaluation.every_steps = 2;
  whole.batch.sequences = 4;
  whole.rollout.max_tokens = 24;  // ranks, and a lone one too, look around every 16 tokens
  expect_done(run(whole));
  const std::int64_t stride = whole.objective.of_rollouts() ? 13 : 5;
  int stops = 0;
  bool nothing_begun = false, in_reference = false, in_validation = false;
  for (std::int64_t after = 0;; after += stride) {
    const Config parts = in(whole, folder / fmt::format("stopped_{}", after));
    const RunResult first = run(parts, ResumePolicy::automatic, 0, after);
    if (first.exit == Exit::done) break;
    ASSERT_EQ(first.exit, Exit::stopped) << "after " << after << " questions: " << first.error;
    nothing_begun |= !std::filesystem::exists(parts.run.directory);
    in_reference |= first.error.find("while the reference model was read") != std::string::npos;
    // The checkpoint of the step is there, and what was to follow it is not.
    in_validation |= std::filesystem::exists(checkpoint_of(parts, 2)) && events(parts, "validation").empty();
    expect_done(run(parts, ResumePolicy::automatic));
    expect_same_end(whole, parts, fmt::format("stopped after {} questions", after));
    ++stops;
  }
  EXPECT_GE(stops, 4);
  EXPECT_TRUE(nothing_begun);
  EXPECT_TRUE(in_validation);
  EXPECT_EQ(in_reference, !whole.objective.of_rollouts());
}

INSTANTIATE_TEST_SUITE_P(Kinds, StoppedRuns, ::testing::Values("dpo", "kto", "ppo", "grpo"),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace

TEST(ObjectiveRun, PpoGoesOnInARolloutOnAnotherNumberOfRanks) {
  Folder folder;
  const Config whole = objective_config(folder, "ppo"), parts = in(whole, folder / "parts");
  expect_done(run(whole));
  for (const RunResult& result : run_ranks(parts, 2, {.resume = ResumePolicy::automatic, .step_limit = 2}))
    expect_done(result);
  expect_done(run(parts, ResumePolicy::automatic, 1));
  for (const RunResult& result : run_ranks(parts, 2, {.resume = ResumePolicy::automatic})) expect_done(result);
  expect_near(numbers(parts, "train", "loss"), numbers(whole, "train", "loss"), 1e-5, "loss of step");
}

TEST(ObjectiveRun, DpoBeginsAtLnTwo) {
  Folder folder;
  const Config config = objective_config(folder, "dpo");
  expect_done(run(config));
  // Policy and reference are the same weights, read by the same passes.
  EXPECT_NEAR(numbers(config, "train", "loss").at(0), std::numbers::ln2, 1e-7);
  EXPECT_EQ(numbers(config, "train", "rewards/margins").at(0), 0);
  EXPECT_EQ(numbers(config, "train", "rewards/accuracies").at(0), 0);
}

TEST(ObjectiveRun, PpoBeginsWithRatiosOfOne) {
  Folder folder;
  const Config config = objective_config(folder, "ppo");
  expect_done(run(config));
  EXPECT_NEAR(numbers(config, "train", "val/ratio").at(0), 1, 1e-6);
  EXPECT_NEAR(numbers(config, "train", "val/ratio_var").at(0), 0, 1e-12);
}

TEST(ObjectiveRun, GrpoLearnsAnEasyRule) {
  Folder folder;
  Config config = objective_config(folder, "grpo");
  config.schedule.steps = 40;
  config.schedule.kind = "constant";
  config.evaluation.every_steps = 0;
  config.optimizer.learning_rate = 2e-2;
  config.reward.pattern = "[ae]";
  expect_done(run(config));
  std::vector<double> rewards;
  for (const double reward : numbers(config, "train", "reward")) {
    if (!std::isnan(reward)) rewards.push_back(reward);
  }
  ASSERT_GE(rewards.size(), 20u);
  const auto mean = [&](std::size_t begin) {
    double sum = 0;
    for (std::size_t i = begin; i < begin + 4; ++i) sum += rewards[i];
    return sum / 4;
  };
  EXPECT_GT(mean(rewards.size() - 4), mean(0) + 0.2) << mean(0) << " to " << mean(rewards.size() - 4);
}

TEST(ObjectiveRun, ARewardModelIsTheRewardOfAnotherRun) {
  Folder folder;
  const Config reward = objective_config(folder, "reward");
  expect_done(run(reward));
  Config config = objective_config(folder, "grpo");
  config.schedule.steps = 2;
  config.reward.rules = {"model"};
  config.reward.model = reward.run.directory;
  expect_done(run(config));
  EXPECT_TRUE(std::isfinite(numbers(config, "train", "reward").at(0)));
  EXPECT_TRUE(std::isfinite(numbers(config, "validation", "reward").at(0)));
}

TEST(ObjectiveRun, UpdatesThatAreNotFiniteNeverReachTheWeights) {
  Folder folder;
  Config config = objective_config(folder, "dpo");
  config.optimizer.learning_rate = 1e30;
  config.schedule.steps = 20;
  config.schedule.warmup_steps = 0;
  config.evaluation.every_steps = 0;
  config.log.nonfinite_limit = 3;
  EXPECT_EQ(run(config).exit, Exit::diverged);
  const std::vector<Event> skipped = events(config, "skipped");
  ASSERT_GE(skipped.size(), 3u);
  const std::string bytes = read_file(checkpoint_of(config, skipped.back().step) + "/model.safetensors");
  std::uint64_t header = 0;
  ASSERT_GT(bytes.size(), sizeof header);
  std::memcpy(&header, bytes.data(), sizeof header);
  std::vector<float> weights((bytes.size() - sizeof header - header) / sizeof(float));
  std::memcpy(weights.data(), bytes.data() + sizeof header + header, weights.size() * sizeof(float));
  EXPECT_GT(weights.size(), 1000u);
  EXPECT_TRUE(std::all_of(weights.begin(), weights.end(), [](float w) { return std::isfinite(w); }));
}

namespace {

Config sampling_config(const Folder& folder, const std::string& decay) {
  write_corpus(folder / "data", 2000, 61);
  Config config = tiny_config(folder);
  config.run.directory = folder / decay;
  config.schedule.steps = 6;
  config.evaluation.every_steps = 3;
  config.checkpoint.every_steps = 0;
  config.objective.scheduled_sampling.decay = decay;
  return config;
}

}  // namespace

TEST(ScheduledSamplingRun, LearnsFromOtherInputsAndResumesExactly) {
  Folder folder;
  const Config off = sampling_config(folder, "off");
  Config whole = sampling_config(folder, "linear");
  whole.objective.scheduled_sampling.slope = 0.25;
  const Config parts = in(whole, folder / "parts");
  expect_done(run(off));
  expect_done(run(whole));
  expect_done(run(parts, ResumePolicy::automatic, 3));
  expect_done(run(parts, ResumePolicy::automatic));
  expect_same_end(whole, parts, "scheduled sampling");
  // Of the first step all inputs are gold; of the sixth none.
  EXPECT_EQ(numbers(whole, "train", "loss").front(), numbers(off, "train", "loss").front());
  EXPECT_NE(numbers(whole, "train", "loss").back(), numbers(off, "train", "loss").back());
  EXPECT_EQ(numbers(whole, "train", "scheduled_sampling/p_gold"), (std::vector<double>{1, 0.75, 0.5, 0.25, 0, 0}));
  const std::vector<double> replaced = numbers(whole, "train", "scheduled_sampling/replaced");
  EXPECT_EQ(replaced.front(), 0);
  EXPECT_EQ(replaced.back(), 15.0 / 16);  // nothing comes before the first of 16
  for (const char* name : {"scheduled_sampling/accuracy", "scheduled_sampling/loss"})
    for (const double value : numbers(whole, "train", name)) EXPECT_TRUE(std::isfinite(value)) << name;
}

TEST(ScheduledSamplingRun, OfGoldInputsAloneIsOrdinaryTraining) {
  Folder folder;
  const Config off = sampling_config(folder, "off");
  Config gold = sampling_config(folder, "linear");
  gold.objective.scheduled_sampling.slope = 0.25;
  gold.objective.scheduled_sampling.floor = 1;
  expect_done(run(off));
  expect_done(run(gold));
  EXPECT_EQ(numbers(gold, "train", "loss"), numbers(off, "train", "loss"));
  for (const char* file : {"model.safetensors", "optimizer.safetensors"})
    EXPECT_TRUE(read_file(checkpoint_of(gold, 6) + "/" + file) == read_file(checkpoint_of(off, 6) + "/" + file));
}

}  // namespace nll::test
