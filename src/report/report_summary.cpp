#include "src/report/report_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "src/report/console.h"
#include "src/report/markup.h"
#include "src/report/report_chart.h"

namespace nll {
namespace {

std::int64_t last_step(const RunRecord& run) {
  std::int64_t step = 0;
  for (const Event& event : run.events) step = std::max(step, event.step);
  return step;
}

std::int64_t count_events(const RunRecord& run, std::string_view name) {
  return std::count_if(run.events.begin(), run.events.end(), [&](const Event& event) { return event.event == name; });
}

std::string config_value(const RunRecord& run, std::string_view key) {
  for (const auto& [name, value] : run.config) {
    if (name == key) return value;
  }
  return {};
}

double median(Curve curve) {
  std::erase_if(curve, [](const Point& point) { return !std::isfinite(point.value); });
  if (curve.empty()) return std::nan("");
  const auto middle = curve.begin() + static_cast<std::ptrdiff_t>(curve.size() / 2);
  std::nth_element(curve.begin(), middle, curve.end(),
                   [](const Point& a, const Point& b) { return a.value < b.value; });
  return middle->value;
}

}  // namespace

std::string run_status(const RunRecord& run) {
  const std::int64_t step = last_step(run);
  const std::string steps = config_value(run, "schedule.steps");
  const std::string of = steps.empty() ? "" : " of " + steps;
  const bool ended = !run.events.empty() && run.events.back().event == "end";
  if (ended && (steps.empty() || steps == std::to_string(step))) return fmt::format("finished at step {}", step);
  return fmt::format("{} at step {}{}", ended ? "stopped" : "interrupted or still running,", step, of);
}

std::vector<SummaryRow> summary_rows(const RunRecord& run) {
  std::vector<SummaryRow> rows;
  const auto add = [&](const char* name, double value, const char* form, std::string note = {}) {
    if (std::isfinite(value)) rows.push_back({name, fmt::format(fmt::runtime(form), value), std::move(note)});
  };
  if (const Event* validation = last_event(run, "validation")) {
    const std::string at = fmt::format("at step {}", validation->step);
    add("validation loss", validation->number("loss"), "{:.4f}",
        (learns_from_records(run) ? "" : "nats per token, ") + at);
    add("held-out reward", validation->number("reward"), "{:.4f}", at);
    add("preferences in the right order", 100 * validation->number("rewards/accuracies"), "{:.1f} %", at);
    Curve losses = curve_of(run, "validation", "loss");
    std::erase_if(losses, [](const Point& point) { return !std::isfinite(point.value); });
    const auto best = std::min_element(losses.begin(), losses.end(),
                                       [](const Point& a, const Point& b) { return a.value < b.value; });
    if (best != losses.end())
      add("best validation loss", best->value, "{:.4f}", fmt::format("at step {:.0f}", best->step));
    add("perplexity", validation->number("perplexity"), "{:.2f}", at);
    add("bits per byte", validation->number("bits_per_byte"), "{:.4f}", at);
    add("accuracy", 100 * validation->number("accuracy"), "{:.1f} %", at);
    add("calibration error", validation->number("ece"), "{:.4f}", "ECE, 15 bins, " + at);
  }
  if (const Event* train = last_event(run, "train")) {
    const double nll = train->number("nll");
    const bool language = std::isfinite(nll) && !std::isfinite(train->number("mean_token_accuracy"));
    add("training loss", language ? nll : train->number("loss"), "{:.4f}", fmt::format("at step {}", train->step));
    rows.push_back(
        {"training tokens", human_count(static_cast<double>(train->tokens)), fmt::format("in {} steps", train->step)});
    const RunClock clock = clock_of(run, 2);
    rows.push_back({"training time", human_seconds(clock.seconds.back()), "validation and saving left out"});
    const double rate = median(curve_of(run, "train", "tokens_per_second"));
    if (std::isfinite(rate)) rows.push_back({"throughput", human_count(rate), "tokens per second, median"});
  }
  for (const char* name : {"resume", "start"}) {
    const Event* event = last_event(run, name);
    if (event == nullptr || !std::isfinite(event->number("parameters"))) continue;
    rows.push_back({"parameters", human_count(event->number("parameters")), {}});
    break;
  }
  rows.push_back({"interruptions", fmt::format("{}", count_events(run, "resume")), "resumed from a checkpoint"});
  rows.push_back({"skipped steps", fmt::format("{}", count_events(run, "skipped")), "loss or gradient not finite"});
  return rows;
}

std::string summary_html(const std::vector<RunRecord>& runs) {
  std::string html;
  if (runs.size() == 1) {
    html = "<dl class=\"tiles\">\n";
    for (const SummaryRow& row : summary_rows(runs[0])) {
      html += fmt::format("<div><dt>{}</dt><dd>{}{}</dd></div>\n", html_text(row.name), html_text(row.value),
                          row.note.empty() ? "" : fmt::format("<div class=\"note\">{}</div>", html_text(row.note)));
    }
    return html + "</dl>\n";
  }
  std::vector<std::vector<SummaryRow>> all;
  std::vector<std::string> names;  // of rows, as they come
  html = "<div class=\"wide\"><table><thead><tr><th>run</th>";
  for (const RunRecord& run : runs) {
    html += fmt::format("<th class=\"value\">{}</th>", html_text(run.name));
    all.push_back(summary_rows(run));
    for (const SummaryRow& row : all.back()) {
      if (std::find(names.begin(), names.end(), row.name) == names.end()) names.push_back(row.name);
    }
  }
  html += "</tr></thead><tbody>\n<tr><th>state</th>";
  for (const RunRecord& run : runs)
    html += fmt::format("<td class=\"value words\">{}</td>", html_text(run_status(run)));
  html += "</tr>\n";
  for (const std::string& name : names) {
    html += fmt::format("<tr><th>{}</th>", html_text(name));
    for (const std::vector<SummaryRow>& rows : all) {
      const auto row =
          std::find_if(rows.begin(), rows.end(), [&](const SummaryRow& candidate) { return candidate.name == name; });
      html += fmt::format("<td class=\"value\">{}</td>", row == rows.end() ? "" : html_text(row->value));
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace nll
