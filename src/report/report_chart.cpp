#include "src/report/report_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>

namespace nll {
namespace {

using Kind = ChartSeries::Kind;

// A measure that reports know. A train or validation name that is empty: not measured there.
struct Measure {
  const char *train, *validation, *title, *unit;
  bool logarithmic, from_zero, folded;
  bool noisy = true;  // false: what is set and not measured is shown as it is
};

constexpr std::array<Measure, 24> measures = {{
    {"nll", "loss", "Loss", "nats per token", false, false, false},
    {"", "bits_per_byte", "Bits per byte", "bits", false, false, false},
    {"perplexity", "perplexity", "Perplexity", "e to the loss", true, false, false},
    {"accuracy", "accuracy", "Accuracy", "share of tokens", false, true, false},
    {"", "ece", "Calibration error (ECE, 15 bins)", "confidence - accuracy", false, true, false},
    {"reward", "reward", "Reward", "of a completion", false, false, false},
    {"rewards/accuracies", "rewards/accuracies", "Preferences in the right order", "share of pairs", false, true,
     false},
    {"rewards/margins", "rewards/margins", "Margin", "reward of chosen less rejected", false, false, false},
    {"kl", "kl", "Divergence from the reference", "nats", false, false, false},
    {"mean_token_accuracy", "mean_token_accuracy", "Accuracy of tokens", "share of tokens", false, true, false},
    {"entropy", "entropy", "Entropy of the predictions", "nats", false, false, false},
    {"loss", "", "Objective", "what is minimised", false, false, false},
    {"learning_rate", "", "Learning rate", "learning rate", false, true, false, false},
    {"gradient_norm", "", "Gradient norm", "before clipping", false, true, false},
    {"tokens_per_second", "", "Throughput", "tokens per second", false, true, false},
    {"seconds", "", "Time of a step", "seconds", false, true, true},
    {"loss_scale", "", "Loss scale", "factor", true, false, true, false},
    {"", "top5_accuracy", "Accuracy of the best five", "share of tokens", false, true, true},
    {"", "brier", "Brier score", "mean squared error", false, true, true},
    {"", "bits_per_character", "Bits per character", "bits", false, false, true},
    {"", "bits_per_token", "Bits per token", "bits", false, false, true},
    {"", "mce", "Largest calibration error of a bin", "confidence - accuracy", false, true, true},
    {"", "rms_ce", "Calibration error, root mean square", "confidence - accuracy", false, true, true},
    {"", "ece_10_bins", "Calibration error (ECE, 10 bins)", "confidence - accuracy", false, true, true},
}};
// How much was scored, and what repeats another measure up to the ends of documents.
constexpr std::array<std::string_view, 4> left_out = {"scored_tokens", "bytes", "characters", "bits_per_byte_total"};
constexpr std::string_view class_prefix = "loss_";

double last_finite(const Curve& curve) {
  for (auto point = curve.rbegin(); point != curve.rend(); ++point) {
    if (std::isfinite(point->value)) return point->value;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

// What a run that learns from records calls the loss of its tokens and what it minimises, on data that was held out.
std::string validation_name(const RunRecord& run, const Measure& measure) {
  if (learns_from_records(run) && std::string_view(measure.title) == "Loss") return "nll";
  if (learns_from_records(run) && std::string_view(measure.title) == "Objective") return "loss";
  return measure.validation;
}

bool has_finite(const Curve& curve) { return std::isfinite(last_finite(curve)); }

class ChartMaker {
 public:
  ChartMaker(const std::vector<RunRecord>& runs, std::size_t columns) : runs_(runs), columns_(columns) {
    for (const RunRecord& run : runs) {
      for (const Event& event : run.events) last_step_ = std::max(last_step_, static_cast<double>(event.step));
    }
  }

  std::vector<ReportChart> make() {
    for (const Measure& measure : measures) add_measure(measure);
    add_others();
    if (!charts_.empty()) charts_.front().place = ReportChart::Place::main;
    return std::move(charts_);
  }

 private:
  bool one_run() const { return runs_.size() == 1; }

  ChartSeries series(std::size_t run, Kind kind, const char* label, const Curve& curve) const {
    ChartSeries made;
    made.run = run;
    made.kind = kind;
    made.color = one_run() ? (kind == Kind::points ? 1 : 0) : run;
    made.dash = one_run() ? 0 : run;
    made.label = one_run() ? label : runs_[run].name + ", " + label;
    made.last = last_finite(curve);
    made.curve = thin_for_both_scales(curve, 0, last_step_, columns_);
    return made;
  }

  void add_training(ReportChart& chart, std::size_t run, const Curve& curve, bool smooth) const {
    if (!has_finite(curve)) return;
    if (!smooth || !is_noisy(curve)) {
      chart.series.push_back(series(run, Kind::line, "training", curve));
      return;
    }
    ChartSeries raw = series(run, Kind::raw, "training", curve);
    raw.listed = one_run();  // the smoothed courses of several runs are enough to read
    chart.series.push_back(std::move(raw));
    chart.series.push_back(series(run, Kind::line, "training, smoothed", smoothed(curve)));
  }

  void add_validation(ReportChart& chart, std::size_t run, const Curve& curve) const {
    if (has_finite(curve)) chart.series.push_back(series(run, Kind::points, "validation", curve));
  }

  // The objective differs from the loss only where something is added to it.
  bool differs_from_loss(const RunRecord& run, const Curve& objective) const {
    const Curve loss = curve_of(run, "train", "nll");
    for (std::size_t i = 0; i < std::min(loss.size(), objective.size()); ++i) {
      if (std::abs(loss[i].value - objective[i].value) > 1e-6 * std::abs(loss[i].value)) return true;
    }
    return loss.size() != objective.size();
  }

  void add_measure(const Measure& measure) {
    ReportChart chart;
    chart.title = measure.title;
    chart.unit = measure.unit;
    chart.logarithmic = measure.logarithmic;
    chart.from_zero = measure.from_zero;
    if (measure.folded) chart.place = ReportChart::Place::folded;
    bool needed = std::string_view(measure.title) != "Objective";
    // Validation is drawn over training, of whatever run.
    for (std::size_t run = 0; run < runs_.size(); ++run) {
      if (*measure.train == 0) continue;
      const Curve curve = curve_of(runs_[run], "train", measure.train);
      needed = needed || (has_finite(curve) && differs_from_loss(runs_[run], curve));
      add_training(chart, run, curve, measure.noisy);
    }
    for (std::size_t run = 0; run < runs_.size(); ++run) {
      const std::string name = validation_name(runs_[run], measure);
      if (!name.empty()) add_validation(chart, run, curve_of(runs_[run], "validation", name));
      known_.insert(name);
    }
    known_.insert(measure.validation);
    if (needed) add(std::move(chart));
  }

  // Validation numbers that reports do not know by name: losses of classes of tokens together, the others one by one.
  void add_others() {
    known_.insert(left_out.begin(), left_out.end());
    std::vector<std::string> others, classes;
    for (const RunRecord& run : runs_) {
      for (const Event& event : run.events) {
        if (event.event != "validation") continue;
        for (const auto& [name, value] : event.values) {
          const bool number = std::holds_alternative<double>(value) || std::holds_alternative<std::int64_t>(value);
          if (!number || !known_.insert(name).second) continue;
          (name.starts_with(class_prefix) ? classes : others).push_back(name);
        }
      }
    }
    if (one_run() && !classes.empty()) {
      add_classes(classes);
    } else {
      others.insert(others.end(), classes.begin(), classes.end());
    }
    for (const std::string& name : others) {
      ReportChart chart;
      chart.title = name;
      chart.unit = name;
      chart.place = ReportChart::Place::folded;
      // Objectives measure the same of a step.
      for (std::size_t run = 0; run < runs_.size(); ++run)
        add_training(chart, run, curve_of(runs_[run], "train", name), true);
      for (std::size_t run = 0; run < runs_.size(); ++run)
        add_validation(chart, run, curve_of(runs_[run], "validation", name));
      add(std::move(chart));
    }
  }

  void add_classes(const std::vector<std::string>& names) {
    ReportChart chart;
    chart.title = "Validation loss by class of token";
    chart.unit = "nats per token";
    for (std::size_t i = 0; i < names.size(); ++i) {
      const Curve curve = curve_of(runs_[0], "validation", names[i]);
      if (!has_finite(curve)) continue;
      ChartSeries line = series(0, Kind::points, "", curve);
      line.label = names[i].substr(class_prefix.size());
      std::replace(line.label.begin(), line.label.end(), '_', ' ');
      line.color = line.dash = i;
      chart.series.push_back(std::move(line));
    }
    add(std::move(chart));
  }

  void add(ReportChart chart) {
    if (chart.series.empty()) return;
    chart.id = "chart" + std::to_string(charts_.size());
    charts_.push_back(std::move(chart));
  }

  const std::vector<RunRecord>& runs_;
  std::size_t columns_;
  double last_step_ = 0;
  std::set<std::string, std::less<>> known_{""};
  std::vector<ReportChart> charts_;
};

// At most `most` of the values, evenly taken, the last among them.
std::vector<double> evenly(const std::vector<double>& values, std::size_t most) {
  if (values.size() <= most) return values;
  std::vector<double> taken;
  for (std::size_t i = 0; i < most; ++i) taken.push_back(values[i * (values.size() - 1) / (most - 1)]);
  return taken;
}

}  // namespace

std::vector<ReportChart> make_charts(const std::vector<RunRecord>& runs, std::size_t columns) {
  return ChartMaker(runs, columns).make();
}

Curve curve_of(const RunRecord& run, std::string_view event, std::string_view key) {
  Curve curve;
  for (const Event& each : run.events) {
    if (each.event != event) continue;
    const auto found =
        std::find_if(each.values.begin(), each.values.end(), [&](const auto& value) { return value.first == key; });
    if (found == each.values.end()) continue;
    const double step = static_cast<double>(each.step), value = each.number(key);
    if (curve.empty() || step > curve.back().step) {
      curve.push_back({step, value});
    } else if (step == curve.back().step) {
      curve.back().value = value;
    }
  }
  return curve;
}

RunMarks marks_of(const RunRecord& run, std::size_t most) {
  RunMarks marks;
  for (const Event& event : run.events) {
    const double step = static_cast<double>(event.step);
    if (event.event == "resume") marks.resumed.push_back(step);
    if (event.event == "skipped") marks.skipped.push_back(step);
    if (event.event == "checkpoint") marks.saved.push_back(step);
  }
  return {evenly(marks.resumed, most), evenly(marks.skipped, most), evenly(marks.saved, most)};
}

RunClock clock_of(const RunRecord& run, std::size_t most) {
  RunClock clock{{0}, {0}, {0}};
  for (const Event& event : run.events) {
    const double step = static_cast<double>(event.step), tokens = static_cast<double>(event.tokens);
    if (event.event != "train" || step <= clock.steps.back()) continue;
    const double rate = event.number("tokens_per_second");
    const double seconds = rate > 0 && std::isfinite(rate) ? (tokens - clock.tokens.back()) / rate : 0;
    clock.seconds.push_back(clock.seconds.back() + std::max(seconds, 0.0));
    clock.steps.push_back(step);
    clock.tokens.push_back(tokens);
  }
  return {evenly(clock.steps, most), evenly(clock.tokens, most), evenly(clock.seconds, most)};
}

}  // namespace nll
