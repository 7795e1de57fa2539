#include "src/cli/evaluator.h"

#include <fmt/format.h>

#include <array>
#include <optional>

namespace nll {

namespace {

constexpr std::uint64_t bootstrap_seed = 1;
constexpr std::int64_t bootstrap_resamples = 1000;

[[noreturn]] void stopped() { throw Error(Exit::stopped, "eval: stopped on request"); }

}  // namespace

Evaluator::Evaluator(const OpenModel& model, Backend& backend, Invocation& invocation, std::int64_t token_limit,
                     std::int64_t stride)
    : model_(model),
      backend_(backend),
      invocation_(invocation),
      config_(model.published.model),
      token_limit_(token_limit),
      stride_(stride),
      sequences_(sequences_at_a_time(config_)),
      gpt_(config_, *backend.ops, *backend.device, sequences_, config_.context, Pass::inference, model.numerics),
      head_(config_, model.published.head, *backend.ops, *backend.device, sequences_ * config_.context, model.numerics),
      inputs_(*backend.device, evaluation_plan(sequences_, config_.context)) {
  if (model.tokenizer) lengths_ = token_lengths(*model.tokenizer);
  lengths_.bytes.resize(static_cast<std::size_t>(config_.vocabulary));
  lengths_.special.resize(static_cast<std::size_t>(config_.vocabulary));
  lengths_.characters.resize(static_cast<std::size_t>(config_.vocabulary));
}

void TextReading::check(std::int64_t context) const {
  if (stride > context)
    throw Error(Exit::usage,
                fmt::format("--stride: {} is more than the model's context of {} tokens", stride, context));
}

std::int32_t Evaluator::end_of_text(const TokenDataset& dataset) const {
  return model_.tokenizer ? model_.tokenizer->end_of_text() : dataset.files().front().info().end_of_text;
}

bool Evaluator::stop(Job& job, std::int64_t done, std::int64_t total) {
  job.update(done, total);
  return invocation_.stop_requested();
}

void Evaluator::count_training(const std::vector<std::string>& paths) {
  const TokenDataset dataset(paths, 1, config_.vocabulary);
  Job job(invocation_.console, "counting the training text", "tokens");
  counts_ = count_tokens(dataset, [&](std::int64_t done, std::int64_t total) { return !stop(job, done, total); });
  job.finish();
  if (counts_.empty()) stopped();
}

EvalResults Evaluator::evaluate_all(const std::vector<EvalText>& texts) {
  EvalResults results;
  std::vector<std::string> names;
  for (const EvalText& text : texts) names.push_back(text.name);
  const bool several = texts.size() > 1;
  std::optional<Breakdown> all;
  Score score(lengths_);
  for (const EvalText& text : texts) {
    // Windows of one token: a text shorter than the context is evaluated too.
    const TokenDataset dataset(text.paths, 1, config_.vocabulary);
    const std::int32_t end = end_of_text(dataset);
    Breakdown own(lengths_, end, counts_);
    if (several && !all) all.emplace(lengths_, end, counts_);
    const Evaluation evaluation = evaluate_one(dataset, end, [&](const ScoredToken* token, std::int64_t seen) {
      if (token == nullptr) own.end_document();
      if (token != nullptr) own.add(*token, seen);
      if (!several) return;
      if (token == nullptr) return all->end_document();
      all->add(*token, seen);
      score.add(*token);
    });
    if (several) all->end_document();
    EvalResult made = result(text.name, evaluation, own);
    if (several) {
      results.datasets.push_back(std::move(made));
    } else {
      results.total = std::move(made);
    }
  }
  if (several) results.total = result(fmt::format("{}", fmt::join(names, ", ")), score.evaluation(), *all);
  return results;
}

std::vector<DocumentLoss> Evaluator::documents(const std::vector<EvalText>& texts) {
  std::vector<DocumentLoss> all;
  for (const EvalText& text : texts) {
    const TokenDataset dataset(text.paths, 1, config_.vocabulary);
    const std::int32_t end = end_of_text(dataset);
    DocumentLosses losses(lengths_, end);
    evaluate_one(dataset, end, [&](const ScoredToken* token, std::int64_t) {
      if (token == nullptr) return losses.end_document();
      losses.add(token->target, -token->logp);
    });
    const std::vector<DocumentLoss> own = losses.documents();
    all.insert(all.end(), own.begin(), own.end());
  }
  return all;
}

std::vector<ContextLoss> Evaluator::by_context(const std::vector<EvalText>& texts, std::int64_t count) {
  std::vector<std::string> paths;
  for (const EvalText& text : texts) paths.insert(paths.end(), text.paths.begin(), text.paths.end());
  const TokenDataset dataset(paths, 1, config_.vocabulary);
  const std::vector<GoldWindow> windows = overlapping_windows(dataset, config_.context + 1, count);
  Job job(invocation_.console, "cutting contexts", "tokens");
  const std::vector<ContextLoss> losses =
      context_losses({gpt_, head_, *backend_.ops, *backend_.device, model_.weights, sequences_ * config_.context},
                     windows, [&](std::int64_t done, std::int64_t of) {
                       if (stop(job, done, of)) stopped();
                     });
  job.finish();
  return losses;
}

void Evaluator::observe(const EvalText& text, const std::function<void(const ScoredToken*)>& observe) {
  const TokenDataset dataset(text.paths, 1, config_.vocabulary);
  evaluate_one(dataset, end_of_text(dataset), [&](const ScoredToken* token, std::int64_t) { observe(token); });
}

Evaluation Evaluator::evaluate_one(const TokenDataset& dataset, std::int32_t end_of_text,
                                   const std::function<void(const ScoredToken*, std::int64_t)>& observe) {
  std::vector<std::int64_t> begins;  // targets before each such file
  std::int64_t before = 0;
  for (const TokenFile& file : dataset.files()) {
    std::array<std::int32_t, 1> first{};
    if (file.info().tokens > 0) file.read(0, first, config_.vocabulary);
    // A file that does not begin with end-of-text goes on with the document of the one before it.
    if (end_of_text < 0 || first[0] == end_of_text) begins.push_back(before);
    before += std::max<std::int64_t>(0, file.info().tokens - 1);
  }
  SequentialWindows windows(dataset, config_.context, sequences_, token_limit_, config_.vocabulary, stride_);
  Job job(invocation_.console, "evaluating", "tokens");
  std::int64_t count = 0;
  auto next = begins.begin();
  const Evaluation evaluation = evaluate(
      gpt_, head_, *backend_.device, model_.weights, windows, lengths_, inputs_,
      [&](std::int64_t done, std::int64_t of) { return !stop(job, done, of); },
      [&](const ScoredToken& token, std::int64_t seen) {
        for (; next != begins.end() && *next == count; ++next) observe(nullptr, 0);
        ++count;
        observe(&token, seen);
      });
  job.finish();
  if (!evaluation.complete) stopped();
  return evaluation;
}

EvalResult Evaluator::result(const std::string& name, const Evaluation& evaluation, const Breakdown& breakdown) {
  const std::vector<DocumentLoss> documents = breakdown.documents();
  EvalResult made{name,
                  evaluation,
                  breakdown.equal_mass_calibration(),
                  breakdown.by_position(),
                  breakdown.by_frequency(),
                  static_cast<std::int64_t>(documents.size()),
                  std::nullopt};
  Job job(invocation_.console, "drawing documents", "samples");
  made.intervals = bootstrap_intervals(documents, bootstrap_seed, bootstrap_resamples,
                                       [&](std::int64_t done, std::int64_t of) { return !stop(job, done, of); });
  job.finish();
  if (made.documents > 1 && !made.intervals) stopped();
  return made;
}

}  // namespace nll
