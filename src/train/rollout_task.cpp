// Objectives that learn from what the model samples: rewards instead of targets.
#include <fmt/format.h>

#include <cmath>

#include "src/report/console.h"
#include "src/train/reference_model.h"
#include "src/train/reward_model.h"
#include "src/train/rollout_plan.h"
#include "src/train/rollout_source.h"
#include "src/train/task.h"

namespace nll {

namespace {

class RolloutTask final : public Task {
 public:
  explicit RolloutTask(const TaskContext& context)
      : context_(context),
        gpt_(context.config.model, *context.backend.ops, *context.backend.device, context.plan.sequences,
             context.plan.context, Pass::inference, context.plan.numerics),
        scorer_(gpt_, context.step.head(), *context.backend.device, *context.backend.ops, context.plan.sequences,
                context.plan.context),
        generator_(context.config.model, context.config.head, *context.backend.ops, *context.backend.device,
                   rollout_sequences(context.config, context.plan.ranks), context.plan.numerics),
        reference_(load_reference(context)),
        reward_model_(load_reward_model(context)),
        rewards_(context.config.reward,
                 reward_model_ ? RewardFunction([this](auto requests) { return (*reward_model_)(requests); })
                               : RewardFunction()),
        source_({context.config, *context.inputs.data.records->train, *context.inputs.data.tokenizer, generator_,
                 scorer_, [this]() -> const GptTensors& { return context_.step.weights(); },
                 reference_ ? &reference_->weights() : nullptr, rewards_, context.step.objective().needs(),
                 context.collective, context.stop_requested, context.plan.sequences, context.plan.context}) {}

  StepSource& source() override { return source_; }
  bool can_evaluate() const override { return context_.inputs.data.records->validation != nullptr; }

  std::optional<HeldOutResult> evaluate() override {
    Job job(context_.console, "answering held-out prompts", "");
    const std::optional<Metrics> metrics =
        source_.evaluate(*context_.inputs.data.records->validation, context_.config.evaluation.records);
    job.finish();
    if (!metrics) return std::nullopt;
    HeldOutResult verdict;
    const double reward = metrics->value("reward").value_or(std::nan(""));
    verdict.loss = -reward;
    for (const Metric& metric : metrics->all()) {
      if (const auto value = metric.value()) verdict.values.emplace_back(metric.name(), *value);
    }
    verdict.line = fmt::format("held-out reward {:.4f}", reward);
    if (const auto length = metrics->value("completions/mean_length"))
      verdict.line += fmt::format("  {:.1f} tokens", *length);
    return verdict;
  }

  std::vector<std::pair<std::string, std::string>> shown() const override { return {{"reward", "reward"}}; }

  std::vector<std::string> examples() const override {
    if (source_.rollouts() == shown_rollout_) return {};
    shown_rollout_ = source_.rollouts();
    std::vector<std::string> texts;
    for (const RolloutSource::Example& example : source_.examples())
      texts.push_back(fmt::format("reward {:.3f}: {}{}", example.reward, example.prompt, example.completion));
    return texts;
  }

 private:
  static std::unique_ptr<RewardModel> load_reward_model(const TaskContext& context) {
    const Config& config = context.config;
    if (config.reward.model.empty()) return nullptr;
    const auto refused = [&](const std::string& folder, const std::string& why) {
      context.console.warning(fmt::format("{}: passed over: {}", folder, why));
    };
    OpenModel model = open_model(posix_file_ops(), config.reward.model, context.backend, config.precision, refused);
    return std::make_unique<RewardModel>(std::move(model), *context.inputs.data.tokenizer, *context.backend.device,
                                         *context.backend.ops, context.plan.sequences, context.plan.context);
  }

  TaskContext context_;
  Gpt gpt_;
  Scorer scorer_;
  BatchGenerator generator_;
  std::unique_ptr<ReferenceModel> reference_;
  std::unique_ptr<RewardModel> reward_model_;
  RewardRules rewards_;
  RolloutSource source_;
  mutable std::int64_t shown_rollout_ = 0;
};

}  // namespace

std::unique_ptr<Task> make_rollout_task(const TaskContext& context) { return std::make_unique<RolloutTask>(context); }

}  // namespace nll
