#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "src/train/model_folder.h"
#include "src/train/plan.h"
#include "src/train/trainer.h"
#include "tests/train/rig.h"

namespace nll::test {

namespace {

double number(const Event& event, const std::string& name) {
  for (const auto& [key, value] : event.values) {
    if (key == name) return std::get<double>(value);
  }
  ADD_FAILURE() << "no " << name;
  return NAN;
}

std::vector<double> losses(const Config& config) {
  std::vector<double> result;
  for (const Event& event : read_metrics(config.run.directory + "/metrics.jsonl")) {
    if (event.event == "train") result.push_back(number(event, "loss"));
  }
  return result;
}

// Counts what is allocated on its way to the real device.
class CountingDevice final : public Device {
 public:
  explicit CountingDevice(std::unique_ptr<Device> device) : device_(std::move(device)) {}
  DeviceInfo info() const override { return device_->info(); }
  Buffer allocate(std::int64_t bytes) override {
    allocated += bytes;
    return device_->allocate(bytes);
  }
  Buffer allocate_host(std::int64_t bytes) override {
    host += bytes;
    return device_->allocate_host(bytes);
  }
  void upload(Tensor to, const void* from) override { device_->upload(to, from); }
  void download(void* to, Tensor from) override { device_->download(to, from); }
  void copy(Tensor to, Tensor from) override { device_->copy(to, from); }
  void zero(Tensor to) override { device_->zero(to); }
  void download_later(void* to, Tensor from) override { device_->download_later(to, from); }
  void synchronize() override { device_->synchronize(); }
  std::uint64_t mark() override { return device_->mark(); }
  void wait(std::uint64_t mark) override { device_->wait(mark); }
  std::unique_ptr<Recording> record(std::function<void()> work) override { return device_->record(std::move(work)); }
  std::int64_t allocated = 0, host = 0;

 private:
  std::unique_ptr<Device> device_;
};

}  // namespace

TEST(Trainer, StartsNearTheUniformLossAndLearns) {
  Folder folder;
  write_corpus(folder / "data", 4000, 61);
  Config config = tiny_config(folder);
  config.schedule.steps = 60;
  config.optimizer.learning_rate = 1e-2;
  config.model.dropout = 0;
  ASSERT_EQ(run(config).exit, Exit::done);
  const std::vector<double> curve = losses(config);
  ASSERT_EQ(curve.size(), 60u);
  EXPECT_NEAR(curve.front(), std::log(61.0), 0.3);
  // The corpus follows a rule seven times in eight: about 0.88 nats are the best there is.
  EXPECT_LT(curve.back(), 2.5);
}

TEST(Trainer, MicroBatchesOfAnySizeGiveTheSameLossCurve) {
  Folder folder;
  write_corpus(folder / "data", 4000, 61);
  std::vector<std::vector<double>> curves;
  for (std::int64_t sequences : {1, 2, 4, 8}) {
    Config config = tiny_config(folder);
    config.run.directory = folder / ("run" + std::to_string(sequences));
    config.batch.sequences = sequences;
    ASSERT_EQ(run(config).exit, Exit::done);
    curves.push_back(losses(config));
  }
  for (const auto& curve : curves) {
    ASSERT_EQ(curve.size(), curves[0].size());
    // FP32 sums in another order: about 12 steps of rounding at 6e-8 each, through a few hundred additions.
    for (std::size_t i = 0; i < curve.size(); ++i)
      EXPECT_NEAR(curve[i], curves[0][i], 2e-5 * curves[0][i]) << "step " << i + 1;
  }
}

TEST(Trainer, TheNumberOfThreadsDoesNotChangeABit) {
  Folder folder;
  write_corpus(folder / "data", 4000, 61);
  std::vector<std::string> weights;
  for (std::int64_t threads : {1, 2, 3}) {
    Config config = tiny_config(folder);
    config.run.directory = folder / ("threads" + std::to_string(threads));
    config.cpu.threads = threads;
    ASSERT_EQ(run(config).exit, Exit::done);
    weights.push_back(read_file(checkpoint_of(config, 12) + "/model.safetensors"));
    ASSERT_FALSE(weights.back().empty());
    EXPECT_TRUE(weights.back() == weights.front()) << threads << " threads";
  }
}

TEST(Trainer, ComputingActivationsAgainChangesNoBitOfARun) {
  Folder folder;
  write_corpus(folder / "data", 2000, 61);
  Config kept = tiny_config(folder);
  ASSERT_EQ(run(kept).exit, Exit::done);
  for (const char* recompute : {"gelu", "norm", "block"}) {
    Config again = kept;
    again.run.directory = folder / recompute;
    again.batch.recompute = recompute;
    // Begun without it, and gone on with it from a checkpoint.
    Config first = again;
    first.batch.recompute = "none";
    ASSERT_EQ(run(first, ResumePolicy::refuse, 5).exit, Exit::done);
    ASSERT_EQ(run(again, ResumePolicy::automatic).exit, Exit::done);
    EXPECT_EQ(story(again), story(kept)) << recompute;
    for (const char* file : {"model.safetensors", "optimizer.safetensors"}) {
      EXPECT_TRUE(read_file(checkpoint_of(again, 12) + "/" + file) == read_file(checkpoint_of(kept, 12) + "/" + file))
          << recompute << ": " << file;
    }
  }
}

TEST(Trainer, LabelSmoothingAndZLossReportThePlainLossBesideTheirOwn) {
  Folder folder;
  write_corpus(folder / "data", 4000, 61);
  Config config = tiny_config(folder);
  config.objective.label_smoothing = 0.1;
  config.objective.z_loss = 1e-2;
  ASSERT_EQ(run(config).exit, Exit::done);
  const std::vector<Event> events = read_metrics(config.run.directory + "/metrics.jsonl");
  std::int64_t seen = 0;
  for (const Event& event : events) {
    if (event.event != "train") continue;
    ++seen;
    EXPECT_GT(number(event, "loss"), number(event, "nll"));
    EXPECT_NEAR(number(event, "perplexity"), std::exp(number(event, "nll")), 1e-9 * number(event, "perplexity"));
  }
  EXPECT_EQ(seen, 12);
}

TEST(Trainer, NonFiniteGradientsNeverReachTheWeightsAndStopTheRunInTheEnd) {
  Folder folder;
  write_corpus(folder / "data", 4000, 61);
  Config config = tiny_config(folder);
  config.optimizer.learning_rate = 1e38;  // the first update makes weights whose loss is not finite
  config.schedule.warmup_steps = 0;
  config.optimizer.clip_norm = 0;
  config.log.nonfinite_limit = 3;
  config.checkpoint.every_steps = 1;
  const RunResult result = run(config);
  EXPECT_EQ(result.exit, Exit::diverged);
  std::vector<std::int64_t> skipped;
  for (const Event& event : read_metrics(config.run.directory + "/metrics.jsonl")) {
    if (event.event == "skipped") skipped.push_back(event.step);
  }
  ASSERT_EQ(skipped.size(), 3u);
  const std::int64_t good = skipped.front() - 1;
  EXPECT_EQ(read_file(checkpoint_of(config, good) + "/model.safetensors"),
            read_file(checkpoint_of(config, skipped.back()) + "/model.safetensors"));
  EXPECT_EQ(read_file(checkpoint_of(config, good) + "/optimizer.safetensors"),
            read_file(checkpoint_of(config, skipped.back()) + "/optimizer.safetensors"));
}

TEST(Trainer, ACheckpointIsWrittenBeforeAnEvaluation) {
  Folder folder;
  write_corpus(folder / "data", 4000, 61);
  const Config config = tiny_config(folder);
  ASSERT_EQ(run(config).exit, Exit::done);
  std::int64_t saved = -1;
  int validations = 0;
  for (const Event& event : read_metrics(config.run.directory + "/metrics.jsonl")) {
    if (event.event == "checkpoint") saved = event.step;
    if (event.event != "validation") continue;
    ++validations;
    EXPECT_EQ(saved, event.step);
  }
  EXPECT_EQ(validations, 3);
}

TEST(Trainer, KeepRulesHoldTheNewestTheMultiplesAndTheBest) {
  Folder folder;
  write_corpus(folder / "data", 4000, 61);
  Config config = tiny_config(folder);
  config.checkpoint.every_steps = 1;
  config.checkpoint.keep_last = 2;
  config.checkpoint.keep_every = 5;
  ASSERT_EQ(run(config).exit, Exit::done);
  for (std::int64_t kept : {5, 10, 11, 12}) EXPECT_TRUE(std::filesystem::exists(checkpoint_of(config, kept))) << kept;
  for (std::int64_t gone : {1, 2, 3, 6, 7, 9})
    EXPECT_FALSE(std::filesystem::exists(checkpoint_of(config, gone))) << gone;
}

TEST(Trainer, AllocatesExactlyItsPlanAndNothingInAStep) {
  Folder folder;
  write_corpus(folder / "data", 4000, 61);
  const Config config = tiny_config(folder);
  const TrainPlan plan = make_plan(config, 1, 0);
  Backend real = make_backend("cpu", cpu_options(2));
  Backend backend(std::make_unique<CountingDevice>(std::move(real.device)), std::move(real.ops));
  auto& device = static_cast<CountingDevice&>(*backend.device);
  std::filesystem::create_directories(config.run.directory);
  CheckpointStore store(posix_file_ops(), config.run.directory);
  Console console(false);
  Collective alone(one_rank(), *backend.device, *backend.ops, {});
  Trainer trainer(
      config, plan, {}, TrainInputs{open_train_data(config), "", "", ""}, backend, store, console, [] { return false; },
      0, alone);
  EXPECT_EQ(device.allocated, plan.bytes());
  const std::int64_t host = device.host;
  trainer.run(5);
  EXPECT_EQ(device.allocated, plan.bytes());
  EXPECT_EQ(device.host, host);
}

TEST(Trainer, StartsFromTheWeightsOfAnotherRun) {
  Folder folder;
  write_corpus(folder / "data", 4000, 61);
  Config first = tiny_config(folder), second = first;
  ASSERT_EQ(run(first).exit, Exit::done);
  second.run.directory = folder / "second";
  second.run.initial_weights = checkpoint_of(first, 12);
  second.optimizer.learning_rate = 0;
  second.optimizer.weight_decay = 0;
  ASSERT_EQ(run(second, ResumePolicy::refuse, 1).exit, Exit::done);
  EXPECT_EQ(read_file(checkpoint_of(first, 12) + "/model.safetensors"),
            read_file(checkpoint_of(second, 1) + "/model.safetensors"));
}

TEST(Trainer, APlanTooLargeForTheMemoryNamesItsLargestParts) {
  Config config;
  const TrainPlan plan = make_plan(config, 1, 0);
  try {
    check_memory(plan, std::int64_t{1} << 30);
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::resources);
    EXPECT_NE(std::string(error.what()).find("largest: "), std::string::npos) << error.what();
    EXPECT_NE(error.hint().find("nll plan"), std::string::npos);
  }
}

TEST(Trainer, PublishedSizesHaveTheirPublishedParameterCounts) {
  struct Size {
    std::int64_t layers, heads, width, context, parameters;
  };
  for (const Size& size :
       {Size{12, 12, 768, 1024, 124439808}, Size{24, 16, 1024, 1024, 354823168}, Size{36, 20, 1280, 1024, 774030080},
        Size{48, 25, 1600, 1024, 1557611200}, Size{96, 96, 12288, 2048, 174604259328}}) {
    ModelConfig model;
    model.layers = size.layers;
    model.heads = size.heads;
    model.width = size.width;
    model.context = size.context;
    EXPECT_EQ(ParameterTable::gpt2(model).parameters(), size.parameters);
  }
}

}  // namespace nll::test
