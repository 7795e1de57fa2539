#include "src/cli/eval_against.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "src/eval/paired_comparison.h"
#include "src/text/token_files.h"

namespace nll {

namespace {

using Json = nlohmann::ordered_json;

// What is left of a model when it has scored the text.
struct Scored {
  std::string folder, data;
  std::int64_t context = 0, vocabulary = 0;
  std::optional<Tokenizer> tokenizer;
  std::vector<DocumentLoss> documents;
  DocumentLoss sum() const {
    DocumentLoss all;
    for (const DocumentLoss& one : documents) {
      all.tokens += one.tokens;
      all.bytes += one.bytes;
      all.nll += one.nll;
      all.text_nll += one.text_nll;
    }
    return all;
  }
};

double loss_of(const DocumentLoss& sum) { return sum.nll / static_cast<double>(sum.tokens); }
double bits_of(const DocumentLoss& sum) { return sum.text_nll / (std::log(2.0) * static_cast<double>(sum.bytes)); }

bool same_tokens(const Scored& first, const OpenModel& second) {
  if (first.tokenizer && second.tokenizer) return first.tokenizer->hash() == second.tokenizer->hash();
  if (first.vocabulary == second.published.model.vocabulary) return true;
  throw Error(Exit::bad_data, fmt::format("{}: has no tokenizer, and {} has another vocabulary: their losses do not "
                                          "compare",
                                          first.tokenizer ? second.folder : first.folder,
                                          first.tokenizer ? first.folder : second.folder));
}

// The documents of a token file as text.
std::vector<std::string> texts_in(const TokenFile& file, const Tokenizer& tokenizer) {
  const TokenFileInfo& info = file.info();
  if (info.tokenizer_hash != 0 && info.tokenizer_hash != tokenizer.hash())
    throw Error(Exit::bad_data, info.path + ": was made with another tokenizer than the first model's");
  std::vector<std::string> documents;
  std::vector<std::int32_t> block;
  for (std::int64_t at = 0; at < info.tokens; at += static_cast<std::int64_t>(block.size())) {
    block.resize(static_cast<std::size_t>(std::min<std::int64_t>(info.tokens - at, 1 << 16)));
    file.read(at, block, tokenizer.vocabulary());
    if (at == 0 && block.front() != tokenizer.end_of_text())
      throw Error(Exit::bad_data,
                  info.path + ": does not begin with end-of-text, so its first token is never predicted",
                  "models with different tokenizers compare on a text file: --text FILE");
    for (const std::int32_t token : block) {
      if (token == tokenizer.end_of_text()) {
        documents.emplace_back();
      } else {
        documents.back() += tokenizer.token_bytes(token);
      }
    }
  }
  return documents;
}

// The texts in the second model's tokens.
std::vector<EvalText> encoded_again(const std::vector<EvalText>& texts, const Tokenizer& first, const OpenModel& second,
                                    int threads, const TemporaryFolder& temporary) {
  const Tokenizer& tokenizer = tokenizer_of(second);
  if (first.end_of_text() < 0 || tokenizer.end_of_text() < 0)
    throw Error(Exit::bad_data,
                "--against: tokenizers without end-of-text do not compare: their documents lack the "
                "first token");
  std::vector<EvalText> made;
  for (const EvalText& text : texts) {
    made.push_back({text.name, {}});
    for (const std::string& path : text.paths) {
      const std::string name = fmt::format("{}/{}_{}.bin", temporary.path(), made.size(), made.back().paths.size());
      made.back().paths.push_back(write_documents(texts_in(TokenFile(path), first), tokenizer,
                                                  second.published.model.vocabulary, threads, name));
    }
  }
  return made;
}

Json model_json(const Scored& model) {
  const DocumentLoss sum = model.sum();
  Json made{{"model", model.folder}, {"context", model.context}, {"tokens", sum.tokens}, {"loss", loss_of(sum)}};
  if (sum.bytes > 0) made["bits_per_byte"] = bits_of(sum);
  return made;
}

Json difference_json(const std::optional<PairedDifference>& of) {
  if (!of) return nullptr;
  return {{"difference", of->value},
          {"interval", interval_json(of->interval)},
          {"first_better", of->better},
          {"equal", of->equal},
          {"second_better", static_cast<std::int64_t>(of->documents.size()) - of->better - of->equal},
          {"first_better_share", of->share_better()},
          {"documents", of->documents}};
}

std::string difference_rows(const char* name, const PairedDifference& of) {
  std::string text = fmt::format("  {:<12}  {:+.4f}", name, of.value);
  if (of.interval) {
    text += fmt::format("   95 % interval {:+.4f} to {:+.4f}   ", of.interval->low, of.interval->high);
    text += of.interval->high < 0 ? "first is better" : of.interval->low > 0 ? "second is better" : "undecided";
  }
  const double n = static_cast<double>(of.documents.size());
  text += fmt::format("\n    documents: first is better in {:.1f} %", 100 * of.share_better());
  if (of.equal > 0) text += fmt::format(", equal in {:.1f} %", 100 * static_cast<double>(of.equal) / n);
  std::vector<double> sorted = of.documents;
  std::sort(sorted.begin(), sorted.end());
  const auto at = [&](double p) { return sorted[static_cast<std::size_t>(p * (n - 1) + 0.5)]; };
  return text +
         fmt::format("\n    5, 50 and 95 % of them are below {:+.4f}, {:+.4f}, {:+.4f}\n", at(0.05), at(0.5), at(0.95));
}

std::string table(const Scored& first, const Scored& second, const PairedComparison& found) {
  std::string text = fmt::format("{} (first) against {} (second) on {}\n", first.folder, second.folder, first.data);
  text += "             tokens     loss  bits/byte  context\n";
  for (const auto& [name, model] : {std::pair{"first", &first}, std::pair{"second", &second}}) {
    const DocumentLoss sum = model->sum();
    text += fmt::format("  {:<6} {:>10} {:8.4f} {:>10} {:>8}\n", name, sum.tokens, loss_of(sum),
                        sum.bytes > 0 ? fmt::format("{:.4f}", bits_of(sum)) : "-", model->context);
  }
  text += "difference, first - second: below 0 the first is better\n";
  if (found.loss) text += difference_rows("nats/token", *found.loss);
  if (found.bits_per_byte) text += difference_rows("bits/byte", *found.bits_per_byte);
  if (!found.loss) text += "  the tokenizers differ: losses per token do not compare, bits per byte do\n";
  if (found.documents == 1) return text + "  one document: no interval can be had of the difference\n";
  return text + fmt::format("  {} documents; intervals by drawing documents with replacement{}\n", found.documents,
                            found.documents < few_documents ? " (few: too narrow)" : "");
}

}  // namespace

void AgainstOptions::add_to(CLI::App& verb) {
  CLI::Option* against = verb.add_option(
      "--against", other, "Compare with this model on the same documents: differences, and how sure they are");
  for (const char* option : {"--by-frequency", "--by-context", "--logits", "--teacher-forcing", "--generation",
                             "--choice", "--probe", "--calibration"})
    if (CLI::Option* found = verb.get_option_no_throw(option)) against->excludes(found);
  verb.add_option("--resamples", resamples, "Of the documents, for the intervals of --against")
      ->needs(against)
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{100}, std::int64_t{1000000}));
  verb.add_option("--resample-seed", seed, "Of the resamples")->needs(against)->capture_default_str();
}

Exit show_against(const AgainstOptions& options, const std::string& first_path, const TextReading& reading,
                  Backend& backend, const PrecisionConfig& precision, bool json, Invocation& invocation) {
  const int threads = backend.device->info().threads;
  const TemporaryFolder of_first, of_second;
  std::vector<EvalText> texts;
  const auto score = [&](OpenModel& model, const std::vector<EvalText>& read) {
    const std::int64_t context = model.published.model.context;
    reading.check(context);
    Scored made{model.folder, {}, context, model.published.model.vocabulary, std::nullopt, {}};
    for (const EvalText& text : read) made.data += (made.data.empty() ? "" : ", ") + text.name;
    made.documents = Evaluator(model, backend, invocation, reading.tokens, reading.stride).documents(read);
    made.tokenizer = std::move(model.tokenizer);
    return made;
  };
  const Scored first = [&] {
    OpenModel model = open_shown(first_path, backend, precision, invocation.console);
    texts = texts_of(reading.source, model, threads, of_first);
    return score(model, texts);
  }();
  OpenModel other = open_shown(options.other, backend, precision, invocation.console);
  const bool same = same_tokens(first, other);
  if (!same && reading.tokens > 0)
    throw Error(Exit::usage, "--tokens: means another text to each of two tokenizers; leave it out with --against");
  if (!same) {
    texts = reading.source.text.empty() ? encoded_again(texts, *first.tokenizer, other, threads, of_second)
                                        : texts_of(reading.source, other, threads, of_second);
  }
  const Scored second = score(other, texts);
  const std::string difference = documents_differ(first.documents, second.documents, same);
  if (!difference.empty())
    throw Error(Exit::bad_data, fmt::format("--against: the two models were not given the same text: {}", difference));
  Job job(invocation.console, "drawing documents", "samples");
  const std::optional<PairedComparison> found =
      compare_documents(first.documents, second.documents, same, options.seed, options.resamples,
                        [&](std::int64_t done, std::int64_t of) {
                          job.update(done, of);
                          return !invocation.stop_requested();
                        });
  job.finish();
  if (!found) throw Error(Exit::stopped, "eval: stopped on request");
  if (!json) {
    print(table(first, second, *found));
    return Exit::done;
  }
  const Json out{{"data", first.data},
                 {"documents", found->documents},
                 {"bytes", found->bytes},
                 {"stride", reading.stride},
                 {"same_tokenizer", same},
                 {"resamples", options.resamples},
                 {"first", model_json(first)},
                 {"second", model_json(second)},
                 {"loss", difference_json(found->loss)},
                 {"bits_per_byte", difference_json(found->bits_per_byte)}};
  print(out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  return Exit::done;
}

}  // namespace nll
