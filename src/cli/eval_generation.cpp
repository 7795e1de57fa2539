#include "src/cli/eval_generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "src/cli/generation_prompts.h"
#include "src/eval/generated_text.h"
#include "src/eval/gold_windows.h"
#include "src/eval/repetition_probe.h"
#include "src/infer/batch_generate.h"

namespace nll {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t at_a_time = 32;     // texts that are written together
constexpr std::int64_t piece_tokens = 16;  // of the repetition probe
constexpr std::int64_t block_tokens = 64;  // of the induction probe
constexpr std::int64_t ngrams[] = {1, 2, 3, 4}, windows_of_repetition[] = {16, 32, 128};

// Texts under one setting, or the text's own continuations.
struct Row {
  SamplingRules rules;
  std::vector<TokenText> texts;  // without end of text
  double nll = 0;                // the model's own loss on all tokens, end of text included; NaN: none
  std::int64_t tokens = 0, ended = 0;
};

struct Probes {
  std::vector<double> copies;  // empty: not measured
  std::int64_t pieces = 0, piece = 0;
  std::optional<InductionProbe> induction;
};

// What is printed in the end.
struct GenerationFindings {
  std::string model, prompts;
  const GenerationOptions& options;
  std::int64_t texts = 0;
  std::optional<Row> gold;
  std::vector<Row> rows;
  Probes probes;
};

// One penalty at a time, or each with each.
std::vector<SamplingRules> grid_of(const GenerationOptions& options) {
  std::vector<SamplingRules> grid;
  for (double temperature : options.temperatures) {
    for (double repetition : options.repetition) {
      for (double frequency : options.frequency) {
        for (double presence : options.presence) {
          const int penalties = (repetition != 1) + (frequency != 0) + (presence != 0);
          if (penalties > 1 && !options.all_combinations) continue;
          SamplingRules rules;
          rules.temperature = temperature;
          rules.repetition_penalty = repetition;
          rules.frequency_penalty = frequency;
          rules.presence_penalty = presence;
          grid.push_back(rules);
        }
      }
    }
  }
  return grid;
}

std::string measures(const Row& row) {
  return fmt::format(
      "{:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}\n", number_text(row.nll, "{:.4f}"),
      number_text(distinct_ngrams(row.texts, 1), "{:.4f}"), number_text(distinct_ngrams(row.texts, 2), "{:.4f}"),
      number_text(repeated_ngrams(row.texts, 4).mean, "{:.4f}"), number_text(repeated_tokens(row.texts, 32), "{:.4f}"),
      number_text(repeated_tokens(row.texts, 128), "{:.4f}"), number_text(loop_rate(row.texts), "{:.4f}"));
}

std::string table(const GenerationFindings& f) {
  std::string text = fmt::format(
      "{} continues {} prompts from {}\nby up to {} tokens, seed {}\n"
      "  {:>4} {:>4} {:>4} {:>4} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7}\n",
      f.model, f.texts, f.prompts, f.options.new_tokens, f.options.seed, "temp", "rep", "freq", "pres", "loss",
      "dist-1", "dist-2", "srep-4", "rep-32", "rep-128", "loops");
  if (f.gold) text += fmt::format("  {:<19} ", "the text itself") + measures(*f.gold);
  for (const Row& row : f.rows)
    text += fmt::format("  {:>4g} {:>4g} {:>4g} {:>4g} ", row.rules.temperature, row.rules.repetition_penalty,
                        row.rules.frequency_penalty, row.rules.presence_penalty) +
            measures(row);
  text +=
      "  loss: the model's own, nats per token; dist-n: different n-grams; srep-4:\n"
      "  repeated 4-grams of a text; rep-w: tokens among the w before them; loops:\n"
      "  texts that end in one\n";
  if (!f.probes.copies.empty()) {
    text += fmt::format("\nLoss of {} tokens of text after copies of themselves, {} pieces\n  {:>6} {:>8}\n",
                        f.probes.piece, f.probes.pieces, "copies", "loss");
    for (std::size_t n = 0; n < f.probes.copies.size(); ++n)
      text += fmt::format("  {:>6} {:>8.4f}\n", n, f.probes.copies[n]);
  }
  if (f.probes.induction) {
    const InductionProbe& p = *f.probes.induction;
    text += fmt::format("\n{} random tokens, then the same again, {} blocks: loss {:.4f}, then {:.4f}\n", p.tokens,
                        p.blocks, p.first, p.second);
  }
  return text;
}

// Numbers that are not defined become null.
Json json_of(const Row& row) {
  Json out{{"texts", row.texts.size()},  {"tokens", row.tokens},
           {"ended", row.ended},         {"loss", row.nll},
           {"distinct", Json::object()}, {"seq_rep", Json::object()},
           {"rep", Json::object()},      {"loop_rate", loop_rate(row.texts)}};
  for (std::int64_t n : ngrams) {
    out["distinct"][std::to_string(n)] = distinct_ngrams(row.texts, n);
    out["seq_rep"][std::to_string(n)] = repeated_ngrams(row.texts, n).mean;
  }
  for (std::int64_t w : windows_of_repetition) out["rep"][std::to_string(w)] = repeated_tokens(row.texts, w);
  return out;
}

Json json_of(const GenerationFindings& f) {
  Json out{{"model", f.model},
           {"prompts", f.prompts},
           {"texts", f.texts},
           {"seed", f.options.seed},
           {"new_tokens", f.options.new_tokens},
           {"text_itself", nullptr},
           {"settings", Json::array()}};
  if (f.gold) out["text_itself"] = json_of(*f.gold);
  for (const Row& row : f.rows) {
    Json setting{{"temperature", row.rules.temperature},
                 {"repetition_penalty", row.rules.repetition_penalty},
                 {"frequency_penalty", row.rules.frequency_penalty},
                 {"presence_penalty", row.rules.presence_penalty}};
    setting.update(json_of(row));
    out["settings"].push_back(std::move(setting));
  }
  out["loss_after_copies"] = f.probes.copies;
  out["induction"] = nullptr;
  if (f.probes.induction) {
    const InductionProbe& p = *f.probes.induction;
    out["induction"] = {{"blocks", p.blocks}, {"tokens", p.tokens}, {"first", p.first}, {"second", p.second}};
  }
  return out;
}

// Texts of one prompt draw other numbers; the prompt at one place draws the same under every setting.
BatchRequest request_of(const GenerationOptions& options, const OpenModel& model,
                        const std::vector<TokenText>& prompts) {
  BatchRequest request;
  for (std::size_t i = 0; i < prompts.size(); ++i) request.prompts.push_back({prompts[i], i});
  request.max_tokens = options.new_tokens;
  request.seed = options.seed;
  if (model.tokenizer) {
    request.end_of_text = model.tokenizer->end_of_text();
    request.vocabulary = model.tokenizer->vocabulary();
  }
  return request;
}

Row row_of(const SamplingRules& rules, const std::vector<WrittenText>& written) {
  Row row;
  row.rules = rules;
  for (const WrittenText& text : written) {
    const bool ended = text.reason == StopReason::end_of_text;
    row.texts.emplace_back(text.tokens.begin(), text.tokens.end() - (ended ? 1 : 0));
    row.ended += ended;
    row.tokens += static_cast<std::int64_t>(text.tokens.size());
    for (double logp : text.model_logp) row.nll -= logp;
  }
  row.nll /= static_cast<double>(row.tokens);
  return row;
}

// What stands in the text after the prompts.
Row gold_row(const std::vector<GoldWindow>& windows, std::size_t prompt, const ScoreText& score) {
  Row row;
  for (const GoldWindow& window : windows) {
    row.texts.emplace_back(window.begin() + static_cast<std::ptrdiff_t>(prompt), window.end());
    row.tokens += static_cast<std::int64_t>(row.texts.back().size());
    const std::vector<double> logp = score(window);
    for (std::size_t t = prompt; t < window.size(); ++t) row.nll -= logp[t - 1];
  }
  row.nll /= static_cast<double>(row.tokens);
  return row;
}

Probes probe(const GenerationOptions& options, const OpenModel& model, const std::vector<GoldWindow>& windows,
             const ScoreText& score) {
  const std::int64_t longest = model.published.model.context + 1;
  Probes probes;
  probes.piece = std::min(piece_tokens, longest / repetition_copies);
  std::vector<TokenText> pieces;
  for (const GoldWindow& window : windows) {
    if (static_cast<std::int64_t>(window.size()) < probes.piece) continue;
    pieces.emplace_back(window.begin(), window.begin() + static_cast<std::ptrdiff_t>(probes.piece));
  }
  probes.pieces = static_cast<std::int64_t>(pieces.size());
  if (probes.piece >= 2 && !pieces.empty()) probes.copies = loss_after_copies(score, pieces);
  const std::int64_t block = std::min(block_tokens, longest / 2);
  const std::int64_t vocabulary = model.tokenizer
                                      ? std::min(model.tokenizer->vocabulary(), model.published.model.vocabulary)
                                      : model.published.model.vocabulary;
  if (block >= 2) probes.induction = probe_induction(score, vocabulary, options.texts, block, options.seed);
  return probes;
}

}  // namespace

void GenerationOptions::add_to(CLI::App& verb) {
  CLI::Option* flag = verb.add_flag("--generation", asked,
                                    "Let the model continue prompts under penalties and temperatures, and measure how "
                                    "much it repeats itself");
  for (const char* other :
       {"--tokens", "--stride", "--by-frequency", "--by-context", "--logits", "--teacher-forcing"}) {
    if (CLI::Option* option = verb.get_option_no_throw(other)) flag->excludes(option);
  }
  const auto add = [&](const char* name, auto& value, const char* help) {
    return verb.add_option(name, value, std::string("With --generation: ") + help)->capture_default_str()->needs(flag);
  };
  CLI::Option* file =
      add("--prompts", prompts, "prompts from this .jsonl file, {\"prompt\"} or {\"text\"}; none: from the text");
  for (const char* other : {"--data", "--text"}) {
    if (CLI::Option* option = verb.get_option_no_throw(other)) file->excludes(option);
  }
  add("--texts", texts, "texts to write under each setting")->check(CLI::Range(1, 1 << 20));
  add("--prompt-tokens", prompt_tokens, "tokens of a prompt that is cut from a text; 0: the start of a document")
      ->check(CLI::Range(0, 1 << 30));
  add("--new-tokens", new_tokens, "tokens to write at most")->check(CLI::Range(1, 1 << 30));
  add("--generation-seed", seed, "the same seed gives the same texts");
  const auto list = [&](const char* name, std::vector<double>& values, double low, double high, const char* help) {
    add(name, values, help)->delimiter(',')->allow_extra_args(false)->check(CLI::Range(low, high));
  };
  list("--temperatures", temperatures, 0, 100, "temperatures of the grid, with commas between");
  list("--repetition-penalties", repetition, 0.01, 100, "repetition penalties of the grid; 1: none");
  list("--frequency-penalties", frequency, -2, 2, "frequency penalties of the grid; 0: none");
  list("--presence-penalties", presence, -2, 2, "presence penalties of the grid; 0: none");
  verb.add_flag("--all-combinations", all_combinations,
                "With --generation: every penalty with every other, not one at a time")
      ->needs(flag);
}

Exit show_generation(const GenerationOptions& options, const OpenModel& model, Backend& backend,
                     const std::vector<EvalText>& texts, bool json, Invocation& invocation) {
  const ModelConfig& config = model.published.model;
  const HeadConfig& head = model.published.head;
  const std::vector<SamplingRules> grid = grid_of(options);
  if (grid.empty()) {
    throw Error(Exit::usage, "--generation: no setting has at most one penalty",
                "put 1 into --repetition-penalties and 0 into the others, or use --all-combinations");
  }
  GenerationFindings found{model.folder, "", options, 0, {}, {}, {}};
  std::vector<TokenText> prompts;
  std::vector<GoldWindow> windows;
  if (options.needs_text()) {
    if (options.prompt_tokens + options.new_tokens > config.context) {
      throw Error(Exit::usage,
                  fmt::format("--prompt-tokens and --new-tokens: {} + {} is more than the model's context of {} tokens",
                              options.prompt_tokens, options.new_tokens, config.context),
                  "give smaller numbers of both");
    }
    std::vector<std::string> paths;
    for (const EvalText& text : texts) {
      found.prompts += (found.prompts.empty() ? "" : ", ") + text.name;
      paths.insert(paths.end(), text.paths.begin(), text.paths.end());
    }
    const TokenDataset dataset(paths, 1, config.vocabulary);
    windows = gold_windows(dataset, options.prompt_tokens + options.new_tokens, options.texts);
    const std::size_t prompt = static_cast<std::size_t>(options.prompt_tokens);
    if (windows[0].size() <= prompt) {
      throw Error(Exit::bad_data, fmt::format("{}: has {} tokens (expected more than a prompt of {})", found.prompts,
                                              windows[0].size(), prompt));
    }
    for (const GoldWindow& window : windows)
      prompts.emplace_back(window.begin(), window.begin() + static_cast<std::ptrdiff_t>(prompt));
  } else {
    if (!model.tokenizer) {
      throw Error(Exit::bad_data, model.folder + ": has no tokenizer, so it cannot read prompts",
                  "take them from token shards (--data)");
    }
    if (!options.prompts.empty()) {
      found.prompts = options.prompts;
      prompts = read_prompts(options.prompts, *model.tokenizer, options.texts, options.prompt_tokens);
    } else {
      if (model.tokenizer->end_of_text() < 0) {
        throw Error(Exit::usage, "--prompt-tokens: this tokenizer has no end-of-text token to begin with",
                    "give a prompt of at least 1 token");
      }
      found.prompts = "the start of a document";
      prompts.assign(static_cast<std::size_t>(options.texts), {model.tokenizer->end_of_text()});
    }
  }
  found.texts = static_cast<std::int64_t>(prompts.size());

  ParallelScorer parallel(config, head, *backend.ops, *backend.device, model.weights, model.numerics);
  const ScoreText score = [&](std::span<const std::int32_t> text) {
    if (invocation.stop_requested()) throw Error(Exit::stopped, "eval: stopped on request");
    const ForcedTokens forced = parallel.score(text);
    return std::vector<double>(forced.logp.begin(), forced.logp.end());
  };
  if (!windows.empty()) found.gold = gold_row(windows, static_cast<std::size_t>(options.prompt_tokens), score);
  found.probes = probe(options, model, windows, score);

  BatchGenerator generator(config, head, *backend.ops, *backend.device, std::min(found.texts, at_a_time),
                           model.numerics);
  BatchRequest request = request_of(options, model, prompts);
  Job writing(invocation.console, "writing", "tokens");
  const std::int64_t each = found.texts * options.new_tokens;
  for (const SamplingRules& rules : grid) {
    request.rules = rules;
    const std::int64_t before = static_cast<std::int64_t>(found.rows.size()) * each;
    found.rows.push_back(row_of(rules, generator.generate(model.weights, request, [&](std::int64_t tokens) {
      writing.update(before + tokens, static_cast<std::int64_t>(grid.size()) * each);
      if (invocation.stop_requested()) throw Error(Exit::stopped, "eval: stopped on request");
      return true;
    })));
  }
  writing.finish();
  if (json) {
    print(json_of(found).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } else {
    print(table(found));
  }
  return Exit::done;
}

}  // namespace nll
