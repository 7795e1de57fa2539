// Objectives that learn from records: supervised, preference, and sequence.
#include <fmt/format.h>

#include "src/dist/agreement.h"
#include "src/train/model_folder.h"
#include "src/train/record_evaluation.h"
#include "src/train/record_source.h"
#include "src/train/reference_model.h"
#include "src/train/reference_sums.h"
#include "src/train/task.h"

namespace nll {

namespace {

// The metrics that say most, and what the line of a step calls them.
std::vector<std::pair<std::string, std::string>> telling_metrics(const std::string& kind) {
  if (kind == "kto") return {{"rewards/margins", "margin"}, {"kl", "kl"}};
  if (kind == "contrastive" || kind == "reward") return {{"accuracy", "accuracy"}};
  if (kind == "sft") return {};
  return {{"rewards/accuracies", "accuracy"}, {"rewards/margins", "margin"}};
}

class RecordTask final : public Task {
 public:
  explicit RecordTask(const TaskContext& context)
      : context_(context),
        needs_(context.step.objective().needs()),
        gpt_(context.config.model, *context.backend.ops, *context.backend.device, context.plan.sequences,
             context.plan.context, Pass::inference, context.plan.numerics),
        scorer_(gpt_, context.step.head(), *context.backend.device, *context.backend.ops, context.plan.sequences,
                context.plan.context),
        reference_(load_reference(context)) {
    if (needs_.reference_sums) read_reference();
    source_.emplace(RecordParts{.dataset = *context.inputs.data.records->train,
                                .batching = record_batching(context.config, context.plan.sequences,
                                                            context.plan.context, context.collective.world()),
                                .needs = needs_,
                                .collective = context.collective,
                                .stop_requested = context.stop_requested,
                                .reference_sums = of_training_ ? &*of_training_ : nullptr,
                                .scorer = &scorer_,
                                .reference = reference_ ? &reference_->weights() : nullptr});
  }

  StepSource& source() override { return *source_; }
  bool can_evaluate() const override { return context_.inputs.data.records->validation != nullptr; }
  std::optional<HeldOutResult> evaluate() override;
  std::vector<std::pair<std::string, std::string>> shown() const override {
    return telling_metrics(context_.config.objective.kind);
  }

 private:
  void read_reference();

  TaskContext context_;
  Needs needs_;
  Gpt gpt_;
  Scorer scorer_;
  std::unique_ptr<ReferenceModel> reference_;
  std::optional<ReferenceSums> of_training_, of_validation_;
  std::optional<RecordSource> source_;
};

void RecordTask::read_reference() {
  const Config& config = context_.config;
  TrainStep& step = context_.step;
  if (!reference_) {
    // The weights of the step are not filled yet.
    const std::string& folder = context_.inputs.reference;
    load_weights(CheckpointFolder(posix_file_ops(), folder), folder, ParameterTable::gpt2(config.model),
                 *context_.backend.device, step.master());
    step.round_weights();
  }
  const GptTensors& weights = reference_ ? reference_->weights() : step.weights();
  Device& device = *context_.backend.device;
  const std::string weights_hash = hash_of_tensor(device, reference_ ? reference_->master() : step.master());
  const auto sums_of = [&](const RecordDataset& dataset, std::int64_t records, const char* name) {
    ReferenceKey key;
    key.weights = weights_hash;
    key.tokenizer = context_.inputs.data.tokenizer->hash();
    key.max_length = config.records.max_length.value_or(config.model.context);
    key.numerics = reference_numerics(context_.plan.numerics, device.info(), config.head);
    ReferenceSums::Request request(dataset);
    request.records = records;
    request.sequences = context_.plan.sequences;
    request.context = context_.plan.context;
    request.key = key;
    request.cache_folder = context_.inputs.cache_folder;
    request.name = name;
    std::optional<ReferenceSums> sums =
        ReferenceSums::open(request, scorer_, weights, context_.collective, context_.console, context_.stop_requested);
    if (!sums) throw AgreedError(Exit::stopped, "stopped while the reference model was read; no step was done");
    return sums;
  };
  of_training_ = sums_of(*context_.inputs.data.records->train, 0, "training records");
  if (can_evaluate())
    of_validation_ = sums_of(*context_.inputs.data.records->validation, config.evaluation.records, "held-out records");
}

std::optional<HeldOutResult> RecordTask::evaluate() {
  const Config& config = context_.config;
  Job job(context_.console, "validating", "records");
  const RecordEvaluation request{
      .objective = context_.step.objective(),
      .dataset = *context_.inputs.data.records->validation,
      .records = config.evaluation.records,
      .sequences = context_.plan.sequences,
      .context = context_.plan.context,
      .prompt_targets = config.objective.kind == "orpo" && config.objective.orpo.nll_on_prompt,
      .reference_sums = of_validation_ ? &*of_validation_ : nullptr,
      .reference = reference_ ? &reference_->weights() : nullptr};
  const std::optional<StepSums> sums =
      evaluate_records(request, scorer_, context_.step.weights(), context_.collective, context_.stop_requested,
                       [&](std::int64_t done, std::int64_t total) { job.update(done, total); });
  job.finish();
  if (!sums) return std::nullopt;
  HeldOutResult verdict;
  verdict.loss = sums->loss;
  verdict.values.emplace_back("loss", sums->loss);
  verdict.line = fmt::format("held-out loss {:.4f}", sums->loss);
  if (sums->tokens.tokens > 0) {
    const auto tokens = static_cast<double>(sums->tokens.tokens);
    verdict.values.emplace_back("nll", sums->tokens.nll / tokens);
    verdict.values.emplace_back("perplexity", std::exp(sums->tokens.nll / tokens));
    verdict.values.emplace_back("mean_token_accuracy", static_cast<double>(sums->tokens.correct) / tokens);
    verdict.values.emplace_back("entropy", sums->tokens.entropy / tokens);
    verdict.values.emplace_back("scored_tokens", sums->tokens.tokens);
    if (config.objective.kind == "sft")
      verdict.line += fmt::format("  perplexity {:.2f}  accuracy {:.1f}%", std::exp(sums->tokens.nll / tokens),
                                  100 * static_cast<double>(sums->tokens.correct) / tokens);
  }
  for (const Metric& metric : sums->metrics.all()) {
    if (const auto value = metric.value()) verdict.values.emplace_back(metric.name(), *value);
  }
  for (const auto& [name, shown] : shown()) {
    if (const auto value = sums->metrics.value(name)) verdict.line += fmt::format("  {} {:.4f}", shown, *value);
  }
  return verdict;
}

}  // namespace

std::unique_ptr<Task> make_record_task(const TaskContext& context) { return std::make_unique<RecordTask>(context); }

}  // namespace nll
