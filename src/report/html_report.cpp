#include "src/report/html_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "src/report/chart_svg.h"
#include "src/report/markup.h"
#include "src/report/reliability.h"
#include "src/report/report_chart.h"
#include "src/report/report_summary.h"
#include "src/report/report_tables.h"

namespace nll {
namespace {

// A page of many runs stays small: this many parts of the axis, divided among them.
constexpr std::size_t most_columns = 1200, least_columns = 60, columns_of_all_runs = 3600;
constexpr std::size_t most_marks = 200, most_clock_knots = 500;
constexpr std::string_view generator = "<meta name=\"generator\" content=\"nll report\"/>";

template <class Number>
std::string number_list(const std::vector<Number>& values, const auto& write) {
  std::string json = "[";
  for (const Number& value : values) {
    if (json.size() > 1) json += ',';
    json += write(value);
  }
  return json + "]";
}

std::string whole(double value) { return fmt::format("{:.0f}", value); }

// What the page's script draws from.
std::string script_data(const std::vector<RunRecord>& runs, const std::vector<RunMarks>& marks,
                        const std::vector<ReportChart>& charts) {
  std::string json = "{\"runs\":[";
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const RunClock clock = clock_of(runs[i], most_clock_knots);
    json += fmt::format(
        "{}{{\"name\":{},\"clock\":{{\"step\":{},\"tokens\":{},\"seconds\":{}}},"
        "\"marks\":{{\"resume\":{},\"skipped\":{},\"checkpoint\":{}}}}}",
        i == 0 ? "" : ",\n", script_text(runs[i].name), number_list(clock.steps, whole),
        number_list(clock.tokens, whole), number_list(clock.seconds, script_number),
        number_list(marks[i].resumed, whole), number_list(marks[i].skipped, whole), number_list(marks[i].saved, whole));
  }
  json += "],\n\"charts\":[";
  for (const ReportChart& chart : charts) {
    json += fmt::format("{}{{\"id\":{},\"title\":{},\"unit\":{},\"log\":{},\"zero\":{},\"series\":[",
                        &chart == &charts.front() ? "" : ",\n", script_text(chart.id), script_text(chart.title),
                        script_text(chart.unit), chart.logarithmic, chart.from_zero);
    for (const ChartSeries& series : chart.series) {
      constexpr const char* kinds[] = {"raw", "line", "points"};
      json += fmt::format("{}{{\"run\":{},\"kind\":\"{}\",\"color\":{},\"dash\":{},\"listed\":{},\"x\":{},\"y\":{}}}",
                          &series == &chart.series.front() ? "" : ",\n", series.run,
                          kinds[static_cast<int>(series.kind)], series.color, series.dash, series.listed,
                          number_list(series.curve, [](const Point& point) { return whole(point.step); }),
                          number_list(series.curve, [](const Point& point) { return script_number(point.value); }));
    }
    json += "]}";
  }
  return json + "]}";
}

// As the script writes values beside the legend.
std::string shown_number(double value) {
  const double size = std::abs(value);
  if (!std::isfinite(value)) return "none";
  if (size >= 1e5) return fmt::format("{:.4g}", value);
  if (size > 0 && size < 1e-3) return fmt::format("{:.2e}", value);
  return fmt::format("{:.{}f}", value, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 4);
}

std::string figure(const ReportChart& chart, const std::vector<RunMarks>& marks) {
  std::string legend;
  for (const ChartSeries& series : chart.series) {
    if (!series.listed) continue;
    legend +=
        fmt::format("<li>{}{} <b>{}</b></li>", swatch_svg(series), html_text(series.label), shown_number(series.last));
  }
  return fmt::format(
      "<figure class=\"chart{}\" id=\"{}\"><div class=\"head\"><h3>{}</h3></div><ul class=\"legend\">{}</ul>\n"
      "<div class=\"plot\">{}</div><p class=\"readout\" aria-live=\"polite\"></p></figure>\n",
      chart.place == ReportChart::Place::main ? " main" : "", chart.id, html_text(chart.title), legend,
      chart_svg(chart, marks));
}

std::string figures(const std::vector<ReportChart>& charts, const std::vector<RunMarks>& marks, bool folded) {
  std::string html;
  for (const ReportChart& chart : charts) {
    if ((chart.place == ReportChart::Place::folded) == folded) html += figure(chart, marks);
  }
  return html.empty() ? html : "<div class=\"charts\">\n" + html + "</div>\n";
}

std::string button(const char* name, const std::string& value, bool pressed, const std::string& label) {
  return fmt::format("<button type=\"button\" data-{}=\"{}\" aria-pressed=\"{}\">{}</button>", name, value, pressed,
                     html_text(label));
}

std::string controls(const std::vector<RunRecord>& runs) {
  std::string html = "<div class=\"controls\"><fieldset><legend>x axis</legend>";
  html += button("axis", "step", true, "steps") + button("axis", "tokens", false, "tokens") +
          button("axis", "seconds", false, "time");
  html += "</fieldset><fieldset><legend>scale</legend>";
  html += button("scale", "linear", true, "linear") + button("scale", "log", false, "log") + "</fieldset>";
  if (runs.size() > 1) {
    html += "<fieldset class=\"pick\"><legend>runs</legend>";
    for (std::size_t i = 0; i < runs.size(); ++i) html += button("run", std::to_string(i), true, runs[i].name);
    html += "</fieldset>";
  }
  return html +
         "<button type=\"button\" id=\"whole\" hidden=\"hidden\">whole axis</button>"
         "<span class=\"hint\">drag to zoom, double-click for the whole</span></div>\n";
}

std::string section(const char* title, const std::string& content) {
  return content.empty() ? content : fmt::format("<section><h2>{}</h2>\n{}</section>\n", title, content);
}

std::string calibration(const std::vector<RunRecord>& runs) {
  std::vector<Reliability> found;
  std::vector<std::string> names;
  for (const RunRecord& run : runs) {
    found.push_back(last_reliability(run));
    names.push_back(runs.size() > 1 ? run.name : "last validation");
  }
  const std::string figure = reliability_figure(found, names);
  if (figure.empty()) return figure;
  return "<div class=\"reliability\">\n" + figure +
         "<div><p>A model is calibrated when it is right as often as it is sure: of the tokens it predicts with a "
         "confidence of 0.7, it should get 70 % right. Above the dotted diagonal it is less sure than it could be, "
         "below it is too sure. The bars are 95 % intervals (Wilson); below is the share of all tokens in each bin."
         "</p>\n" +
         reliability_tables(found, names) + "</div></div>\n";
}

}  // namespace

std::string html_report(const std::vector<RunRecord>& runs, const ConfigKeys& defaults) {
  const std::size_t columns =
      std::clamp(columns_of_all_runs / std::max<std::size_t>(runs.size(), 1), least_columns, most_columns);
  const std::vector<ReportChart> charts = make_charts(runs, columns);
  std::vector<RunMarks> marks;
  std::string title;
  bool marked = false;
  for (const RunRecord& run : runs) {
    marks.push_back(marks_of(run, most_marks));
    if (runs.size() > 1) marks.back().saved.clear();  // of several runs they would be a second set of ticks
    marked = marked || !marks.back().resumed.empty() || !marks.back().skipped.empty() || !marks.back().saved.empty();
    title += (title.empty() ? "" : ", ") + run.name;
  }

  std::string html =
      "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\" class=\"unscripted\">\n";
  html += fmt::format(
      "<head>\n<meta charset=\"utf-8\"/>\n{}\n<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\"/>\n<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>{} - nll report</title>\n"
      "<link rel=\"icon\" href=\"data:,\"/>\n<style>\n{}</style>\n</head>\n<body>\n",
      generator, html_text(title), report_style);
  html += fmt::format("<header><h1>{}</h1>\n", html_text(title));
  if (runs.size() == 1) {
    html += fmt::format("<p class=\"lead\">{}: {}</p>\n", html_text(runs[0].folder), html_text(run_status(runs[0])));
  }
  html += "</header>\n" + (runs.size() == 1 ? summary_html(runs) : section("Summary", summary_html(runs)));

  std::string curves = figures(charts, marks, false);
  if (curves.empty()) {
    curves = "<p>The runs have reported no training step yet.</p>\n";
  } else {
    curves = controls(runs) + curves;
    if (marked) {
      curves +=
          fmt::format("<p class=\"soft\">Dotted upright lines are resumes, crosses at the top skipped steps{}.</p>\n",
                      runs.size() > 1 ? "" : ", small ticks on the axis checkpoints");
    }
  }
  html += section("Curves", curves);
  if (const std::string more = figures(charts, marks, true); !more.empty()) {
    html += "<details><summary>More measures</summary>\n" + more + "</details>\n";
  }
  html += section("Calibration", calibration(runs));
  html += section("Samples over time", samples_html(runs));
  html += section("Config", config_html(runs, defaults));
  html += section("Machine and data", machine_html(runs));
  html += section("What happened", happenings_html(runs));
  html +=
      "<footer>Made by nll report out of metrics.jsonl. Curves keep the lowest and the highest value of each part "
      "of the axis; time is that of training, without validation and saving.</footer>\n";
  // Nothing in the data can close the element: script_text escapes what could.
  html += "<script type=\"application/json\" id=\"data\">" + script_data(runs, marks, charts) + "</script>\n";
  html += "<script>\n//<![CDATA[\n\"use strict\";\n(() => {\n";
  for (const char* part : {report_script_axes, report_script_draw, report_script_use}) html += part;
  html += "})();\n//]]>\n</script>\n</body>\n</html>\n";
  return html;
}

bool is_html_report(std::string_view content) { return content.substr(0, 1000).find(generator) != content.npos; }

}  // namespace nll
