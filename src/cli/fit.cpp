// nll fit: scaling laws out of finished runs.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "src/cli/fit_plot.h"
#include "src/cli/verbs.h"
#include "src/eval/scaling_law.h"
#include "src/train/finished_run.h"

namespace nll {

namespace {

using Json = nlohmann::ordered_json;

struct FitOptions {
  std::vector<std::string> runs;
  std::vector<double> budgets;
  std::int64_t resamples = 1000;
  std::uint64_t seed = 1337;
  std::string plot;  // empty: none
  bool json = false;
};

struct NamedRuns {
  std::vector<std::string> names;
  std::vector<ScalingRun> runs;
};

// A run counts when its schedule came to its end and its loss on held-out text is known there. Losses of different text
// or tokens are no points of one law.
NamedRuns read_runs(const FitOptions& options, Console& console) {
  NamedRuns named;
  std::optional<Config> first;
  for (const std::string& folder : options.runs) {
    const FinishedRun run = read_finished_run(folder, [&](const std::string& line) { console.warning(line); });
    const auto skip = [&](const std::string& why) { console.warning(fmt::format("{}: skipped: {}", folder, why)); };
    if (!run.complete) {
      skip(fmt::format("is not finished (step {} of {})", run.step, run.config.schedule.steps));
    } else if (!std::isfinite(run.loss) || !(run.loss > 0)) {
      skip("has no loss on held-out text at its last step");
    } else {
      if (first &&
          (first->data.train != run.config.data.train || first->data.validation != run.config.data.validation ||
           first->model.vocabulary != run.config.model.vocabulary)) {
        console.warning(fmt::format("{}: other data or vocabulary than {}; such losses do not compare", folder,
                                    named.names.front()));
      }
      if (!first) first = run.config;
      named.names.push_back(folder);
      named.runs.push_back({static_cast<double>(run.parameters), static_cast<double>(run.without_tables),
                            static_cast<double>(run.tokens), run.loss, 1});
    }
  }
  if (named.runs.size() < 3) {
    throw Error(Exit::no_checkpoint,
                fmt::format("fit: {} finished run{} (expected at least 3)", named.runs.size(),
                            named.runs.size() == 1 ? "" : "s"),
                "`nll sweep CONFIG --grid model.layers=2,4,8 --grid schedule.steps=500,1000,2000` makes runs to fit");
  }
  return named;
}

// One number of the law, with its interval.
struct LawNumber {
  std::string name, json;
  std::function<double(const HoffmannLaw&)> of;
};

std::vector<LawNumber> constants() {
  return {{"E", "E", [](const HoffmannLaw& law) { return law.floor(); }},
          {"A", "A", [](const HoffmannLaw& law) { return law.parameter_factor(); }},
          {"B", "B", [](const HoffmannLaw& law) { return law.token_factor(); }},
          {"alpha", "alpha", [](const HoffmannLaw& law) { return law.alpha(); }},
          {"beta", "beta", [](const HoffmannLaw& law) { return law.beta(); }}};
}

std::vector<LawNumber> optimum(double flops) {
  return {
      {"N", "parameters", [=](const HoffmannLaw& law) { return compute_optimum(law, flops).parameters; }},
      {"D", "tokens", [=](const HoffmannLaw& law) { return compute_optimum(law, flops).tokens; }},
      {"D / N", "tokens_per_parameter", [=](const HoffmannLaw& law) { return compute_optimum(law, flops).ratio(); }},
      {"loss", "loss", [=](const HoffmannLaw& law) { return compute_optimum(law, flops).loss; }}};
}

struct Output {
  std::string text;
  Json json;
};

void add_power_law(Output& out, const char* name, const char* key, const char* over,
                   const std::optional<PowerLaw>& law) {
  if (!law) {
    out.text += fmt::format("  {:<8} not fitted: needs three different {}\n", name, over);
    out.json["kaplan"][key] = nullptr;
    return;
  }
  out.text += fmt::format("  {:<8} {:>12.4g}   {:.4g} to {:.4g}   over {} {}, scale {:.4g}\n", name, law->exponent,
                          law->interval.low, law->interval.high, law->points, over, std::exp(law->log_scale));
  out.json["kaplan"][key] = {{"exponent", law->exponent},
                             {"standard_error", law->error},
                             {"interval", {law->interval.low, law->interval.high}},
                             {"log_scale", law->log_scale},
                             {"points", law->points}};
}

void add_estimates(Output& out, Json& json, const std::vector<LawNumber>& estimates, const HoffmannLaw& law,
                   const std::vector<HoffmannLaw>& resampled, bool shown) {
  for (const LawNumber& one : estimates) {
    const Interval interval = interval_of(resampled, one.of);
    const bool hidden = !shown && one.name == "E";
    out.text += fmt::format("  {:<8} {:>12}   {:.4g} to {:.4g}\n", one.name,
                            hidden ? "?" : fmt::format("{:.4g}", one.of(law)), interval.low, interval.high);
    json[one.json] = {{"value", hidden ? Json(nullptr) : Json(one.of(law))},
                      {"interval", {interval.low, interval.high}}};
  }
}

std::optional<FittedLaw> add_hoffmann(Output& out, const NamedRuns& named, const FitOptions& options,
                                      Invocation& invocation) {
  out.json["hoffmann"] = nullptr;
  if (!hoffmann_possible(named.runs)) {
    out.text += "Hoffmann: not fitted: five constants need three different N and three different D\n";
    if (!options.budgets.empty()) out.text += "  so there is no compute-optimal model to name\n";
    return std::nullopt;
  }
  const HoffmannLaw law = fit_hoffmann(named.runs);
  Job job(invocation.console, "bootstrap", "resamples");
  const std::vector<HoffmannLaw> resampled =
      bootstrap_laws(named.runs, law, options.seed, options.resamples, [&](std::int64_t done, std::int64_t total) {
        job.update(done, total);
        return !invocation.stop_requested();
      });
  job.finish();
  const bool identified = hoffmann_identified(named.runs);
  out.text += fmt::format("Hoffmann: L = E + A / N^alpha + B / D^beta, all parameters; 95 % of {} resamples\n",
                          resampled.size());
  Json& json = out.json["hoffmann"];
  json = {{"identified", identified}, {"resamples", resampled.size()}, {"objective", law.objective}};
  add_estimates(out, json["constants"], constants(), law, resampled, identified);
  if (!identified) {
    out.text +=
        fmt::format("  E is not identified by {} runs: at least 12 with 4 different N and 3 different D are needed\n",
                    named.runs.size());
  }
  for (std::size_t i = 0; i < named.runs.size(); ++i)
    out.json["runs"][i]["fitted"] = law.loss(named.runs[i].parameters, named.runs[i].tokens);
  for (double budget : options.budgets) {
    out.text += fmt::format("compute-optimal for {:.4g} FLOPs = 6 N D\n", budget);
    Json one{{"flops", budget}};
    add_estimates(out, one, optimum(budget), law, resampled, true);
    json["optimum"].push_back(one);
  }
  return FittedLaw{law, resampled};
}

Exit fit(const FitOptions& options, Invocation& invocation) {
  const NamedRuns named = read_runs(options, invocation.console);
  Output out;
  out.text = fmt::format("{:>12} {:>15} {:>12} {:>8}   run\n", "N", "without tables", "D", "loss");
  for (std::size_t i = 0; i < named.runs.size(); ++i) {
    const ScalingRun& run = named.runs[i];
    out.text += fmt::format("{:>12} {:>15} {:>12} {:>8.4f}   {}\n", human_count(run.parameters),
                            human_count(run.without_tables), human_count(run.tokens), run.loss, named.names[i]);
    out.json["runs"].push_back({{"run", named.names[i]},
                                {"parameters", run.parameters},
                                {"without_tables", run.without_tables},
                                {"tokens", run.tokens},
                                {"loss", run.loss}});
  }
  out.text += "Kaplan: L = (scale / size)^exponent, the best run of each size; 95 % of Student's t\n";
  add_power_law(out, "over N", "parameters", "N without tables", fit_over_parameters(named.runs));
  add_power_law(out, "over D", "tokens", "D", fit_over_tokens(named.runs));
  const std::optional<FittedLaw> fitted = add_hoffmann(out, named, options, invocation);
  if (!options.plot.empty()) write_scaling_plot(scaling_plot(named.runs, named.names, fitted), options.plot);
  print(options.json ? out.json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n" : out.text);
  return invocation.stop_requested() ? Exit::stopped : Exit::done;
}

}  // namespace

void add_fit(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("fit", "Fit scaling laws to finished runs: loss over parameters and tokens");
  auto options = std::make_shared<FitOptions>();
  verb->add_option("RUN", options->runs, "Folders of finished runs; others are skipped")->required();
  verb->add_option("--budget", options->budgets, "Also say which N and D are best for so many FLOPs")
      ->type_name("FLOPS")
      ->allow_extra_args(false)
      ->check(CLI::Range(1.0, 1e40));
  verb->add_option("--resamples", options->resamples, "Of the runs, for the intervals")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t{100}, std::int64_t{1000000}));
  verb->add_option("--seed", options->seed, "Of the resamples")->capture_default_str();
  verb->add_option("--plot", options->plot, "Also draw runs and law into this SVG file");
  verb->add_flag("--json", options->json, "Print JSON");
  verb->callback(
      [&invocation, options] { invocation.run = [&invocation, options] { return fit(*options, invocation); }; });
}

}  // namespace nll
