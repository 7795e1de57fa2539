#include "src/report/scaling_plot.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/report/page_checker.h"
#include "tests/report/temporary_folder.h"

namespace nll {
namespace {

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

std::string drawn(const ScalingPlot& plot) {
  const TemporaryFolder folder;
  write_scaling_plot(plot, folder.path("law.svg"));
  const std::string svg = folder.read("law.svg");
  EXPECT_EQ(page_problem("<!DOCTYPE html>\n" + svg), "");
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
  return svg;
}

ScalingPlot some() {
  ScalingPlot plot{"4 runs <law>", {}, {}};
  for (int n = 1; n <= 2; ++n) {
    ScalingSeries series{"N = " + std::to_string(n) + "M", {}, {}};
    for (const double tokens : {1e6, 4e6}) {
      series.runs.push_back({6e6 * n * tokens, 5.0 / n, "runs/a&b"});
      series.fitted.push_back({6e6 * n * tokens, 5.1 / n, ""});
    }
    plot.series.push_back(series);
  }
  plot.best = {{6e12, 5, 4.8, 5.2}, {4.8e13, 2.5, 2.4, 2.6}};
  return plot;
}

TEST(ScalingPlot, ShowsEveryRunEveryCurveAndTheBand) {
  const std::string svg = drawn(some());
  EXPECT_EQ(count(svg, "<circle class=\"dot f0\""), 3u);  // two runs and the legend
  EXPECT_EQ(count(svg, "<circle class=\"dot f1\""), 3u);
  EXPECT_EQ(count(svg, "<path class=\"curve l"), 2u);
  EXPECT_EQ(count(svg, "<path class=\"band\""), 1u);
  EXPECT_EQ(count(svg, "<path class=\"best\""), 1u);
  EXPECT_NE(svg.find("runs/a&amp;b: loss 5.0000, 6e+12 FLOPs"), std::string::npos);
  EXPECT_NE(svg.find("4 runs &lt;law&gt;"), std::string::npos);
  EXPECT_NE(svg.find("prefers-color-scheme: dark"), std::string::npos);
  EXPECT_EQ(svg.find("http://", svg.find("w3.org")), std::string::npos);  // nothing is fetched
}

TEST(ScalingPlot, WithoutALawShowsTheRuns) {
  ScalingPlot plot = some();
  plot.best.clear();
  for (ScalingSeries& series : plot.series) series.fitted.clear();
  const std::string svg = drawn(plot);
  EXPECT_EQ(count(svg, "<circle class=\"dot f0\""), 3u);
  EXPECT_EQ(count(svg, "<path"), 0u);
}

TEST(ScalingPlot, SurvivesNoRunsOneRunAndValuesThatAreNone) {
  drawn({"", {}, {}});
  drawn({"one", {{"N = 1", {{1e12, 3, "r"}}, {}}}, {}});
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  ScalingPlot plot = some();
  plot.series[0].runs.push_back({0, nan, "x"});
  plot.series[0].fitted.push_back({1e13, inf, ""});
  plot.best.push_back({5e13, nan, 0, inf});
  drawn(plot);
  ScalingPlot many;
  for (int i = 0; i < 40; ++i) many.series.push_back(some().series[0]);
  EXPECT_NE(drawn(many).find("and 22 more"), std::string::npos);
}

TEST(ScalingPlot, AxesHaveRoundNumbersAtAnySpread) {
  for (const double spread : {1.0001, 1.01, 1.3, 3.0, 50.0, 1e9}) {
    ScalingPlot plot{"t", {{"N", {{1e12, 2, "a"}, {1e12 * spread, 2 * spread, "b"}}, {}}}, {}};
    const std::size_t labels = count(drawn(plot), "<text class=\"tick\"");
    EXPECT_GE(labels, 4u) << spread;
    EXPECT_LE(labels, 40u) << spread;
  }
}

}  // namespace
}  // namespace nll
