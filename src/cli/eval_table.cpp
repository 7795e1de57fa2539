#include "src/cli/eval_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "src/report/reliability.h"

namespace nll {

namespace {

using Json = nlohmann::ordered_json;

// fields() with what a breakdown adds.
std::vector<std::pair<std::string, double>> numbers(const EvalResult& result) {
  std::vector<std::pair<std::string, double>> list = fields(result.evaluation);
  const auto at = std::find_if(list.begin(), list.end(), [](const auto& field) { return field.first == "mce"; });
  list.emplace(at, "adaptive_ece", calibration_error(result.equal_mass).ece);
  return list;
}

std::pair<double, double> wilson(const CalibrationBin& bin) {
  return wilson_interval(static_cast<double>(bin.correct), static_cast<double>(bin.count));
}

// `####|` of 28 columns: filled up to the accuracy, with a mark where the confidence is.
std::string bar(const CalibrationBin& bin) {
  constexpr int columns = 28;
  const auto at = [](double share) { return static_cast<std::size_t>(std::lround(share * columns)); };
  std::string drawn(at(bin.accuracy()), '#');
  drawn.resize(columns, ' ');
  drawn[std::min<std::size_t>(at(bin.confidence()), columns - 1)] = '|';
  return drawn;
}

std::string calibration_table(const Evaluation& e) {
  std::string text =
      "  calibration: a bar of # is the accuracy, a | is at the confidence\n"
      "    confidence    share  accuracy  95 % interval   0                          1\n";
  for (const CalibrationBin& bin : e.calibration) {
    if (bin.count == 0) continue;
    const auto [low, high] = wilson(bin);
    text += fmt::format("         {:.3f} {:6.2f} %     {:.3f}  {:.3f} to {:.3f}  {}\n", bin.confidence(),
                        100 * static_cast<double>(bin.count) / static_cast<double>(e.tokens), bin.accuracy(), low, high,
                        bar(bin));
    while (text.ends_with(" \n")) text.erase(text.size() - 2, 1);
  }
  return text;
}

std::string class_table(const Evaluation& e) {
  std::string text;
  const double n = static_cast<double>(e.tokens);
  for (const ClassLoss& of : e.classes) {
    if (text.empty()) text = "  kind of token            tokens     share    loss  share of loss\n";
    if (of.tokens == 0) continue;
    std::string name = of.name;
    std::replace(name.begin(), name.end(), '_', ' ');
    text += fmt::format("    {:<18} {:>10} {:7.2f} % {:7.4f}      {:7.2f} %\n", name, of.tokens,
                        100 * static_cast<double>(of.tokens) / n, of.loss(), 100 * of.nll / (n * e.loss));
    if (of.name == "content_words") text += "    of these and the others, by the token's own bytes:\n";
  }
  return text;
}

std::string bucket_table(const std::vector<LossBucket>& buckets, const char* title, bool unigram) {
  if (buckets.empty()) return {};
  std::string text =
      fmt::format("  {:<22} {:>10}    loss{}\n", title, "tokens", unigram ? "  loss by frequency alone" : "");
  for (const LossBucket& bucket : buckets) {
    if (bucket.tokens == 0) continue;
    const std::string range = bucket.first == bucket.last ? fmt::format("{}", bucket.first)
                                                          : fmt::format("{} to {}", bucket.first, bucket.last);
    text += fmt::format("    {:<20} {:>10} {:7.4f}", range, bucket.tokens, bucket.loss());
    if (unigram) text += bucket.first == 0 ? "  no bound" : fmt::format("  {:7.4f}", bucket.unigram_loss());
    text += bucket.tokens < few_tokens ? "  (few tokens)\n" : "\n";
  }
  return text;
}

std::string interval_text(const EvalResult& result, const std::string& name) {
  if (!result.intervals) return {};
  const std::optional<Interval> interval = name == "loss"            ? result.intervals->loss
                                           : name == "bits_per_byte" ? result.intervals->bits_per_byte
                                                                     : std::nullopt;
  return interval ? fmt::format("   95 % interval {:.4f} to {:.4f}", interval->low, interval->high) : std::string();
}

std::string document_line(const EvalResult& result) {
  if (result.documents == 1) return "  one document: no interval can be had of its loss\n";
  return fmt::format("  {} documents; intervals by drawing documents with replacement{}\n", result.documents,
                     result.documents < few_documents ? " (few: too narrow)" : "");
}

std::string one_table(const EvalReading& reading, const EvalResult& result) {
  const Evaluation& e = result.evaluation;
  std::string text = fmt::format("{} on {}: {} tokens, {} bytes\n", reading.model, result.data, e.tokens, e.bytes);
  if (reading.stride != reading.context) {
    text += fmt::format("  windows of {} tokens every {}: each token after at least {} of its text\n", reading.context,
                        reading.stride, reading.context - reading.stride);
  }
  for (const auto& [name, value] : numbers(result)) {
    const bool count = name == "tokens" || name == "bytes" || name == "characters";
    text += fmt::format("  {:<22} {:>10.{}f}{}\n", name, value, count ? 0 : 4, interval_text(result, name));
  }
  text += document_line(result) + calibration_table(e) + class_table(e);
  text += bucket_table(result.by_position, "tokens of context", false);
  return text + bucket_table(result.by_frequency, "times in training text", true);
}

std::string context_table(const std::vector<ContextLoss>& losses) {
  if (losses.empty()) return {};
  std::string text = "  the same tokens after only      loss    above the longest\n";
  for (const ContextLoss& one : losses) {
    text += fmt::format("    {:>6} tokens of context  {:8.4f}", one.context, one.loss.mean);
    text += one.context == losses.back().context
                ? fmt::format("    +- {:.4f}\n", one.loss.error)
                : fmt::format("    {:.4f} +- {:.4f}\n", one.excess.mean, one.excess.error);
  }
  return text;
}

std::string dataset_rows(const EvalResult& total, const std::vector<EvalResult>& datasets) {
  std::string text = "    tokens     loss  perplexity  bits/byte  accuracy     ECE  data\n";
  const auto row = [&](const EvalResult& of, const std::string& name) {
    const Evaluation& e = of.evaluation;
    text += fmt::format("{:>10} {:8.4f} {:>11.4f} {:>10}    {:.4f}  {:.4f}  {}\n", e.tokens, e.loss, e.perplexity,
                        e.bytes > 0 ? fmt::format("{:.4f}", e.bits_per_byte) : "-", e.accuracy, e.ece, name);
  };
  for (const EvalResult& of : datasets) row(of, of.data);
  row(total, "total");
  return text + "\n";
}

Json calibration_json(std::span<const CalibrationBin> bins) {
  Json list = Json::array();
  for (const CalibrationBin& bin : bins) {
    Json made{{"count", bin.count}, {"correct", bin.correct}, {"confidence_sum", bin.confidence_sum}};
    for (const char* name : {"confidence", "accuracy", "low", "high"}) made[name] = nullptr;
    if (bin.count > 0) {
      made["confidence"] = bin.confidence();
      made["accuracy"] = bin.accuracy();
      const auto [low, high] = wilson(bin);
      made["low"] = low;
      made["high"] = high;
    }
    list.push_back(made);
  }
  return list;
}

Json bucket_json(const std::vector<LossBucket>& buckets, bool unigram) {
  Json list = Json::array();
  for (const LossBucket& bucket : buckets) {
    Json made{{"first", bucket.first}, {"last", bucket.last}, {"tokens", bucket.tokens}, {"loss", nullptr}};
    if (unigram) made["unigram_loss"] = nullptr;
    if (bucket.tokens > 0) made["loss"] = bucket.loss();
    if (bucket.tokens > 0 && unigram && bucket.first > 0) made["unigram_loss"] = bucket.unigram_loss();
    list.push_back(made);
  }
  return list;
}

Json context_json(const std::vector<ContextLoss>& losses) {
  const auto number = [](double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); };
  Json list = Json::array();
  for (const ContextLoss& one : losses) {
    list.push_back({{"context", one.context},
                    {"loss", number(one.loss.mean)},
                    {"standard_error", number(one.loss.error)},
                    {"excess", number(one.excess.mean)},
                    {"excess_standard_error", number(one.excess.error)}});
  }
  return list;
}

void add_result(Json& out, const EvalResult& result) {
  for (const auto& [name, value] : numbers(result)) out[name] = value;
  out["documents"] = result.documents;
  out["intervals"] = nullptr;
  if (result.intervals) {
    out["intervals"] = {{"loss", interval_json(result.intervals->loss)},
                        {"bits_per_byte", interval_json(result.intervals->bits_per_byte)}};
  }
  out["calibration"] = calibration_json(result.evaluation.calibration);
  out["calibration_equal_mass"] = calibration_json(result.equal_mass);
  out["classes"] = Json::array();
  for (const ClassLoss& of : result.evaluation.classes) {
    Json made{{"class", of.name}, {"tokens", of.tokens}, {"nll", of.nll}, {"loss", nullptr}};
    if (of.tokens > 0) made["loss"] = of.loss();
    if (of.words > 0) made["words"] = of.words;
    out["classes"].push_back(made);
  }
  out["by_position"] = bucket_json(result.by_position, false);
  if (!result.by_frequency.empty()) out["by_frequency"] = bucket_json(result.by_frequency, true);
}

}  // namespace

std::string number_text(double value, const char* format) {
  return std::isfinite(value) ? fmt::format(fmt::runtime(format), value) : "-";
}

Json interval_json(const std::optional<Interval>& interval) {
  return interval ? Json{{"low", interval->low}, {"high", interval->high}} : Json(nullptr);
}

std::string eval_table(const EvalReading& reading, const EvalResults& results) {
  const std::string rows = results.datasets.empty() ? "" : dataset_rows(results.total, results.datasets);
  return rows + one_table(reading, results.total) + context_table(results.by_context);
}

Json eval_json(const EvalReading& reading, const EvalResults& results) {
  Json out{
      {"model", reading.model}, {"data", results.total.data}, {"context", reading.context}, {"stride", reading.stride}};
  add_result(out, results.total);
  if (!results.by_context.empty()) out["by_context"] = context_json(results.by_context);
  for (const EvalResult& of : results.datasets) {
    Json made{{"data", of.data}};
    add_result(made, of);
    out["datasets"].push_back(made);
  }
  return out;
}

}  // namespace nll
