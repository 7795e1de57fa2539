#include "src/cli/eval_choice.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "src/cli/eval_texts.h"
#include "src/eval/multiple_choice.h"
#include "src/report/reliability.h"

namespace nll {

namespace {

using Json = nlohmann::ordered_json;

const char* explanation(ChoiceNorm norm) {
  constexpr const char* lines[] = {"log-probability of the ending", "per token", "per byte",
                                   "per code point, without the leading space", "less that after \"Answer:\""};
  return lines[static_cast<std::size_t>(norm)];
}

std::string table(const std::string& model, const std::string& data, const ChoiceResult& result) {
  std::string text = fmt::format("{} on {}: {} questions\n", model, data, result.questions);
  text += "  score      accuracy  95 % interval   correct\n";
  for (std::size_t i = 0; i < choice_norms.size(); ++i) {
    if (!result.has(choice_norms[i])) continue;
    const double correct = static_cast<double>(result.correct[i]), n = static_cast<double>(result.questions);
    const auto [low, high] = wilson_interval(correct, n);
    text += fmt::format("  {:<10}   {:.4f}  {:.4f} to {:.4f}  {:>6}  {}\n", choice_norm_name(choice_norms[i]),
                        correct / n, low, high, result.correct[i], explanation(choice_norms[i]));
  }
  if (result.cut > 0) text += fmt::format("  {} endings: the context did not fit and lost its beginning\n", result.cut);
  if (!result.lengths) text += "  an ending has no text that is known: no score per byte or code point\n";
  return text;
}

Json json_of(const std::string& model, const ChoiceOptions& options, const ChoiceResult& result) {
  Json out{{"model", model},
           {"data", *options.path},
           {"form", options.form},
           {"questions", result.questions},
           {"contexts_cut", result.cut}};
  out["scores"] = Json::object();
  for (std::size_t i = 0; i < choice_norms.size(); ++i) {
    if (!result.has(choice_norms[i])) continue;
    const double correct = static_cast<double>(result.correct[i]), n = static_cast<double>(result.questions);
    const auto [low, high] = wilson_interval(correct, n);
    Json chosen = Json::array();
    for (const auto& question : result.chosen) chosen.push_back(question[i]);
    out["scores"][choice_norm_name(choice_norms[i])] = {
        {"accuracy", correct / n}, {"correct", result.correct[i]}, {"low", low}, {"high", high}, {"chosen", chosen}};
  }
  return out;
}

}  // namespace

void ChoiceOptions::add_to(CLI::App& verb) {
  CLI::Option* choice = verb.add_option(
      "--choice", path, "Answer the multiple-choice questions of this file instead: .jsonl, or a .bin of llm.c's");
  for (const char* other : {"--data", "--text", "--tokens", "--stride", "--by-frequency", "--by-context", "--logits",
                            "--teacher-forcing", "--generation"})
    if (CLI::Option* option = verb.get_option_no_throw(other)) choice->excludes(option);
  verb.add_option("--choice-form", form, "How a HellaSwag record becomes text: lm-eval or llm.c")
      ->needs(choice)
      ->capture_default_str()
      ->check(CLI::IsMember({"lm-eval", "llm.c"}));
}

Exit show_choice(const ChoiceOptions& options, const OpenModel& model, Backend& backend, bool json,
                 Invocation& invocation) {
  const ModelConfig& config = model.published.model;
  const Tokenizer* tokenizer = model.tokenizer ? &*model.tokenizer : nullptr;
  const auto watch = [&](Job& job) {
    return [&job, &invocation](std::int64_t done, std::int64_t total) {
      job.update(done, total);
      if (invocation.stop_requested()) throw Error(Exit::stopped, "eval: stopped on request");
    };
  };
  Job reading(invocation.console, "reading questions", "bytes");
  const std::vector<EncodedQuestion> questions =
      read_choices(*options.path, options.form == "llm.c" ? HellaSwagForm::llmc : HellaSwagForm::lm_eval, tokenizer,
                   config.vocabulary, watch(reading));
  reading.finish();
  MultipleChoice scorer(config, model.published.head, *backend.ops, *backend.device, model.weights,
                        sequences_at_a_time(config), model.numerics);
  Job scoring(invocation.console, "answering", "endings");
  const ChoiceResult result = scorer.evaluate(
      questions, tokenizer != nullptr ? tokenizer->encode("Answer:") : std::vector<std::int32_t>{}, watch(scoring));
  scoring.finish();
  if (json) {
    print(json_of(model.folder, options, result).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } else {
    print(table(model.folder, *options.path, result));
  }
  return Exit::done;
}

}  // namespace nll
