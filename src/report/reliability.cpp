#include "src/report/reliability.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "src/report/markup.h"
#include "src/report/svg.h"

namespace nll {
namespace {

constexpr double diagram_width = 460, diagram_height = 540;
constexpr PlotFrame diagram_frame{58, diagram_width - 14, 10, 400};
constexpr double share_top = 424, share_bottom = 496;

double at_x(double confidence) { return diagram_frame.x(confidence); }
double at_y(double accuracy) { return diagram_frame.y(accuracy); }

double total(const Reliability& run) {
  double sum = 0;
  for (const ReliabilityBin& bin : run.bins) sum += bin.count;
  return sum;
}

std::string axes() {
  std::string svg;
  for (int i = 0; i <= 5; ++i) {
    const double value = i / 5.0;
    svg += fmt::format("<path class=\"grid\" d=\"M{0:.1f} {1}V{2}M{0:.1f} {3}V{4}\"/>\n", at_x(value),
                       diagram_frame.top, diagram_frame.bottom, share_top, share_bottom);
    svg += fmt::format("<path class=\"grid\" d=\"M{} {:.1f}H{}\"/>\n", diagram_frame.left, at_y(value),
                       diagram_frame.right);
    svg += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:.1f}</text>\n", diagram_frame.left - 8,
                       at_y(value) + 4, value);
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.1f}</text>\n", at_x(value),
                       share_bottom + 17, value);
  }
  svg += fmt::format("<path class=\"ideal\" d=\"M{} {}L{} {}\"/>\n", diagram_frame.left, diagram_frame.bottom,
                     diagram_frame.right, diagram_frame.top);
  svg += fmt::format("<path class=\"axis\" d=\"M{0} {1}H{2}M{0} {3}H{2}\"/>\n", diagram_frame.left,
                     diagram_frame.bottom, diagram_frame.right, share_bottom);
  const auto upright = [&](double middle, const char* words) {
    svg += fmt::format("<text transform=\"translate(12 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n", middle,
                       words);
  };
  upright(diagram_frame.middle_y(), "accuracy");
  upright((share_top + share_bottom) / 2, "share");
  svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">confidence</text>\n", diagram_frame.middle_x(),
                     diagram_height - 6);
  return svg;
}

void draw_run(std::string& svg, const Reliability& run, std::size_t index, std::size_t count, double largest_share,
              const std::string& name) {
  const double all = total(run), bins = static_cast<double>(run.bins.size());
  const std::string color = fmt::format("c{}", index % 7);
  std::string line, shares, points;
  for (std::size_t b = 0; b < run.bins.size(); ++b) {
    const ReliabilityBin& bin = run.bins[b];
    if (!(bin.count > 0)) continue;
    // Beside each other in the lower panel: each run a part of the bin's width.
    const double part = 0.84 / bins / static_cast<double>(count);
    const double share_left = (static_cast<double>(b) + 0.08) / bins + part * static_cast<double>(index);
    const double tall = (share_bottom - share_top) * bin.count / all / largest_share;
    shares += fmt::format("<rect class=\"share {}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n",
                          color, at_x(share_left), share_bottom - tall, diagram_frame.width() * part, tall);
    const auto [low, high] = wilson_interval(bin.correct, bin.count);
    const double x = at_x(bin.confidence()), y = at_y(bin.accuracy());
    line += fmt::format("{}{:.1f} {:.1f}", line.empty() ? 'M' : 'L', x, y);
    const std::string said = fmt::format(
        "{}confidence {:.3f}, accuracy {:.3f} (95 % between {:.3f} and {:.3f}), {:.0f} tokens, {:.2f} %",
        count > 1 ? name + ": " : "", bin.confidence(), bin.accuracy(), low, high, bin.count, 100 * bin.count / all);
    points += fmt::format(
        "<g class=\"bin {0}\" tabindex=\"0\" role=\"img\" aria-label=\"{1}\" data-say=\"{1}\"><title>{1}</title>"
        "<path class=\"mark\" d=\"M{2:.1f} {3:.1f}V{4:.1f}M{5:.1f} {3:.1f}h8M{5:.1f} {4:.1f}h8\"/>"
        "<circle cx=\"{2:.1f}\" cy=\"{6:.1f}\" r=\"12\" fill=\"none\" pointer-events=\"all\"/>"
        "<circle class=\"dot\" cx=\"{2:.1f}\" cy=\"{6:.1f}\" r=\"4\"/></g>\n",
        color, html_text(said), x, at_y(low), at_y(high), x - 4, y);
  }
  svg += shares;
  if (!line.empty()) svg += fmt::format("<path class=\"curve {} d{}\" d=\"{}\"/>\n", color, index % 5, line);
  svg += points;
}

}  // namespace

Reliability last_reliability(const RunRecord& run) {
  for (auto event = run.events.rbegin(); event != run.events.rend(); ++event) {
    if (event->event != "validation") continue;
    const std::vector<double>* counts = event->list("calibration_count");
    const std::vector<double>* correct = event->list("calibration_correct");
    const std::vector<double>* sums = event->list("calibration_confidence_sum");
    if (counts == nullptr || correct == nullptr || sums == nullptr) continue;
    if (counts->size() != correct->size() || counts->size() != sums->size()) continue;
    Reliability found{event->step, {}};
    for (std::size_t b = 0; b < counts->size(); ++b) {
      const ReliabilityBin bin{(*counts)[b], (*correct)[b], (*sums)[b]};
      const bool sound = bin.count > 0 && bin.correct >= 0 && bin.correct <= bin.count && bin.confidence_sum >= 0 &&
                         bin.confidence_sum <= bin.count * (1 + 1e-9);
      found.bins.push_back(sound ? bin : ReliabilityBin{});
    }
    if (total(found) > 0) return found;
  }
  return {-1, {}};
}

std::pair<double, double> wilson_interval(double correct, double count) {
  constexpr double z = 1.959963984540054;  // the normal distribution holds 95 % within
  const double p = correct / count, z2 = z * z / count;
  const double middle = (p + z2 / 2) / (1 + z2);
  const double half = z / (1 + z2) * std::sqrt(p * (1 - p) / count + z2 / (4 * count));
  return {std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

std::string reliability_figure(const std::vector<Reliability>& runs, const std::vector<std::string>& names) {
  double largest_share = 0;
  for (const Reliability& run : runs) {
    for (const ReliabilityBin& bin : run.bins) largest_share = std::max(largest_share, bin.count / total(run));
  }
  if (!(largest_share > 0)) return {};
  std::string svg = axes();
  for (std::size_t i = 0; i < runs.size(); ++i) draw_run(svg, runs[i], i, runs.size(), largest_share, names[i]);
  std::string legend;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].step < 0) continue;
    legend += fmt::format(
        "<li><svg width=\"30\" height=\"10\" viewBox=\"0 0 30 10\" aria-hidden=\"true\"><path class=\"curve c{0} "
        "d{1}\" "
        "d=\"M0 5H30\"/><circle class=\"dot c{0}\" cx=\"15\" cy=\"5\" r=\"4\"/></svg>{2}</li>",
        i % 7, i % 5, html_text(fmt::format("{}, step {}", names[i], runs[i].step)));
  }
  return fmt::format(
      "<figure class=\"chart\"><ul class=\"legend\">{}<li><svg width=\"30\" height=\"10\" viewBox=\"0 0 30 10\" "
      "aria-hidden=\"true\"><path class=\"ideal\" d=\"M0 5H30\"/></svg>as sure as right</li></ul>\n"
      "<div class=\"plot\"><svg viewBox=\"0 0 {} {}\" role=\"group\" aria-label=\"Reliability "
      "diagram\">\n{}</svg></div>"
      "<p class=\"readout\" aria-live=\"polite\">Point at a bin for its numbers.</p></figure>\n",
      legend, diagram_width, diagram_height, svg);
}

std::string reliability_tables(const std::vector<Reliability>& runs, const std::vector<std::string>& names) {
  std::string html;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].step < 0) continue;
    html += fmt::format(
        "<details data-print=\"\"><summary>{}, step {}: the bins as numbers</summary><div class=\"wide\"><table><thead>"
        "<tr><th class=\"value\">share</th><th class=\"value\">confidence</th><th class=\"value\">accuracy</th>"
        "<th class=\"value\">95 % interval</th></tr></thead><tbody>\n",
        html_text(names[i]), runs[i].step);
    for (const ReliabilityBin& bin : runs[i].bins) {
      if (!(bin.count > 0)) continue;
      const auto [low, high] = wilson_interval(bin.correct, bin.count);
      html += fmt::format(
          "<tr><td class=\"value\">{:.2f} %</td><td class=\"value\">{:.3f}</td><td class=\"value\">{:.3f}</td>"
          "<td class=\"value\">{:.3f} to {:.3f}</td></tr>\n",
          100 * bin.count / total(runs[i]), bin.confidence(), bin.accuracy(), low, high);
    }
    html += "</tbody></table></div></details>\n";
  }
  return html;
}

}  // namespace nll
