// write_loss_plot: the loss over the steps as one SVG file.
//
//   title                                       legend
//   loss panel: every training loss thin, their smoothed course bold, validation as points with the last one's number
//   learning rate panel
//   steps
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "src/report/axis.h"
#include "src/report/curve.h"
#include "src/report/file.h"
#include "src/report/markup.h"
#include "src/report/metrics_file.h"
#include "src/report/svg.h"
#include "src/report/utf8.h"

namespace nll {
namespace {

constexpr PlotFrame loss_frame{72, page_width - 118, 76, page_height - 56};
constexpr double rate_height = 78, gap = 30;  // the learning rate panel and the space above it

// Classes and no variables, so that simple renderers show the light colors at least.
constexpr const char* loss_style = R"(<style>
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif; font-size: 13px; fill: #57606a }
.page { fill: #ffffff }
.title { font-size: 18px; font-weight: 600; fill: #1f2328 }
.grid { stroke: #d8dee4; stroke-width: 1 }
.frame { stroke: #8c959f; stroke-width: 1 }
.raw, .smooth, .held, .rate { fill: none; stroke-linejoin: round; stroke-linecap: round }
.raw { stroke: #0969da; stroke-width: 1; stroke-opacity: 0.3 }
.smooth { stroke: #0969da; stroke-width: 2.2 }
.held { stroke: #d4500c; stroke-width: 1.6 }
.rate { stroke: #7a828e; stroke-width: 1.8 }
.point { fill: #d4500c; stroke: #ffffff; stroke-width: 1.2 }
.value { fill: #d4500c; font-size: 14px; font-weight: 600 }
.remark { fill: #d4500c }
.note { font-size: 15px }
@media (prefers-color-scheme: dark) {
text { fill: #9198a1 }
.page { fill: #0d1117 }
.title { fill: #f0f6fc }
.grid { stroke: #262c36 }
.frame { stroke: #656c76 }
.raw { stroke: #58a6ff; stroke-opacity: 0.35 }
.smooth { stroke: #58a6ff }
.held { stroke: #f0883e }
.rate { stroke: #9198a1 }
.point { fill: #f0883e; stroke: #0d1117 }
.value, .remark { fill: #f0883e }
}
</style>
)";

struct Panel {
  PlotFrame frame;
  Axis x, y;

  double at_x(double step) const { return frame.x(x.share(step)); }
  double at_y(double value) const { return frame.y(y.share(value)); }
};

// Grid, frame and the numbers at the left; those of the steps below the lowest panel only.
void draw_panel(std::string& svg, const Panel& panel, const std::string& name, bool with_steps) {
  for (const double tick : panel.y.ticks) {
    const double y = panel.at_y(tick);
    if (y < panel.frame.bottom - 0.5) draw_line(svg, "grid", panel.frame.left, y, panel.frame.right, y);
    draw_text(svg, "tick", panel.frame.left - 10, y + 4.5, "end", panel.y.label(tick));
  }
  for (const double tick : panel.x.ticks) {
    const double x = panel.at_x(tick);
    draw_line(svg, "grid", x, panel.frame.top, x, panel.frame.bottom);
    if (with_steps) draw_text(svg, "tick", x, panel.frame.bottom + 20, "middle", panel.x.label(tick));
  }
  draw_line(svg, "frame", panel.frame.left, panel.frame.bottom, panel.frame.right, panel.frame.bottom);
  const double middle = panel.frame.middle_y();
  svg += fmt::format(
      "<text class=\"axis\" x=\"0\" y=\"0\" text-anchor=\"middle\" transform=\"translate(20 {:.1f}) rotate(-90)\">"
      "{}</text>\n",
      middle, name);
  if (with_steps) draw_text(svg, "axis", panel.frame.middle_x(), panel.frame.bottom + 42, "middle", "optimizer step");
}

// One path; a value that is not finite interrupts it, a lone value becomes a dot of the line's width.
void draw_curve(std::string& svg, const char* classes, const Panel& panel, const Curve& curve) {
  std::string path;
  const Curve thinned = thin(curve, panel.x.low, panel.x.high, static_cast<std::size_t>(panel.frame.width()));
  bool pen_down = false;
  for (std::size_t i = 0; i < thinned.size(); ++i) {
    if (!std::isfinite(thinned[i].value)) {
      pen_down = false;
      continue;
    }
    // Far outside of the panel is outside: huge coordinates upset renderers.
    const double y = std::clamp(panel.at_y(thinned[i].value), -10000.0, 10000.0);
    const bool alone = !pen_down && (i + 1 == thinned.size() || !std::isfinite(thinned[i + 1].value));
    path += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", panel.at_x(thinned[i].step), y);
    if (alone) path += "h0.1";
    pen_down = true;
  }
  if (path.empty()) return;
  svg += fmt::format("<path class=\"{}\" clip-path=\"url(#{})\" d=\"{}\"/>\n", classes,
                     panel.frame.top == loss_frame.top ? "upper" : "lower", path);
}

void draw_validation(std::string& svg, const Panel& panel, const Curve& held, const Event& last) {
  draw_curve(svg, "held", panel, held);
  const bool crowded = held.size() > 60;
  const Point* newest = nullptr;
  for (std::size_t i = 0; i < held.size(); ++i) {
    if (!std::isfinite(held[i].value)) continue;
    newest = &held[i];
    if (crowded) continue;
    svg += fmt::format("<circle class=\"point\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"/>\n", panel.at_x(held[i].step),
                       panel.at_y(held[i].value));
  }
  if (newest == nullptr) return;
  const double x = panel.at_x(newest->step), y = panel.at_y(newest->value);
  if (crowded) svg += fmt::format("<circle class=\"point\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"/>\n", x, y);
  const double text_y = std::clamp(y, panel.frame.top + 8, panel.frame.bottom - 26);
  draw_text(
      svg, "value", x + 11, text_y + 5, "start",
      std::abs(newest->value) < 1e5 ? fmt::format("{:.4f}", newest->value) : fmt::format("{:.3g}", newest->value));
  const double bits = last.number("bits_per_byte");
  if (std::isfinite(bits)) {
    draw_text(svg, "remark", x + 11, text_y + 22, "start", fmt::format("{:.3f} bits/byte", bits));
  }
}

// From the right: each entry is a stroke of its curve and a name.
void draw_legend(std::string& svg, const std::vector<std::pair<const char*, std::string>>& entries) {
  double x = loss_frame.right;
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    draw_text(svg, "legend", x, loss_frame.top - 18, "end", entry->second);
    // The width of a text is known to the renderer only; 7 px a letter is room enough in the fonts above.
    x -= 7.0 * static_cast<double>(entry->second.size()) + 8;
    draw_line(svg, entry->first, x - 24, loss_frame.top - 22.5, x, loss_frame.top - 22.5);
    if (std::string(entry->first) == "held") {
      svg +=
          fmt::format("<circle class=\"point\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\"/>\n", x - 12, loss_frame.top - 22.5);
    }
    x -= 24 + 22;
  }
}

}  // namespace

void write_loss_plot(const std::vector<Event>& events, const std::string& title, const std::string& svg_path) {
  Curve training, held, rate;
  Event last_validation;
  for (const Event& event : events) {
    const double step = static_cast<double>(event.step), loss = event.number("loss");
    if (event.event == "train") {
      training.push_back({step, loss});
      if (std::isfinite(event.number("learning_rate"))) rate.push_back({step, event.number("learning_rate")});
    } else if (event.event == "validation") {
      held.push_back({step, loss});
      if (std::isfinite(loss)) last_validation = event;
    }
  }
  const bool noisy = is_noisy(training);
  const Curve smooth = noisy ? smoothed(training) : training;

  double last_step = 0;
  for (const Event& event : events) last_step = std::max(last_step, static_cast<double>(event.step));
  Panel upper{loss_frame, {}, {}}, lower{loss_frame, {}, {}};
  lower.frame.top = loss_frame.bottom - rate_height;
  if (!rate.empty()) upper.frame.bottom = lower.frame.top - gap;
  upper.x = round_axis(0, last_step, 8, false, true);
  const auto [low, high] = visible_range(training, smooth, held);
  upper.y = round_axis(low, high, 7, true, false);
  lower.x = upper.x;

  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "role=\"img\">\n<title>{2}</title>\n",
      page_width, page_height, html_text(title));
  svg += loss_style;
  for (const auto& [name, panel] : {std::pair{"upper", upper}, std::pair{"lower", lower}}) {
    svg += fmt::format(
        "<clipPath id=\"{}\"><rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/></clipPath>\n", name,
        panel.frame.left - 2, panel.frame.top - 2, panel.frame.width() + 4, panel.frame.height() + 4);
  }
  svg += fmt::format("<rect class=\"page\" width=\"{:.0f}\" height=\"{:.0f}\" rx=\"8\"/>\n", page_width, page_height);
  draw_text(svg, "title", loss_frame.left, 32, "start", cut_to_columns(title, 80));

  draw_panel(svg, upper, "loss, nats per token", rate.empty());
  if (noisy) draw_curve(svg, "raw", upper, training);
  draw_curve(svg, "smooth", upper, smooth);
  draw_validation(svg, upper, held, last_validation);
  std::vector<std::pair<const char*, std::string>> legend;
  if (noisy) legend.push_back({"raw", "training"});
  if (!training.empty()) legend.push_back({"smooth", noisy ? "training, smoothed" : "training"});
  if (!held.empty()) legend.push_back({"held", "validation"});
  draw_legend(svg, legend);
  if (training.empty() && held.empty()) {
    draw_text(svg, "note", upper.frame.middle_x(), upper.frame.middle_y(), "middle", "no losses yet");
  }

  if (!rate.empty()) {
    double peak = 0;
    for (const Point& point : rate) peak = std::max(peak, point.value);
    lower.y = round_axis(0, peak > 0 ? peak : 1, 2, true, false);
    draw_panel(svg, lower, "learning rate", true);
    draw_curve(svg, "rate", lower, rate);
  }
  svg += "</svg>\n";
  replace_file(svg_path, svg);
}

}  // namespace nll
