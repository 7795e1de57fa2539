// A config whose run starts from a model has that model's sizes.
#include "src/train/starting_model.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <thread>

#include "src/checkpoint/checkpoint.h"
#include "src/dist/agreement.h"
#include "src/dist/threads.h"
#include "src/train/checkpoint_texts.h"
#include "src/train/model_folder.h"
#include "tests/train/rig.h"

namespace nll::test {

namespace {

ModelConfig base_model() {
  return {.layers = 2, .heads = 3, .width = 24, .context = 48, .vocabulary = 100, .dropout = 0.1};
}

// A Hugging Face folder as far as configs are concerned.
std::string publish(const Folder& folder, const std::string& name) {
  const std::string path = folder / name;
  HeadConfig head;
  head.softcap = 30;
  std::filesystem::create_directory(path);
  write_file(path + "/config.json", published_config(base_model(), head, -1));
  write_file(path + "/model.safetensors", "");
  return path;
}

// A run with checkpoints of these steps.
std::string save_run(const Folder& folder, const std::string& name, const std::vector<std::int64_t>& steps) {
  std::filesystem::create_directory(folder / name);
  std::vector<float> values(4, 1);
  for (const std::int64_t step : steps) {
    CheckpointContent content;
    content.step = step;
    content.weights = {{"x", Tensor(values.data(), DType::f32, {4})}};
    content.optimizer = {{"m/x", Tensor(values.data(), DType::f32, {4})}};
    content.texts = {{"config.json", published_config(base_model(), {}, -1)}};
    CheckpointStore(posix_file_ops(), folder / name).save(content);
  }
  return folder / name;
}

// `refused` counts checkpoints that were passed over.
RunConfigRequest request(const Folder& folder, const std::string& config, std::int64_t* refused = nullptr) {
  write_file(folder / "x.json", config);
  return {folder / "x.json", {}, false, {}, [refused](const std::string&, const std::string&) {
            if (refused != nullptr) ++*refused;
          }};
}

std::string config_from(const std::string& weights, const std::string& more = "") {
  return R"({"batch": {"tokens_per_step": 98304}, "run": {"initial_weights": ")" + weights +
         R"(", "directory": "none"})" + more + "}";
}

TEST(StartingModel, GivesTheSizesThatTheConfigLeavesOut) {
  const Folder folder;
  const Config config = load_run_config(request(folder, config_from(publish(folder, "base"))));
  EXPECT_EQ(config.model.layers, 2);
  EXPECT_EQ(config.model.heads, 3);
  EXPECT_EQ(config.model.width, 24);
  EXPECT_EQ(config.model.context, 48);
  EXPECT_EQ(config.model.vocabulary, 100);
  EXPECT_EQ(config.model.dropout, 0) << "dropout belongs to a run, not to a model";
  EXPECT_EQ(config.head.softcap, 30);
  EXPECT_EQ(config.run.initial_weights, folder / "base");
}

TEST(StartingModel, GivesWayToKeysThatAreSet) {
  const Folder folder;
  RunConfigRequest wanted =
      request(folder, config_from(publish(folder, "base"), R"(, "model": {"layers": 5, "dropout": 0.2})"));
  wanted.overrides = {"head.softcap=0", "model.context=12"};
  const Config config = load_run_config(wanted);
  EXPECT_EQ(config.model.layers, 5);
  EXPECT_EQ(config.model.context, 12);
  EXPECT_EQ(config.model.width, 24);
  EXPECT_EQ(config.model.dropout, 0.2);
  EXPECT_EQ(config.head.softcap, 0);
}

TEST(StartingModel, OfARunIsItsNewestIntactCheckpoint) {
  const Folder folder;
  const std::string run = save_run(folder, "base", {3, 7});
  std::int64_t refused = 0;
  EXPECT_EQ(load_run_config(request(folder, config_from(run + "/"), &refused)).run.initial_weights,
            run + "/checkpoints/step_00000007");
  EXPECT_EQ(refused, 0);
  write_file(run + "/checkpoints/step_00000007/model.safetensors", "torn");
  EXPECT_EQ(load_run_config(request(folder, config_from(run), &refused)).run.initial_weights,
            run + "/checkpoints/step_00000003");
  EXPECT_EQ(refused, 1);
}

TEST(StartingModel, IsForgottenWithoutInitialWeights) {
  const Folder folder;
  const Config config = load_run_config(request(folder, R"({"model": {"layers": 3}})"));
  EXPECT_TRUE(differences(config, load_config(folder / "x.json", {})).empty());
}

TEST(StartingModel, ThatCannotBeReadIsNamed) {
  const Folder folder;
  const auto error_of = [&](const std::string& weights) {
    try {
      load_run_config(request(folder, config_from(weights)));
    } catch (const Error& error) {
      return std::to_string(static_cast<int>(error.exit())) + " " + error.what();
    }
    return std::string("no error");
  };
  EXPECT_EQ(error_of(folder / "gone"), "3 " + (folder / "gone") + ": no such folder");
  const std::string base = publish(folder, "base");
  write_file(base + "/config.json", R"({"model_type": "llama"})");
  EXPECT_EQ(error_of(base), "4 " + base + "/config.json: model_type: expected \"gpt2\", found \"llama\"");
  std::filesystem::remove(base + "/config.json");
  EXPECT_EQ(error_of(base), "3 " + base + ": config.json is missing beside the weights");
}

TEST(StartingModel, OfARunThatGoesOnIsItsOwn) {
  const Folder folder;
  const std::string base = save_run(folder, "base", {3});
  RunConfigRequest wanted = request(folder, config_from(base));
  wanted.overrides = {"run.directory=" + (folder / "run")};
  const Config first = load_run_config(wanted);
  std::filesystem::create_directory(folder / "run");
  write_file(folder / "run/config.json", dump_config(first));
  wanted.resumes = true;
  // A newer checkpoint of the base does not change what the run began with ...
  save_run(folder, "base", {9});
  EXPECT_EQ(differences(load_run_config(wanted), first), std::vector<std::string>{});
  // ... nor does its end,
  std::filesystem::remove_all(base);
  EXPECT_EQ(differences(load_run_config(wanted), first), std::vector<std::string>{});
  // and a checkpoint in another folder says as much.
  std::filesystem::create_directory(folder / "copy");
  write_file((folder / "copy/") + run_config_name, dump_config(first));
  wanted.resume_path = folder / "copy";
  wanted.overrides = {"run.directory=" + (folder / "elsewhere")};
  EXPECT_EQ(load_run_config(wanted).run.initial_weights, first.run.initial_weights);
  // Another folder must be there.
  wanted.resume_path.clear();
  wanted.overrides = {"run.directory=" + (folder / "run"), "run.initial_weights=" + (folder / "other")};
  EXPECT_THROW(load_run_config(wanted), Error);
  wanted.resumes = false;
  EXPECT_THROW(load_run_config(wanted), Error);
}

TEST(StartingModel, OfAllRanksIsWhatRankZeroSees) {
  const Folder folder;
  const std::string run = save_run(folder, "base", {3});
  const std::vector<std::shared_ptr<Transport>> transports = threads_transports(2);
  const auto load_on_both = [&](const std::string& weights) {
    std::vector<std::string> said(2);
    std::vector<std::thread> threads;
    const RunConfigRequest wanted = request(folder, config_from(weights));
    for (std::size_t rank = 0; rank < 2; ++rank) {
      threads.emplace_back([&, rank] {
        RunConfigRequest mine = wanted;
        // Rank 1 is told nothing of the folders, and its own answer would be another.
        mine.resumes = rank == 1;
        mine.resume_path = folder / "nowhere";
        try {
          said[rank] = dump_config(load_run_config(mine, *transports[rank]));
        } catch (const AgreedError& error) {
          said[rank] = error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(said[0], said[1]);
    return said[0];
  };
  const Config started = parse_config(load_on_both(run), "both", {});
  EXPECT_EQ(differences(started, load_run_config(request(folder, config_from(run)))), std::vector<std::string>{});
  const Config random = parse_config(load_on_both(""), "both", {});
  EXPECT_EQ(differences(random, load_config(folder / "x.json", {})), std::vector<std::string>{});
  EXPECT_NE(load_on_both(folder / "gone").find((folder / "gone") + ": no such folder"), std::string::npos);
}

}  // namespace

}  // namespace nll::test
