#include "src/cli/eval_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "src/eval/function_word_losses.h"
#include "src/eval/negation_probe.h"
#include "src/report/reliability.h"

namespace nll {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t shown_words = 12;  // besides "not"

struct Rate {
  const char *name, *explanation;
  std::int64_t right;
};

std::vector<Rate> rates(const NegationResult& result) {
  return {{"acc_affirm", "\"true\" likelier after \"affirm\"", result.affirm_right()},
          {"acc_negate", "\"false\" likelier after \"negate\"", result.negate_right()},
          {"flip_rate", "they prefer different endings", result.flips()}};
}

WordLoss all_but_not(const std::vector<WordLoss>& words) {
  WordLoss others;
  for (const WordLoss& one : words) {
    if (one.word == "not") continue;
    others.words += one.words;
    others.tokens += one.tokens;
    others.nll += one.nll;
  }
  return others;
}

std::string table(const std::string& model, const std::string& path, const NegationResult& result,
                  const std::vector<WordLoss>& words) {
  const double n = static_cast<double>(result.preferences.size());
  std::string text = fmt::format("{} on {}: {} pairs of statements\n", model, path, result.preferences.size());
  text += "                 rate  95 % interval\n";
  for (const Rate& rate : rates(result)) {
    const auto [low, high] = wilson_interval(static_cast<double>(rate.right), n);
    text += fmt::format("  {:<12} {:.4f}  {:.4f} to {:.4f}  {}\n", rate.name, static_cast<double>(rate.right) / n, low,
                        high, rate.explanation);
  }
  if (result.cut > 0) text += fmt::format("  {} contexts did not fit and lost their beginning\n", result.cut);
  if (words.empty()) return text;
  text += "  function word         words  nats/word  nats/token\n";
  const auto row = [&](const std::string& name, const WordLoss& of) {
    text += fmt::format("    {:<16} {:>8}    {:7.4f}     {:7.4f}\n", name, of.words, of.per_word(), of.per_token());
  };
  const auto found = std::find_if(words.begin(), words.end(), [](const WordLoss& one) { return one.word == "not"; });
  if (found != words.end()) row("not", *found);
  row("all others", all_but_not(words));
  std::size_t shown = 0;
  for (const WordLoss& one : words) {
    if (one.word != "not" && shown++ < shown_words) row(one.word, one);
  }
  return text;
}

Json word_json(const WordLoss& of) {
  return {{"words", of.words}, {"tokens", of.tokens}, {"per_word", of.per_word()}, {"per_token", of.per_token()}};
}

Json json_of(const std::string& model, const std::string& path, const NegationResult& result,
             const std::vector<WordLoss>& words, bool with_words) {
  const double n = static_cast<double>(result.preferences.size());
  Json out{{"model", model}, {"probe", path}, {"records", result.preferences.size()}, {"contexts_cut", result.cut}};
  for (const Rate& rate : rates(result)) {
    const auto [low, high] = wilson_interval(static_cast<double>(rate.right), n);
    out[rate.name] = {
        {"rate", static_cast<double>(rate.right) / n}, {"count", rate.right}, {"low", low}, {"high", high}};
  }
  out["preferences"] = Json::array();
  for (const NegationResult::Preference& one : result.preferences)
    out["preferences"].push_back({{"affirm", one.affirm}, {"negate", one.negate}});
  if (!with_words) return out;
  out["other_function_words"] = word_json(all_but_not(words));
  out["function_words"] = Json::object();
  for (const WordLoss& one : words) out["function_words"][one.word] = word_json(one);
  return out;
}

}  // namespace

void ProbeOptions::add_to(CLI::App& verb) {
  CLI::Option* probe =
      verb.add_option("--probe", path,
                      "Ask the pairs of affirmed and negated statements of this .jsonl file instead; with --data or "
                      "--text also what \"not\" costs there");
  for (const char* option :
       {"--by-frequency", "--by-context", "--logits", "--teacher-forcing", "--generation", "--choice"})
    if (CLI::Option* found = verb.get_option_no_throw(option)) probe->excludes(found);
}

Exit show_probe(const ProbeOptions& options, const OpenModel& model, Backend& backend,
                const std::vector<EvalText>& texts, const TextReading& reading, bool json, Invocation& invocation) {
  const ModelConfig& config = model.published.model;
  const auto watch = [&](Job& job) {
    return [&job, &invocation](std::int64_t done, std::int64_t total) {
      job.update(done, total);
      if (invocation.stop_requested()) throw Error(Exit::stopped, "eval: stopped on request");
    };
  };
  Job loading(invocation.console, "reading probes", "bytes");
  const std::vector<NegationPair> pairs =
      read_negations(options.path, tokenizer_of(model), config.vocabulary, watch(loading));
  loading.finish();
  MultipleChoice scorer(config, model.published.head, *backend.ops, *backend.device, model.weights,
                        sequences_at_a_time(config), model.numerics);
  Job scoring(invocation.console, "asking", "endings");
  const NegationResult result = probe_negation(scorer, pairs, config.context, watch(scoring));
  scoring.finish();
  std::vector<WordLoss> words;
  if (!texts.empty()) {
    Evaluator evaluator(model, backend, invocation, reading.tokens, reading.stride);
    FunctionWordLosses losses(evaluator.lengths().classes);
    for (const EvalText& text : texts) {
      evaluator.observe(text, [&](const ScoredToken* token) {
        if (token == nullptr) return losses.end_document();
        losses.add(token->target, -token->logp);
      });
      losses.end_document();
    }
    words = losses.losses();
  }
  if (json) {
    print(json_of(model.folder, options.path, result, words, !texts.empty())
              .dump(2, ' ', false, Json::error_handler_t::replace) +
          "\n");
  } else {
    print(table(model.folder, options.path, result, words));
  }
  return Exit::done;
}

}  // namespace nll
