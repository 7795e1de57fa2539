// Ten optimizer steps against Hugging Face TRL's own trainers on the same weights and records.
// scripts/fixtures/make_trl_losses.py says how the fixture was made.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/train/rig.h"

namespace nll::test {

namespace {

const std::string fixtures = std::string(NLL_SOURCE_DIR) + "/tests/train/fixtures/trl/";

class Trl : public ::testing::TestWithParam<std::string> {
 protected:
  // What TRL was told, in the words of a config.
  Config config(std::int64_t sequences_per_record) const {
    Config config;
    config.run.directory = folder_ / "run";
    config.run.seed = expected_.at("seed");
    config.run.initial_weights = fixtures + "model";
    config.data.train = {fixtures + run().at("file").get<std::string>()};
    config.data.tokenizer = fixtures + "model";
    config.model = {.layers = 2, .heads = 2, .width = 16, .context = 64, .vocabulary = 300, .dropout = 0};
    config.objective.kind = GetParam();
    config.records.per_step = run().at("per_step");
    config.records.max_length = run().at("max_length").get<std::int64_t>();
    config.batch.sequences = run().at("per_batch").get<std::int64_t>() * sequences_per_record;
    const nlohmann::json& optimizer = expected_.at("optimizer");
    config.optimizer.learning_rate = optimizer.at("learning_rate");
    config.optimizer.beta1 = optimizer.at("beta1");
    config.optimizer.beta2 = optimizer.at("beta2");
    config.optimizer.epsilon = optimizer.at("epsilon");
    config.optimizer.weight_decay = optimizer.at("weight_decay");
    config.optimizer.clip_norm = optimizer.at("clip_norm");
    config.schedule.kind = "constant";
    config.schedule.warmup_steps = 0;
    config.schedule.steps = expected_.at("steps");
    config.evaluation.every_steps = 0;
    config.precision.compute = "fp32";
    config.device = "cpu";
    config.cpu.threads = 2;
    config.log.tensorboard = false;
    return config;
  }

  const nlohmann::json& run() const { return expected_.at("runs").at(GetParam()); }

  Folder folder_;
  nlohmann::json expected_ = nlohmann::json::parse(read_file(fixtures + "losses.json"));
};

std::string nll_name(const std::string& name) { return name == "grad_norm" ? "gradient_norm" : name; }

TEST_P(Trl, TenStepsHaveTheLossesGradientNormsAndMetricsOfItsTrainer) {
  Config config = this->config(GetParam() == "dpo" || GetParam() == "orpo" ? 2 : 1);
  if (GetParam() == "dpo") config.objective.dpo.beta = run().at("beta");
  if (GetParam() == "kto") {
    config.objective.kto.beta = run().at("beta");
    config.objective.kto.desirable_weight = run().at("desirable_weight");
    config.objective.kto.undesirable_weight = run().at("undesirable_weight");
  }
  if (GetParam() == "orpo") {
    config.objective.orpo.beta = run().at("beta");
    config.objective.orpo.nll_on_prompt = true;
  }
  const RunResult result = nll::test::run(config);
  ASSERT_EQ(result.exit, Exit::done) << result.error << "\n" << result.hint;

  std::vector<Event> steps;
  for (Event& event : read_metrics(config.run.directory + "/metrics.jsonl")) {
    if (event.event == "train") steps.push_back(std::move(event));
  }
  ASSERT_EQ(steps.size(), expected_.at("steps").get<std::size_t>());
  for (const auto& [name, values] : run().at("steps").items()) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      // 1e-4 is what was promised of the loss, as a mean of a few numbers of its own size. Both sides compute in FP32
      // with sums in different orders; a sequence's log-probabilities add up to about 100, and a step of AdamW turns a
      // relative error of a small gradient into the same share of the learning rate.
      const double expected = values.at(i);
      EXPECT_NEAR(steps[i].number(nll_name(name)), expected, 1e-4 * std::max(1.0, std::abs(expected)))
          << name << " of step " << i + 1;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Objectives, Trl, ::testing::Values("sft", "dpo", "kto", "orpo"),
                         [](const auto& parameter) { return parameter.param; });

}  // namespace

}  // namespace nll::test
