#include "src/report/chart_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/report/axis.h"
#include "src/report/markup.h"
#include "src/report/svg.h"

namespace nll {
namespace {

using Kind = ChartSeries::Kind;

// One size for all: small enough that its letters can be read on a phone.
constexpr double chart_width = 560, chart_height = 300;
constexpr PlotFrame chart_frame{74, chart_width - 14, 10, chart_height - 42};
constexpr std::size_t chart_columns = 300, most_dots = 40;

// Values on the vertical axis: linear, or by their logarithm to base 10.
class Scale {
 public:
  explicit Scale(const ReportChart& chart) : logarithmic_(chart.logarithmic) {
    std::vector<double> seen;
    for (const ChartSeries& series : chart.series) collect(series, seen);
    double low = 0, high = 1;
    if (!seen.empty()) {
      const auto [least, most] = std::minmax_element(seen.begin(), seen.end());
      low = *least;
      high = *most;
    }
    if (chart.from_zero && !logarithmic_ && low > 0) low = 0;
    axis_ = round_axis(low, high, 6, !logarithmic_, false);
  }

  bool shows(double value) const { return std::isfinite(value) && (!logarithmic_ || value > 0); }
  double at(double value) const { return chart_frame.y(axis_.share(transformed(value))); }

  // Where ticks are, and what they say.
  std::vector<std::pair<double, std::string>> ticks() const {
    std::vector<std::pair<double, std::string>> list;
    const auto add = [&](double value, const std::string& label) { list.emplace_back(at(value), label); };
    if (!logarithmic_) {
      for (const double tick : axis_.ticks) add(tick, axis_.label(tick));
      return list;
    }
    const bool fine = axis_.high - axis_.low < 2.5;  // decades
    for (double decade = std::floor(axis_.low); decade <= axis_.high; ++decade) {
      for (const double factor : {1.0, 2.0, 5.0}) {
        if (factor > 1 && !fine) continue;
        const double value = factor * std::pow(10.0, decade), place = std::log10(value);
        if (place >= axis_.low && place <= axis_.high) add(value, fmt::format("{:.6g}", value));
      }
    }
    return list;
  }

 private:
  double transformed(double value) const { return logarithmic_ ? std::log10(value) : value; }

  // What the axis must show of a curve: of a raw one all but the highest 2 %, so that one spike does not flatten it.
  void collect(const ChartSeries& series, std::vector<double>& seen) const {
    std::vector<double> values;
    for (const Point& point : series.curve) {
      if (shows(point.value)) values.push_back(transformed(point.value));
    }
    if (values.empty()) return;
    std::sort(values.begin(), values.end());
    const bool spiky = series.kind == Kind::raw && values.size() > 50;
    seen.push_back(values.front());
    seen.push_back(spiky ? values[(values.size() - 1) * 98 / 100] : values.back());
  }

  bool logarithmic_;
  Axis axis_;
};

double at_x(const Axis& axis, double step) { return chart_frame.x(axis.share(step)); }

std::string classes(const ChartSeries& series) { return fmt::format("c{} d{}", series.color % 7, series.dash % 5); }

void draw_curve(std::string& svg, const ChartSeries& series, const Axis& x, const Scale& y) {
  std::string path;
  bool open = false;
  for (const Point& point : thin(series.curve, x.low, x.high, chart_columns)) {
    if (!y.shows(point.value)) {
      open = false;
      continue;
    }
    path += fmt::format("{}{:.1f} {:.1f}", open ? 'L' : 'M', at_x(x, point.step),
                        std::clamp(y.at(point.value), chart_frame.top - 100, chart_frame.bottom + 100));
    open = true;
  }
  if (path.empty()) return;
  svg += fmt::format("<path class=\"curve {}{}\" d=\"{}\"/>\n", classes(series), series.kind == Kind::raw ? " raw" : "",
                     path);
  if (series.kind != Kind::points) return;
  const std::size_t every = series.curve.size() / most_dots + 1;
  for (std::size_t i = (series.curve.size() - 1) % every; i < series.curve.size(); i += every) {
    const Point& point = series.curve[i];
    if (!y.shows(point.value)) continue;
    svg += fmt::format("<circle class=\"dot c{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"/>\n", series.color % 7,
                       at_x(x, point.step), y.at(point.value));
  }
}

void draw_marks(std::string& svg, const RunMarks& marks, const std::string& color, const Axis& x) {
  const auto draw = [&](const std::vector<double>& steps, const char* dash, const auto& shape) {
    for (const double step : steps) {
      svg += fmt::format("<path class=\"mark {}{}\" d=\"{}\"/>\n", color, dash, shape(at_x(x, step)));
    }
  };
  draw(marks.resumed, " d2",
       [](double at) { return fmt::format("M{:.1f} {}V{}", at, chart_frame.top, chart_frame.bottom); });
  draw(marks.skipped, "",
       [](double at) { return fmt::format("M{:.1f} {}l8 8m0 -8l-8 8", at - 4, chart_frame.top + 2); });
  draw(marks.saved, "", [](double at) { return fmt::format("M{:.1f} {}v-6", at, chart_frame.bottom); });
}

}  // namespace

std::string chart_svg(const ReportChart& chart, const std::vector<RunMarks>& marks) {
  double last = 0;
  for (const ChartSeries& series : chart.series) {
    if (!series.curve.empty()) last = std::max(last, series.curve.back().step);
  }
  const Axis x = round_axis(0, last, 6, false, true);
  const Scale y(chart);
  std::string svg =
      fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">\n", chart_width, chart_height,
                  html_text(fmt::format("{}, {}, over optimizer steps", chart.title, chart.unit)));
  const auto text = [&](double at_left, double at_top, const char* anchor, const std::string& words) {
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", at_left, at_top, anchor,
                       html_text(words));
  };
  for (const auto& [place, label] : y.ticks()) {
    svg += fmt::format("<path class=\"grid\" d=\"M{} {:.1f}H{}\"/>\n", chart_frame.left, place, chart_frame.right);
    text(chart_frame.left - 8, place + 4, "end", label);
  }
  for (const double tick : x.ticks) {
    const double place = at_x(x, tick);
    svg += fmt::format("<path class=\"grid\" d=\"M{:.1f} {}V{}\"/>\n", place, chart_frame.top, chart_frame.bottom);
    const bool at_end = place > chart_frame.right - 16;
    text(at_end ? chart_frame.right + 8 : place, chart_frame.bottom + 17, at_end ? "end" : "middle", x.label(tick));
  }
  svg +=
      fmt::format("<path class=\"axis\" d=\"M{} {}H{}\"/>\n", chart_frame.left, chart_frame.bottom, chart_frame.right);
  text(chart_frame.middle_x(), chart_height - 6, "middle", "optimizer step");
  svg += fmt::format("<text transform=\"translate(12 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
                     chart_frame.middle_y(), html_text(chart.unit));
  const std::string clip = "still-" + chart.id;
  svg += fmt::format("<clipPath id=\"{}\"><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/></clipPath>\n", clip,
                     chart_frame.left - 3, chart_frame.top - 4, chart_frame.width() + 6, chart_frame.height() + 8);
  for (std::size_t run = 0; run < marks.size(); ++run) {
    draw_marks(svg, marks[run], fmt::format("c{}", marks.size() > 1 ? run % 7 : 6), x);
  }
  svg += fmt::format("<g clip-path=\"url(#{})\">\n", clip);
  for (const ChartSeries& series : chart.series) draw_curve(svg, series, x, y);
  return svg + "</g>\n</svg>\n";
}

std::string swatch_svg(const ChartSeries& series) {
  std::string svg = fmt::format(
      "<svg width=\"30\" height=\"10\" viewBox=\"0 0 30 10\" aria-hidden=\"true\"><path class=\"curve {}{}\" "
      "d=\"M0 5H30\"/>",
      classes(series), series.kind == Kind::raw ? " raw" : "");
  if (series.kind == Kind::points) {
    svg += fmt::format("<circle class=\"dot c{}\" cx=\"15\" cy=\"5\" r=\"3.5\"/>", series.color % 7);
  }
  return svg + "</svg>";
}

}  // namespace nll
