#include "src/cli/fit_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "src/report/console.h"

namespace nll {

namespace {

constexpr int curve_points = 61;

// `curve_points` values of equal ratio.
std::vector<double> between(double low, double high) {
  std::vector<double> list;
  for (int i = 0; i < curve_points; ++i) list.push_back(low * std::pow(high / low, i / double{curve_points - 1}));
  return list;
}

double compute(const ScalingRun& run) { return 6 * run.parameters * run.tokens; }

}  // namespace

ScalingPlot scaling_plot(std::span<const ScalingRun> runs, const std::vector<std::string>& names,
                         const std::optional<FittedLaw>& fitted) {
  ScalingPlot plot;
  plot.title = fitted ? fmt::format("{} runs and L = E + A / N^{:.3f} + B / D^{:.3f}", runs.size(), fitted->law.alpha(),
                                    fitted->law.beta())
                      : fmt::format("{} runs", runs.size());
  if (runs.empty()) return plot;
  std::map<double, ScalingSeries> sizes;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    ScalingSeries& series = sizes[runs[i].parameters];
    series.label = "N = " + human_count(runs[i].parameters);
    series.runs.push_back({compute(runs[i]), runs[i].loss, names[i]});
  }
  const auto [fewest, most] = std::minmax_element(
      runs.begin(), runs.end(), [](const ScalingRun& a, const ScalingRun& b) { return a.tokens < b.tokens; });
  const auto [least, largest] = std::minmax_element(
      runs.begin(), runs.end(), [](const ScalingRun& a, const ScalingRun& b) { return compute(a) < compute(b); });
  for (auto& [parameters, series] : sizes) {
    if (fitted) {
      for (const double tokens : between(fewest->tokens, most->tokens))
        series.fitted.push_back({6 * parameters * tokens, fitted->law.loss(parameters, tokens), {}});
    }
    plot.series.push_back(std::move(series));
  }
  if (!fitted) return plot;
  for (const double flops : between(compute(*least), compute(*largest))) {
    std::vector<double> losses;
    for (const HoffmannLaw& law : fitted->resampled) {
      const double loss = compute_optimum(law, flops).loss;
      if (std::isfinite(loss)) losses.push_back(loss);
    }
    const double best = compute_optimum(fitted->law, flops).loss;
    const Interval interval = losses.empty() ? Interval{best, best} : middle_95(std::move(losses));
    plot.best.push_back({flops, best, interval.low, interval.high});
  }
  return plot;
}

}  // namespace nll
