// write_scaling_plot.
//
//   title
//   loss over compute: points are runs, a color each size; lines are the law for it; dashed, with a band: the best of
//   all sizes                                                        legend at the right
#include "src/report/scaling_plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "src/report/file.h"
#include "src/report/markup.h"
#include "src/report/svg.h"
#include "src/report/utf8.h"

namespace nll {
namespace {

constexpr PlotFrame scaling_frame{78, page_width - 190, 60, page_height - 60};
constexpr std::size_t colors = 7, listed = 18;  // entries that the legend has room for

constexpr const char* scaling_style = R"(<style>
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif; font-size: 13px; fill: #57606a }
.page { fill: #ffffff }
.title { font-size: 18px; font-weight: 600; fill: #1f2328 }
.grid { stroke: #d8dee4; stroke-width: 1 }
.frame { stroke: #8c959f; stroke-width: 1 }
.curve { fill: none; stroke-width: 1.8 }
.best { fill: none; stroke: #1f2328; stroke-width: 2; stroke-dasharray: 8 5 }
.band { fill: #8c959f; fill-opacity: 0.22 }
.dot { stroke: #ffffff; stroke-width: 1 }
.l0 { stroke: #0072b2 } .l1 { stroke: #c9510c } .l2 { stroke: #00805f } .l3 { stroke: #b3508b } .l4 { stroke: #9a6700 } .l5 { stroke: #2f87bd } .l6 { stroke: #59636e }
.f0 { fill: #0072b2 } .f1 { fill: #c9510c } .f2 { fill: #00805f } .f3 { fill: #b3508b } .f4 { fill: #9a6700 } .f5 { fill: #2f87bd } .f6 { fill: #59636e }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 }
.page { fill: #0d1117 }
.title { fill: #f0f6fc }
.grid { stroke: #262c36 }
.frame { stroke: #656c76 }
.best { stroke: #f0f6fc }
.dot { stroke: #0d1117 }
.l0 { stroke: #58a6ff } .l1 { stroke: #ff8f4a } .l2 { stroke: #3fc59a } .l3 { stroke: #e592c1 } .l4 { stroke: #e3b341 } .l5 { stroke: #9ad7ff } .l6 { stroke: #b7bdc8 }
.f0 { fill: #58a6ff } .f1 { fill: #ff8f4a } .f2 { fill: #3fc59a } .f3 { fill: #e592c1 } .f4 { fill: #e3b341 } .f5 { fill: #9ad7ff } .f6 { fill: #b7bdc8 }
}
</style>
)";

// Values by their logarithm, with a little room at both ends.
class LogScale {
 public:
  LogScale(double from, double to) : from_(from), to_(to) {}
  void see(double value) {
    if (!(value > 0) || !std::isfinite(value)) return;
    low_ = std::min(low_, std::log10(value));
    high_ = std::max(high_, std::log10(value));
  }
  void close() {
    if (low_ > high_) low_ = 0, high_ = 1;
    const double room = std::max(0.04 * (high_ - low_), 0.01);
    low_ -= room;
    high_ += room;
  }
  bool shows(double value) const { return value > 0 && std::isfinite(value); }
  double at(double value) const {
    const double share = (std::log10(value) - low_) / (high_ - low_);
    return from_ + (to_ - from_) * std::clamp(share, -1.0, 2.0);
  }
  // Powers of ten; between them round numbers where there are few.
  std::vector<double> ticks() const {
    std::vector<double> list;
    for (const std::vector<int>& tenths :
         {std::vector<int>{10}, std::vector<int>{10, 20, 50}, std::vector<int>{10, 15, 20, 30, 40, 50, 60, 80}}) {
      list.clear();
      for (double decade = std::floor(low_); decade <= high_; ++decade) {
        for (const int tenth : tenths) {
          const double value = tenth * std::pow(10.0, decade - 1), place = std::log10(value);
          if (place >= low_ && place <= high_) list.push_back(value);
        }
      }
      if (list.size() >= 4) return list;
    }
    // Less than a decade: equal steps.
    list.clear();
    const double from = std::pow(10.0, low_), to = std::pow(10.0, high_);
    double step = std::pow(10.0, std::floor(std::log10((to - from) / 4)));
    while ((to - from) / step > 9) step *= 2;
    for (double value = std::ceil(from / step) * step; value <= to; value += step) list.push_back(value);
    return list;
  }

 private:
  double from_, to_;
  double low_ = std::numeric_limits<double>::infinity(), high_ = -std::numeric_limits<double>::infinity();
};

// A path through the points that can be shown.
template <class Points, class Value>
std::string path_through(const Points& points, const LogScale& x, const LogScale& y, const Value& value) {
  std::string path;
  for (const auto& point : points) {
    if (x.shows(point.compute) && y.shows(value(point)))
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? 'M' : 'L', x.at(point.compute), y.at(value(point)));
  }
  return path;
}

void draw_axes(std::string& svg, const LogScale& x, const LogScale& y) {
  for (const double tick : y.ticks()) {
    draw_line(svg, "grid", scaling_frame.left, y.at(tick), scaling_frame.right, y.at(tick));
    draw_text(svg, "tick", scaling_frame.left - 9, y.at(tick) + 4.5, "end", fmt::format("{:.4g}", tick));
  }
  double last = -100;
  for (const double tick : x.ticks()) {
    draw_line(svg, "grid", x.at(tick), scaling_frame.top, x.at(tick), scaling_frame.bottom);
    if (x.at(tick) - last < 46) continue;
    last = x.at(tick);
    draw_text(svg, "tick", last, scaling_frame.bottom + 20, "middle", fmt::format("{:.2g}", tick));
  }
  draw_line(svg, "frame", scaling_frame.left, scaling_frame.bottom, scaling_frame.right, scaling_frame.bottom);
  draw_line(svg, "frame", scaling_frame.left, scaling_frame.top, scaling_frame.left, scaling_frame.bottom);
  draw_text(svg, "axis", scaling_frame.middle_x(), scaling_frame.bottom + 44, "middle",
            "training compute 6 N D, FLOPs");
  svg += fmt::format(
      "<text class=\"axis\" text-anchor=\"middle\" transform=\"translate(20 {:.1f}) rotate(-90)\">loss on held-out "
      "text, nats per token</text>\n",
      scaling_frame.middle_y());
}

void draw_best(std::string& svg, const ScalingPlot& plot, const LogScale& x, const LogScale& y) {
  if (plot.best.empty()) return;
  std::vector<ScalingPlot::Best> back(plot.best.rbegin(), plot.best.rend());
  const std::string upper = path_through(plot.best, x, y, [](const auto& b) { return b.high; });
  std::string lower = path_through(back, x, y, [](const auto& b) { return b.low; });
  if (!upper.empty() && !lower.empty()) {
    lower.front() = 'L';
    svg += fmt::format("<path class=\"band\" d=\"{}{}Z\"><title>95 % of resamples</title></path>\n", upper, lower);
  }
  svg += fmt::format("<path class=\"best\" d=\"{}\"/>\n",
                     path_through(plot.best, x, y, [](const auto& b) { return b.loss; }));
}

void draw_series(std::string& svg, const ScalingSeries& series, std::size_t color, const LogScale& x,
                 const LogScale& y) {
  const std::string path = path_through(series.fitted, x, y, [](const ScalingPoint& p) { return p.loss; });
  if (!path.empty()) svg += fmt::format("<path class=\"curve l{}\" d=\"{}\"/>\n", color, path);
  for (const ScalingPoint& run : series.runs) {
    if (!x.shows(run.compute) || !y.shows(run.loss)) continue;
    svg += fmt::format(
        "<circle class=\"dot f{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\"><title>{}: loss {:.4f}, {:.3g} "
        "FLOPs</title></circle>\n",
        color, x.at(run.compute), y.at(run.loss), html_text(run.name), run.loss, run.compute);
  }
}

void draw_legend(std::string& svg, const ScalingPlot& plot) {
  double y = scaling_frame.top + 14;
  const double x = scaling_frame.right + 18;
  for (std::size_t i = 0; i < std::min(plot.series.size(), listed); ++i, y += 22) {
    draw_line(svg, fmt::format("curve l{}", i % colors).c_str(), x, y - 4.5, x + 26, y - 4.5);
    svg +=
        fmt::format("<circle class=\"dot f{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\"/>\n", i % colors, x + 13, y - 4.5);
    draw_text(svg, "legend", x + 34, y, "start", cut_to_columns(plot.series[i].label, 18));
  }
  if (plot.series.size() > listed) {
    draw_text(svg, "legend", x + 34, y, "start", fmt::format("and {} more", plot.series.size() - listed));
    y += 22;
  }
  if (plot.best.empty()) return;
  draw_line(svg, "best", x, y - 4.5, x + 26, y - 4.5);
  draw_text(svg, "legend", x + 34, y, "start", "best N for it, 95 %");
}

}  // namespace

void write_scaling_plot(const ScalingPlot& plot, const std::string& path) {
  LogScale x(scaling_frame.left, scaling_frame.right), y(scaling_frame.bottom, scaling_frame.top);
  for (const ScalingSeries& series : plot.series) {
    for (const std::vector<ScalingPoint>* points : {&series.runs, &series.fitted}) {
      for (const ScalingPoint& point : *points) {
        x.see(point.compute);
        y.see(point.loss);
      }
    }
  }
  for (const ScalingPlot::Best& best : plot.best) y.see(best.loss);
  x.close();
  y.close();
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "role=\"img\">\n<title>{2}</title>\n",
      page_width, page_height, html_text(plot.title));
  svg += scaling_style;
  svg += fmt::format(
      "<clipPath id=\"panel\"><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/></clipPath>\n",
      scaling_frame.left - 1, scaling_frame.top - 6, scaling_frame.width() + 7, scaling_frame.height() + 7);
  svg += fmt::format("<rect class=\"page\" width=\"{:.0f}\" height=\"{:.0f}\" rx=\"8\"/>\n", page_width, page_height);
  draw_text(svg, "title", scaling_frame.left, 32, "start", cut_to_columns(plot.title, 90));
  draw_axes(svg, x, y);
  svg += "<g clip-path=\"url(#panel)\">\n";
  draw_best(svg, plot, x, y);
  for (std::size_t i = 0; i < plot.series.size(); ++i) draw_series(svg, plot.series[i], i % colors, x, y);
  svg += "</g>\n";
  draw_legend(svg, plot);
  replace_file(path, svg + "</svg>\n");
}

}  // namespace nll
