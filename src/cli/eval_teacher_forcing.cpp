#include "src/cli/eval_teacher_forcing.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "src/eval/exposure_bias.h"
#include "src/eval/gold_windows.h"
#include "src/eval/teacher_forcing.h"
#include "src/infer/generate.h"

namespace nll {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t proof_windows = 4;     // decoding step by step is slow
constexpr double seconds_of_timing = 1;      // for each length
constexpr std::int64_t columns_of_bar = 40;  // of the diagram, in 80 columns

const char* name_of(DType type) {
  switch (type) {
    case DType::bf16:
      return "bf16";
    case DType::f16:
      return "fp16";
    default:
      return "fp32";
  }
}

// What is printed in the end.
struct ForcingFindings {
  std::string model, data;
  std::int64_t context = 0;
  DType type = DType::f32;
  ForcingLimits limits;
  std::vector<ForcingDifference> differences;
  std::vector<CausalityCheck> causality;
  std::vector<ForcingSpeed> speeds;
  ExposureBias exposure;
  std::uint64_t seed = 0;

  bool equal() const {
    return std::all_of(differences.begin(), differences.end(),
                       [&](const ForcingDifference& d) { return d.within(limits); });
  }
  bool causal() const {
    return std::all_of(causality.begin(), causality.end(), [](const CausalityCheck& c) { return c.passed(); });
  }
};

const char* verdict(bool passed) { return passed ? "PASS" : "FAIL"; }

std::string count_of_windows(std::int64_t count) { return fmt::format("{} window{}", count, count == 1 ? "" : "s"); }

std::string proof_table(const ForcingFindings& f) {
  std::string text = fmt::format(
      "One parallel pass against step-by-step decoding through the KV cache, {}\n"
      "difference of the log-probability of gold tokens, nats\n"
      "  {:>8} {:>8} {:>8} {:>11} {:>11} {:>11}\n",
      name_of(f.type), "length", "windows", "tokens", "largest", "mean", "perplexity");
  for (const ForcingDifference& d : f.differences)
    text += fmt::format("  {:>8} {:>8} {:>8} {:>11.2e} {:>11.2e} {:>11.2e}{}\n", d.length, d.windows, d.tokens,
                        d.largest, d.mean, d.perplexity, d.within(f.limits) ? "" : "  over");
  text += fmt::format("  {:<26} {:>11.2e} {:>11.2e} {:>11.2e}\n", "limit", f.limits.largest, f.limits.mean,
                      f.limits.perplexity);
  text += fmt::format("parallel = step by step: {}\n\n", verdict(f.equal()));
  text += fmt::format(
      "Causality: another token at position j, the same targets; log-probabilities\nwhose bits change\n"
      "  {:>8} {:>22} {:>22}\n",
      "j", "before j", "from j on");
  for (const CausalityCheck& c : f.causality)
    text += fmt::format("  {:>8} {:>22} {:>22}\n", c.changed, fmt::format("{} of {}", c.earlier_different, c.earlier),
                        fmt::format("{} of {}", c.later_different, c.later));
  return text + fmt::format("no position sees a later one: {}\n\n", verdict(f.causal()));
}

std::string speed_table(const ForcingFindings& f) {
  std::string text =
      fmt::format("Tokens per second, one sequence at a time, in turn\n  {:>8} {:>12} {:>12} {:>8} {:>14} {:>8}\n",
                  "length", "parallel", "by step", "ratio", "free running", "repeats");
  for (const ForcingSpeed& s : f.speeds)
    text += fmt::format("  {:>8} {:>12.0f} {:>12.0f} {:>8.1f} {:>14.0f} {:>8}\n", s.length, s.parallel, s.stepwise,
                        s.ratio(), s.free_running, s.repeats);
  return text + "\n";
}

std::string exposure_table(const ForcingFindings& f) {
  const ExposureBias& e = f.exposure;
  std::string text = fmt::format(
      "Exposure bias: loss on {} gold tokens after {} of which the model wrote the\nlast k; {}, seed {}, "
      "+- standard error, nats per token\n"
      "  {:>4} {:>9} {:>9} {:>9} {:>14} {:>9}\n",
      e.continuation, e.prefix, count_of_windows(e.windows), f.seed, "k", "loss", "excess", "+-", "excess, other",
      "+-");
  text += fmt::format("  {:>4} {:>9.4f} {:>9.4f}\n", 0, e.gold.mean, 0.0);
  for (const ExposurePoint& p : e.curve)
    text += fmt::format("  {:>4} {:>9.4f} {:>9.4f} {:>9} {:>14} {:>9}\n", p.k, p.loss.mean, p.excess.mean,
                        number_text(p.excess.error, "{:.4f}"), number_text(p.other.mean, "{:.4f}"),
                        number_text(p.other.error, "{:.4f}"));
  if (e.windows > 1) text += "  other: the k tokens are gold text of another window\n";
  text += "\n";
  double widest = 0;
  for (const ExposurePoint& p : e.curve) {
    widest = std::max(widest, std::abs(p.excess.mean));
    if (std::isfinite(p.other.mean)) widest = std::max(widest, std::abs(p.other.mean));
  }
  const auto bar = [&](double value) {
    const double share = widest > 0 ? std::abs(value) / widest : 0;
    return std::string(static_cast<std::size_t>(std::lround(share * columns_of_bar)), value < 0 ? '-' : '#');
  };
  for (const ExposurePoint& p : e.curve) {
    text += fmt::format("  k = {:<3} model {:<{}} {:+.4f}\n", p.k, bar(p.excess.mean), columns_of_bar, p.excess.mean);
    if (std::isfinite(p.other.mean))
      text += fmt::format("  {:<7} other {:<{}} {:+.4f}\n", "", bar(p.other.mean), columns_of_bar, p.other.mean);
  }
  text += fmt::format(
      "\nShare of gold tokens that are the model's first choice, after the gold prefix\n"
      "  {:>8} {:>14} {:>9} {:>14} {:>9}\n",
      "steps", "gold before it", "+-", "free running", "+-");
  for (const StepAccuracy& a : e.accuracy)
    text += fmt::format("  {:>8} {:>14.4f} {:>9} {:>14.4f} {:>9}\n",
                        a.first == a.last ? std::to_string(a.first) : fmt::format("{}-{}", a.first, a.last),
                        a.forced.mean, number_text(a.forced.error, "{:.4f}"), a.free_running.mean,
                        number_text(a.free_running.error, "{:.4f}"));
  return text;
}

// Numbers that are not finite become null.
Json json_of(const Estimate& estimate) { return {{"mean", estimate.mean}, {"standard_error", estimate.error}}; }

Json json_of(const ForcingFindings& f) {
  Json equality{
      {"type", name_of(f.type)},
      {"passed", f.equal()},
      {"limits", {{"largest", f.limits.largest}, {"mean", f.limits.mean}, {"perplexity", f.limits.perplexity}}},
      {"lengths", Json::array()}};
  for (const ForcingDifference& d : f.differences)
    equality["lengths"].push_back({{"length", d.length},
                                   {"windows", d.windows},
                                   {"tokens", d.tokens},
                                   {"largest", d.largest},
                                   {"mean", d.mean},
                                   {"perplexity", d.perplexity},
                                   {"passed", d.within(f.limits)}});
  Json causality{{"passed", f.causal()}, {"positions", Json::array()}};
  for (const CausalityCheck& c : f.causality)
    causality["positions"].push_back({{"changed", c.changed},
                                      {"earlier", c.earlier},
                                      {"earlier_different", c.earlier_different},
                                      {"later", c.later},
                                      {"later_different", c.later_different}});
  Json throughput = Json::array();
  for (const ForcingSpeed& s : f.speeds)
    throughput.push_back({{"length", s.length},
                          {"parallel_tokens_per_second", s.parallel},
                          {"stepwise_tokens_per_second", s.stepwise},
                          {"ratio", s.ratio()},
                          {"free_running_tokens_per_second", s.free_running},
                          {"repeats", s.repeats}});
  const ExposureBias& e = f.exposure;
  Json exposure{{"windows", e.windows},         {"seed", f.seed},
                {"prefix", e.prefix},           {"continuation", e.continuation},
                {"gold_loss", json_of(e.gold)}, {"curve", Json::array()},
                {"accuracy", Json::array()}};
  for (const ExposurePoint& p : e.curve)
    exposure["curve"].push_back({{"k", p.k},
                                 {"loss", json_of(p.loss)},
                                 {"excess", json_of(p.excess)},
                                 {"excess_other_text", json_of(p.other)}});
  for (const StepAccuracy& a : e.accuracy)
    exposure["accuracy"].push_back({{"first_step", a.first},
                                    {"last_step", a.last},
                                    {"gold_before", json_of(a.forced)},
                                    {"free_running", json_of(a.free_running)}});
  return {
      {"model", f.model},     {"data", f.data},         {"context", f.context},     {"passed", f.equal() && f.causal()},
      {"equality", equality}, {"causality", causality}, {"throughput", throughput}, {"exposure_bias", exposure}};
}

}  // namespace

void TeacherForcingOptions::add_to(CLI::App& verb) {
  CLI::Option* flag = verb.add_flag("--teacher-forcing", asked,
                                    "Prove that one parallel pass equals decoding step by step, measure how much "
                                    "faster it is, and what it costs the model to go on from its own text");
  for (const char* other : {"--tokens", "--stride", "--by-frequency", "--by-context", "--logits"}) {
    if (CLI::Option* option = verb.get_option_no_throw(other)) flag->excludes(option);
  }
  verb.add_option("--windows", windows, "With --teacher-forcing: pieces of the text for the exposure bias")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20))
      ->needs(flag);
  verb.add_option("--text-seed", seed, "With --teacher-forcing: the same seed gives the same text of the model")
      ->capture_default_str()
      ->needs(flag);
}

Exit show_teacher_forcing(const TeacherForcingOptions& options, const OpenModel& model, Backend& backend,
                          const std::vector<EvalText>& texts, bool json, Invocation& invocation) {
  std::string data;
  std::vector<std::string> paths;
  for (const EvalText& text : texts) {
    data += (data.empty() ? "" : ", ") + text.name;
    paths.insert(paths.end(), text.paths.begin(), text.paths.end());
  }
  const ModelConfig& config = model.published.model;
  const HeadConfig& head = model.published.head;
  const TokenDataset dataset(paths, 1, config.vocabulary);
  const std::vector<GoldWindow> windows = gold_windows(dataset, config.context + 1, options.windows);
  const std::int64_t longest = static_cast<std::int64_t>(windows[0].size()) - 1;
  ParallelScorer parallel(config, head, *backend.ops, *backend.device, model.weights, model.numerics);
  Generator generator(config, head, *backend.ops, *backend.device, model.numerics);
  const auto stop_if_asked = [&] {
    if (invocation.stop_requested()) throw Error(Exit::stopped, "eval: stopped on request");
  };
  const ScoreText stepwise = [&](std::span<const std::int32_t> text) {
    stop_if_asked();
    return generator.score_stepwise(model.weights, text);
  };
  const ContinueText continue_text = [&](std::span<const std::int32_t> prompt, std::int64_t count, double temperature,
                                         std::uint64_t seed) {
    GenerationRequest request;
    request.prompt.assign(prompt.begin(), prompt.end());
    request.max_tokens = count;
    request.rules.temperature = temperature;
    request.seed = seed;
    if (model.tokenizer) request.vocabulary = model.tokenizer->vocabulary();
    std::vector<std::int32_t> written;
    generator.generate(model.weights, request, [&](std::int32_t id, double) {
      written.push_back(id);
      stop_if_asked();
      return true;
    });
    return written;
  };

  ForcingFindings found;
  found.model = model.folder;
  found.data = data;
  found.context = config.context;
  found.type = model.numerics.compute;
  found.limits = forcing_limits(found.type);
  found.seed = options.seed;
  const std::span<const GoldWindow> proof = std::span(windows).first(std::min(proof_windows, windows.size()));
  const std::vector<std::int64_t> lengths = forcing_lengths(longest);
  Job proving(invocation.console, "proving", "lengths");
  for (const std::int64_t length : lengths) {
    found.differences.push_back(compare_passes(parallel, stepwise, proof, length));
    proving.update(static_cast<std::int64_t>(found.differences.size()), static_cast<std::int64_t>(lengths.size()));
  }
  proving.finish();
  found.causality = check_causality(parallel, windows[0], config.vocabulary);
  Job timing(invocation.console, "timing", "lengths");
  for (const std::int64_t length : lengths) {
    const std::span<const std::int32_t> text = std::span(windows[0]).first(static_cast<std::size_t>(length + 1));
    const ForcingWays ways{[&] { parallel.score(text); }, [&] { stepwise(text); },
                           [&] { continue_text(text.first(1), length, 0, options.seed); }};
    found.speeds.push_back(measure_speed(length, ways, seconds_of_timing, [] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    }));
    timing.update(static_cast<std::int64_t>(found.speeds.size()), static_cast<std::int64_t>(lengths.size()));
  }
  timing.finish();
  Job writing(invocation.console, "writing", "windows");
  found.exposure = measure_exposure(parallel, continue_text, windows, options.seed,
                                    [&](std::int64_t done, std::int64_t total) { writing.update(done, total); });
  writing.finish();

  if (json) {
    print(json_of(found).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } else {
    print(fmt::format("{} on {}: {} of {} tokens\n\n", found.model, data, count_of_windows(found.exposure.windows),
                      longest + 1) +
          proof_table(found) + speed_table(found) + exposure_table(found));
  }
  if (!found.equal() || !found.causal()) {
    throw Error(Exit::internal,
                fmt::format("{}: teacher forcing: {} (expected the limits above)", model.folder,
                            found.causal() ? "the parallel pass differs from decoding step by step"
                                           : "a log-probability depends on a later token, or on no token"),
                "try --device cpu; `nll verify` checks the weights");
  }
  return Exit::done;
}

}  // namespace nll
