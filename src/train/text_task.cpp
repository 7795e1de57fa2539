// Language modelling of plain text.
#include <fmt/format.h>

#include "src/dist/agreement.h"
#include "src/eval/score.h"
#include "src/train/rank_sums.h"
#include "src/train/task.h"
#include "src/train/text_source.h"

namespace nll {

namespace {

class TextTask final : public Task {
 public:
  TextTask(const TaskContext& context, std::int64_t position)
      : context_(context),
        gpt_(context.config.model, *context.backend.ops, *context.backend.device, context.plan.sequences,
             context.plan.context, Pass::inference, context.plan.numerics),
        inputs_(*context.backend.device, evaluation_plan(context.plan.sequences, context.plan.context)),
        source_(*context.inputs.data.train, static_cast<std::uint64_t>(context.config.run.seed), position, context.plan,
                context.collective.world().rank, context.collective.world().size) {}

  StepSource& source() override { return source_; }
  bool can_evaluate() const override { return context_.inputs.data.validation != nullptr; }
  std::optional<HeldOutResult> evaluate() override;

 private:
  Score all_ranks(const Score& own) const;

  TaskContext context_;
  Gpt gpt_;
  Arena inputs_;
  TextSource source_;
};

Score TextTask::all_ranks(const Score& own) const {
  if (context_.collective.alone()) return own;
  Score all(context_.inputs.data.lengths);
  for (const std::string& part : context_.collective.exchange(own.bytes(), "sums of the validation")) all.add(part);
  return all;
}

std::optional<HeldOutResult> TextTask::evaluate() {
  const Config& config = context_.config;
  const World& world = context_.collective.world();
  SequentialWindows windows(*context_.inputs.data.validation, config.model.context, context_.plan.sequences,
                            config.evaluation.tokens, config.model.vocabulary, 0, world.rank, world.size);
  Job job(context_.console, "validating", "tokens");
  bool go_on = true;
  // Each rank scores its part; their sums are added in the order of ranks.
  const Score own =
      score_windows(gpt_, context_.step.head(), *context_.backend.device, context_.step.weights(), windows,
                    context_.inputs.data.lengths, inputs_, [&](std::int64_t done, std::int64_t total) {
                      job.update(done, total);
                      return go_on = !context_.stop_requested();
                    });
  job.finish();
  if (!all_go_on(context_.collective, go_on || own.tokens() == windows.targets())) return std::nullopt;
  const Score all = all_ranks(own);
  if (all.tokens() == 0) throw AgreedError(Exit::bad_data, "the validation text has no token to predict");
  const Evaluation result = all.evaluation();
  HeldOutResult verdict;
  verdict.loss = result.loss;
  if (result.bytes > 0) verdict.bits_per_byte = result.bits_per_byte;
  // "tokens" of an event are training tokens; those that were scored have their own name.
  for (const auto& [name, value] : fields(result))
    verdict.values.emplace_back(name == "tokens" ? "scored_tokens" : name, value);
  for (const auto& [name, value] : class_fields(result)) verdict.values.emplace_back(name, value);
  std::vector<double> counts, correct, confidence_sums;
  for (const CalibrationBin& bin : result.calibration) {
    counts.push_back(static_cast<double>(bin.count));
    correct.push_back(static_cast<double>(bin.correct));
    confidence_sums.push_back(bin.confidence_sum);
  }
  verdict.values.emplace_back("calibration_count", counts);
  verdict.values.emplace_back("calibration_correct", correct);
  verdict.values.emplace_back("calibration_confidence_sum", confidence_sums);
  const std::string bits = result.bytes > 0 ? fmt::format("  {:.4f} bits per byte", result.bits_per_byte) : "";
  verdict.line = fmt::format("validation loss {:.4f}  perplexity {:.2f}{}  accuracy {:.1f}%  ECE {:.3f}", result.loss,
                             result.perplexity, bits, 100 * result.accuracy, result.ece);
  return verdict;
}

}  // namespace

std::unique_ptr<Task> make_text_task(const TaskContext& context, std::int64_t position) {
  return std::make_unique<TextTask>(context, position);
}

std::unique_ptr<Task> make_task(const TaskContext& context, std::int64_t position) {
  if (context.config.objective.of_rollouts()) return make_rollout_task(context);
  if (context.config.objective.of_records()) return make_record_task(context);
  return make_text_task(context, position);
}

}  // namespace nll
