#include "src/cli/eval_calibration.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "src/eval/sampled_calibration.h"
#include "src/eval/sampled_logits.h"
#include "src/report/reliability.h"

namespace nll {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t few_events = 20;

// Gives the logits of the same sample of all texts as often as it is asked.
class Sampler {
 public:
  Sampler(const OpenModel& model, Backend& backend, Invocation& invocation, std::int64_t one_in,
          const TextReading& reading)
      : model_(model),
        backend_(backend),
        invocation_(invocation),
        config_(model.published.model),
        reading_(reading),
        sample_{one_in, 1},
        sequences_(sequences_at_a_time(config_)),
        gpt_(config_, *backend.ops, *backend.device, sequences_, config_.context, Pass::inference, model.numerics),
        head_(config_, model.published.head, *backend.ops, *backend.device, rows, model.numerics),
        inputs_(*backend.device, evaluation_plan(sequences_, config_.context)) {}

  // Returns how many targets the texts have.
  std::int64_t each(const std::vector<EvalText>& texts, const char* title, const LogitObserver& observe) {
    const std::int64_t head_rows = Head::chunks(config_, model_.published.head, rows, model_.numerics).logits;
    std::int64_t targets = 0;
    for (const EvalText& text : texts) {
      const TokenDataset dataset(text.paths, 1, config_.vocabulary);
      SequentialWindows windows(dataset, config_.context, sequences_, reading_.tokens, config_.vocabulary,
                                reading_.stride);
      Job job(invocation_.console, title, "tokens");
      const std::int64_t read = sample_logits(gpt_, head_, head_rows, *backend_.device, model_.weights, windows,
                                              inputs_, sample_, observe, [&](std::int64_t done, std::int64_t of) {
                                                job.update(done, of);
                                                return !invocation_.stop_requested();
                                              });
      job.finish();
      if (read < windows.targets()) throw Error(Exit::stopped, "eval: stopped on request");
      targets += read;
    }
    return targets;
  }

 private:
  static constexpr std::int64_t rows = 64;
  const OpenModel& model_;
  Backend& backend_;
  Invocation& invocation_;
  const ModelConfig& config_;
  const TextReading& reading_;
  TokenSample sample_;
  std::int64_t sequences_;
  Gpt gpt_;
  Head head_;
  Arena inputs_;
};

struct Found {
  std::string model, data;
  std::int64_t one_in = 0, targets = 0, sampled = 0;
  EventCalibration events;
  TemperatureFit fit;
  double temperature = 1;
  TemperedScore before{1}, after{1};
  bool at_limit() const {
    return temperature < TemperatureFit::lowest * 1.001 || temperature > TemperatureFit::highest * 0.999;
  }
};

std::pair<double, double> interval(const EventCalibration::Bin& bin) {
  return wilson_interval(static_cast<double>(bin.happened), static_cast<double>(bin.events));
}

std::string lower_edge(std::size_t bin) {
  return bin + 1 < EventCalibration::bins ? fmt::format("{:.2g}", EventCalibration::upper(bin + 1)) : "0";
}

std::string table(const Found& found) {
  std::string text = fmt::format("{} on {}: {} of {} tokens, one in {}\n", found.model, found.data, found.sampled,
                                 found.targets, found.one_in);
  text += "  every probability of every token of the vocabulary, and how often it came\n";
  text += "    probability         events    came     said    share  95 % interval\n";
  for (std::size_t b = 0; b < EventCalibration::bins; ++b) {
    const EventCalibration::Bin& bin = found.events.result()[b];
    if (bin.events == 0) continue;
    const auto [low, high] = interval(bin);
    const bool inside = low <= bin.probability() && bin.probability() <= high;
    text += fmt::format("    {:>7} to {:<7.2g}{:>9} {:>7}  {:.1e}  {:.1e}  {:.1e} to {:.1e}{}\n", lower_edge(b),
                        EventCalibration::upper(b), bin.events, bin.happened, bin.probability(), bin.rate(), low, high,
                        bin.events < few_events ? " ~"
                        : inside                ? ""
                                                : " *");
  }
  text += "    said: the mean probability; share: of the events that came\n";
  text += "    *: what was said is outside of the interval; ~: few events\n";
  text += fmt::format("  temperature {:.3f} fitted on {} tokens: the model is {}\n", found.temperature,
                      found.fit.tokens(), found.temperature > 1 ? "too sure" : "not sure enough");
  if (found.at_limit()) text += "    that is the limit of what is tried\n";
  text += fmt::format("    on the other {} tokens   loss     ece\n", found.before.tokens());
  text += fmt::format("      as it is            {:7.4f}  {:.4f}\n", found.before.loss(), found.before.ece());
  text += fmt::format("      logits / {:.3f}      {:7.4f}  {:.4f}\n", found.temperature, found.after.loss(),
                      found.after.ece());
  if (found.sampled < few_tokens) text += "  few tokens: --one-in 1 takes them all\n";
  return text;
}

Json score_json(const TemperedScore& score) {
  Json bins = Json::array();
  for (const CalibrationBin& bin : score.bins())
    bins.push_back({{"count", bin.count}, {"correct", bin.correct}, {"confidence_sum", bin.confidence_sum}});
  return {{"loss", score.loss()}, {"ece", score.ece()}, {"calibration", bins}};
}

Json json_of(const Found& found) {
  Json out{{"model", found.model},
           {"data", found.data},
           {"targets", found.targets},
           {"sampled", found.sampled},
           {"one_in", found.one_in}};
  out["events"] = Json::array();
  for (std::size_t b = 0; b < EventCalibration::bins; ++b) {
    const EventCalibration::Bin& bin = found.events.result()[b];
    if (bin.events == 0) continue;
    const auto [low, high] = interval(bin);
    out["events"].push_back({{"above", b + 1 < EventCalibration::bins ? EventCalibration::upper(b + 1) : 0.0},
                             {"to", EventCalibration::upper(b)},
                             {"events", bin.events},
                             {"happened", bin.happened},
                             {"probability", bin.probability()},
                             {"rate", bin.rate()},
                             {"low", low},
                             {"high", high}});
  }
  out["temperature"] = {{"value", found.temperature},         {"at_limit", found.at_limit()},
                        {"fitted_on", found.fit.tokens()},    {"fitted_loss", found.fit.loss(found.temperature)},
                        {"tested_on", found.before.tokens()}, {"before", score_json(found.before)},
                        {"after", score_json(found.after)}};
  return out;
}

}  // namespace

void CalibrationOptions::add_to(CLI::App& verb) {
  CLI::Option* calibration =
      verb.add_flag("--calibration", asked,
                    "Look at whole distributions of a sample instead: is what has probability p right in p "
                    "of all cases, and what would a temperature change?");
  for (const char* option :
       {"--by-frequency", "--by-context", "--logits", "--teacher-forcing", "--generation", "--choice", "--probe"})
    if (CLI::Option* found = verb.get_option_no_throw(option)) calibration->excludes(found);
  verb.add_option("--one-in", one_in, "Tokens that --calibration samples: one in so many")
      ->needs(calibration)
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30));
}

Exit show_calibration(const CalibrationOptions& options, const OpenModel& model, Backend& backend,
                      const std::vector<EvalText>& texts, const TextReading& reading, bool json,
                      Invocation& invocation) {
  Sampler sampler(model, backend, invocation, options.one_in, reading);
  Found found;
  found.model = model.folder;
  found.one_in = options.one_in;
  for (const EvalText& text : texts) found.data += (found.data.empty() ? "" : ", ") + text.name;
  // Every other token is for fitting. The logits are not kept: a second pass tries the temperature on the rest.
  found.targets = sampler.each(texts, "sampling", [&](std::span<const float> logits, std::int32_t target) {
    found.events.add(logits, target);
    if (found.sampled++ % 2 == 0) found.fit.add(logits, target);
  });
  if (found.sampled < 2)
    throw Error(Exit::usage,
                fmt::format("--one-in: samples {} of {} tokens (expected at least 2)", found.sampled, found.targets),
                "--one-in 1 takes them all");
  found.temperature = found.fit.temperature();
  found.after = TemperedScore(found.temperature);
  std::int64_t at = 0;
  sampler.each(texts, "testing the temperature", [&](std::span<const float> logits, std::int32_t target) {
    if (at++ % 2 == 0) return;
    found.before.add(logits, target);
    found.after.add(logits, target);
  });
  if (json) {
    print(json_of(found).dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } else {
    print(table(found));
  }
  return Exit::done;
}

}  // namespace nll
