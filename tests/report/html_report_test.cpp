// The page of nll report: sound whatever the runs hold, small whatever their length.
#include "src/report/html_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "src/report/markup.h"
#include "src/report/reliability.h"
#include "src/report/report_chart.h"
#include "src/report/report_summary.h"
#include "tests/report/page_checker.h"

namespace nll {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

Event train(std::int64_t step, double loss) {
  return {
      "train",
      step,
      std::min(step, std::int64_t{1} << 50) * 1024,
      {{"loss", loss}, {"nll", loss}, {"learning_rate", 1e-3}, {"gradient_norm", 1.0}, {"tokens_per_second", 2048.0}}};
}

Event validation(std::int64_t step, double loss) {
  return {"validation",
          step,
          step * 1024,
          {{"loss", loss},
           {"perplexity", std::exp(loss)},
           {"bits_per_byte", loss / 2},
           {"accuracy", 0.25},
           {"ece", 0.02},
           {"scored_tokens", 65536.0},
           {"calibration_count", std::vector<double>{80, 20, 0}},
           {"calibration_correct", std::vector<double>{20, 10, 0}},
           {"calibration_confidence_sum", std::vector<double>{19.5, 11, 0}}}};
}

RunRecord run_of(std::vector<Event> events, const std::string& folder = "runs/kjv") {
  std::vector<RunRecord> one(1);
  one[0].folder = folder;
  one[0].events = std::move(events);
  name_runs(one);
  return one[0];
}

RunRecord usual_run(const std::string& folder = "runs/kjv", double best = 2) {
  std::vector<Event> events = {{"start", 0, 0, {{"device", "a processor"}, {"parameters", std::int64_t{3700000}}}}};
  for (std::int64_t step = 1; step <= 200; ++step) {
    events.push_back(train(step, best + 6.0 / static_cast<double>(step) + (step % 2 == 0 ? 0.1 : 0)));
    if (step % 50 == 0) events.push_back({"checkpoint", step, step * 1024, {{"folder", "step_1"}, {"seconds", 0.5}}});
    if (step % 50 == 0) events.push_back(validation(step, best + 0.5));
    if (step == 100) events.push_back({"resume", 100, 102400, {{"device", "another processor"}}});
    if (step == 150) events.push_back({"sample", 150, 0, {{"text", "In the beginning"}}});
    if (step == 160) events.push_back({"skipped", 160, 0, {{"in_a_row", std::int64_t{1}}}});
  }
  events.push_back({"end", 200, 204800, {{"seconds", 100.0}}});
  RunRecord run = run_of(events, folder);
  run.config = {{"optimizer.learning_rate", best == 2 ? "0.001" : "0.002"}, {"schedule.steps", "200"}};
  return run;
}

std::string page(const std::vector<RunRecord>& runs) {
  const std::string html = html_report(runs, {{"optimizer.learning_rate", "0.0006"}, {"schedule.steps", "200"}});
  EXPECT_EQ(page_problem(html), "");
  EXPECT_TRUE(nlohmann::json::accept(script_content(html, "data")));
  EXPECT_TRUE(is_html_report(html));
  return html;
}

TEST(PageChecker, FindsWhatIsBroken) {
  const auto problem = [](const std::string& body) { return page_problem("<!DOCTYPE html>\n" + body); };
  EXPECT_EQ(problem("<p a=\"b &amp; c\">x &lt; y<br/></p><script>if (a < b) {}</script>"), "");
  for (const char* body :
       {"<p>", "</p>", "<p></b></p>", "<p a=b></p>", "<p>a & b</p>", "<p>a > b</p>", "<p a=\"1\" a=\"2\"/>",
        "<p a=\"&x;\"/>", "<p id=\"a\"/><b id=\"a\"/>", "<p\"/>", "<script>", "<p a=\"<\"/>"}) {
    EXPECT_NE(problem(body), "") << body;
  }
}

TEST(HtmlReport, ShowsWhatARunSaid) {
  const std::string html = page({usual_run()});
  for (const char* part : {"<title>kjv - nll report</title>",
                           "runs/kjv: finished at step 200",
                           "<h3>Loss</h3>",
                           "nats per token",
                           "<h3>Learning rate</h3>",
                           "<h3>Gradient norm</h3>",
                           "<h3>Throughput</h3>",
                           "tokens per second",
                           "bits per byte",
                           "training, smoothed",
                           "validation <b>2.5000</b>",
                           "resumed at step 100",
                           "another processor",
                           "In the beginning",
                           "Reliability diagram",
                           "confidence 0.550, accuracy 0.500",
                           "1 of 2 keys are not at their default",
                           "prefers-color-scheme: dark",
                           "@media print",
                           "name=\"viewport\""}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
}

TEST(HtmlReport, LoadsNothing) {
  std::string html = page({usual_run()});
  for (const char* name_space : {"http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg"}) {
    html.erase(html.find(name_space), std::string(name_space).size());
  }
  for (const char* part : {"http:", "https:", "//cdn", "src=", "@import", "url(http", "fetch("}) {
    EXPECT_EQ(html.find(part), std::string::npos) << part;
  }
}

TEST(HtmlReport, TheSameRunsGiveTheSameBytes) { EXPECT_EQ(page({usual_run()}), page({usual_run()})); }

TEST(HtmlReport, RunsAreOverlaidAndTheirDifferencesStandOut) {
  std::vector<RunRecord> runs = {usual_run("runs/a"), usual_run("runs/b", 3)};
  const std::string html = page(runs);
  const nlohmann::json data = nlohmann::json::parse(script_content(html, "data"));
  ASSERT_EQ(data["runs"].size(), 2u);
  EXPECT_EQ(data["runs"][1]["name"], "b");
  EXPECT_EQ(data["runs"][0]["marks"]["resume"], nlohmann::json({100}));
  std::size_t of_first = 0, of_second = 0;
  for (const auto& series : data["charts"][0]["series"]) (series["run"] == 0 ? of_first : of_second) += 1;
  EXPECT_GT(of_first, 0u);
  EXPECT_EQ(of_first, of_second);
  EXPECT_NE(html.find("<tr class=\"differs\"><th>optimizer.learning_rate</th><td>0.001</td><td>0.002</td></tr>"),
            std::string::npos);
  EXPECT_EQ(html.find("<tr class=\"differs\"><th>schedule.steps"), std::string::npos);
  EXPECT_NE(html.find("a, training, smoothed"), std::string::npos);
  EXPECT_NE(html.find("b, validation"), std::string::npos);
}

TEST(HtmlReport, RunsOfOneNameAreToldApartByTheirFolders) {
  std::vector<RunRecord> runs = {usual_run("one/kjv"), usual_run("two/kjv/"), usual_run("two/other/.")};
  name_runs(runs);
  EXPECT_EQ(runs[0].name, "one/kjv");
  EXPECT_EQ(runs[1].name, "two/kjv/");
  EXPECT_EQ(runs[2].name, "other");
}

TEST(HtmlReport, AnyTextStaysText) {
  const std::string evil =
      "</script></pre><script>alert(1)</script><!-- ]]> &amp; \"' \x01\x1b[31m\xff\xc3\x28\u2028 \uffff";
  RunRecord run =
      run_of({train(1, 3),
              {"sample", 1, 0, {{"text", evil}}},
              {"start", 0, 0, {{"device", evil}, {evil, evil}, {"memory_bytes", nan}, {"parameters", 1e300}}},
              {"resume", 1, 0, {{"device", evil}}},
              {"validation", 1, 0, {{"loss", 2.0}, {"loss_" + evil, 1.0}, {evil, 3.0}}},
              {"checkpoint", 1, 0, {{"folder", evil}}}},
             "runs/" + evil);
  run.config = {{evil, evil}};
  for (const std::vector<RunRecord>& runs : {std::vector<RunRecord>{run}, std::vector<RunRecord>{run, run}}) {
    const std::string html = page(runs);
    EXPECT_EQ(html.find("<script>alert"), std::string::npos);
    EXPECT_EQ(html.find('\x01'), std::string::npos);
    EXPECT_EQ(html.find('\x1b'), std::string::npos);
    EXPECT_EQ(html.find('\xff'), std::string::npos);
    EXPECT_NE(html.find("&lt;script&gt;alert(1)&lt;/script&gt;"), std::string::npos);
  }
}

TEST(HtmlReport, EveryByteBecomesTextThatCanStandInAPage) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text = "a" + std::string(1, static_cast<char>(byte)) + "b";
    EXPECT_EQ(page_problem("<!DOCTYPE html>\n<p title=\"" + html_text(text) + "\">" + html_text(text) + "</p>"), "")
        << byte;
    EXPECT_TRUE(nlohmann::json::accept(script_text(text))) << byte;
    EXPECT_EQ(script_text(text).find('<'), std::string::npos);
  }
  EXPECT_EQ(html_text("\x1b[0m\x7f"), "\u241b[0m\u2421");
  EXPECT_EQ(nlohmann::json::parse(script_text("a<b>&\"\\\n\u00e9")), "a<b>&\"\\\n\u00e9");
}

TEST(HtmlReport, IsMadeOfAnyEvents) {
  const double infinity = std::numeric_limits<double>::infinity();
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  EXPECT_NE(page({run_of({})}).find("no training step yet"), std::string::npos);
  page({run_of({train(1, 3)})});
  page({run_of({validation(1, 3)})});
  page({run_of({train(0, 0), train(0, 0), validation(0, 0)})});
  page({run_of({train(1, nan), train(2, nan)})});
  page({run_of({train(1, 3), train(2, nan), train(3, infinity), train(4, 2), validation(4, nan)})});
  page({run_of({train(1, 1e300), train(2, -1e300), train(3, 1e-300)})});
  page({run_of({train(1, 3), train(most / 2, 2), train(most - 1, 1)})});
  page({run_of({{"sample", 3, 0, {}}, {"nonsense", 4, 0, {{"loss", true}}}, {"train", 5, 0, {{"loss", "text"}}}})});
  page({run_of({}), usual_run(), run_of({train(1, 3)})});
}

TEST(HtmlReport, ALossOfAClassOfTokensIsInOneChartWithTheOthers) {
  const auto classes = [](std::int64_t step) {
    return Event{"validation", step, 0, {{"loss", 2.0}, {"loss_digits", 3.0}, {"loss_word_starts", 4.0}}};
  };
  const std::vector<ReportChart> charts = make_charts({run_of({classes(1), classes(2)})}, 100);
  const auto found = std::find_if(charts.begin(), charts.end(), [](const ReportChart& chart) {
    return chart.title.find("class") != std::string::npos;
  });
  ASSERT_NE(found, charts.end());
  ASSERT_EQ(found->series.size(), 2u);
  EXPECT_EQ(found->series[1].label, "word starts");
}

TEST(HtmlReport, TheObjectiveIsShownWhereItIsNotTheLoss) {
  const auto has_objective = [](double objective) {
    const Event event{"train", 1, 0, {{"loss", objective}, {"nll", 2.0}}};
    const std::vector<ReportChart> charts = make_charts({run_of({event})}, 100);
    return std::any_of(charts.begin(), charts.end(),
                       [](const ReportChart& chart) { return chart.title == "Objective"; });
  };
  EXPECT_FALSE(has_objective(2.0));
  EXPECT_TRUE(has_objective(2.5));
}

TEST(HtmlReport, AHundredThousandStepsMakeASmallPageThatKeepsItsExtremes) {
  std::vector<Event> events;
  std::uint64_t random = 1;
  for (std::int64_t step = 1; step <= 100000; ++step) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    const double noise = static_cast<double>(random >> 40) * 0x1p-24;
    events.push_back(train(step, step == 54321 ? 77.0 : step == 23 ? 0.125 : 3 + noise));
    if (step % 100 == 0) events.push_back(validation(step, 3 + noise));
    if (step % 100 == 0) events.push_back({"sample", step, 0, {{"text", std::string(2000, 'x')}}});
    if (step % 10 == 0) events.push_back({"checkpoint", step, 0, {{"folder", "runs/kjv/checkpoints/step"}}});
    if (step % 7 == 0) events.push_back({"skipped", step, 0, {{"in_a_row", std::int64_t{1}}}});
  }
  const RunRecord run = run_of(std::move(events));
  const std::string html = page({run});
  EXPECT_LT(html.size(), 5'000'000u);
  const nlohmann::json raw = nlohmann::json::parse(script_content(html, "data"))["charts"][0]["series"][0];
  ASSERT_EQ(raw["kind"], "raw");
  EXPECT_LE(raw["y"].size(), 4800u);
  EXPECT_EQ(*std::max_element(raw["y"].begin(), raw["y"].end()), 77.0);
  EXPECT_EQ(*std::min_element(raw["y"].begin(), raw["y"].end()), 0.125);
  // Eight of them side by side stay small too.
  EXPECT_LT(page(std::vector<RunRecord>(8, run)).size(), 5'000'000u);
}

TEST(HtmlReport, KnowsItsOwnPagesOnly) {
  EXPECT_FALSE(is_html_report(""));
  EXPECT_FALSE(is_html_report("<!DOCTYPE html>\n<html><head></head></html>"));
}

TEST(Curve, ThinningForBothScalesKeepsTheStartOfALongRun) {
  Curve curve;
  for (int step = 1; step <= 1000000; ++step)
    curve.push_back({static_cast<double>(step), step == 777777 ? 99.0 : 1.0 / step});
  const Curve thinned = thin_for_both_scales(curve, 0, 1e6, 200);
  EXPECT_LE(thinned.size(), 800u);
  // Of the first hundred steps a tenth of the logarithmic axis shows a third: ln 100 / ln 10^6 of 200 parts.
  EXPECT_GE(std::count_if(thinned.begin(), thinned.end(), [](const Point& point) { return point.step <= 100; }), 40);
  EXPECT_TRUE(std::any_of(thinned.begin(), thinned.end(), [](const Point& point) { return point.value == 99; }));
  for (std::size_t i = 1; i < thinned.size(); ++i) ASSERT_LT(thinned[i - 1].step, thinned[i].step);
}

TEST(RunClock, SumsUpTheTimeOfTheSteps) {
  const RunClock clock = clock_of(run_of({train(1, 3), train(2, 3), train(4, 3)}), 100);
  EXPECT_EQ(clock.steps, (std::vector<double>{0, 1, 2, 4}));
  EXPECT_EQ(clock.tokens, (std::vector<double>{0, 1024, 2048, 4096}));
  EXPECT_EQ(clock.seconds, (std::vector<double>{0, 0.5, 1, 2}));
}

TEST(Reliability, IntervalsAreWilsons) {
  // Wilson's interval solves (p - q)^2 = z^2 q (1 - q) / n for q; both ends are checked against that equation.
  const double z = 1.959963984540054;
  for (const auto& [correct, count] : {std::pair{1.0, 10.0}, {50.0, 100.0}, {9999.0, 10000.0}}) {
    const auto [low, high] = wilson_interval(correct, count);
    const double p = correct / count;
    EXPECT_LT(low, p);
    EXPECT_GT(high, p);
    for (const double q : {low, high}) {
      EXPECT_NEAR((p - q) * (p - q), z * z * q * (1 - q) / count, 64 * std::numeric_limits<double>::epsilon());
    }
  }
  EXPECT_EQ(wilson_interval(0, 5).first, 0);
  EXPECT_EQ(wilson_interval(5, 5).second, 1);
}

TEST(Reliability, ImpossibleBinsAreLeftOut) {
  const auto bins_of = [](std::vector<double> counts, std::vector<double> correct, std::vector<double> sums) {
    return last_reliability(run_of(
        {{"validation",
          5,
          0,
          {{"calibration_count", counts}, {"calibration_correct", correct}, {"calibration_confidence_sum", sums}}}}));
  };
  EXPECT_EQ(bins_of({4, 4}, {2, 2}, {1, 3}).step, 5);
  EXPECT_EQ(bins_of({4, 4}, {2}, {1, 3}).step, -1) << "lists of different lengths";
  EXPECT_EQ(bins_of({4}, {5}, {1}).step, -1) << "more right than there are";
  EXPECT_EQ(bins_of({nan}, {1}, {1}).step, -1);
  EXPECT_EQ(bins_of({-1}, {-2}, {1}).step, -1);
  EXPECT_EQ(bins_of({4, 4}, {5, 2}, {1, 3}).bins[0].count, 0);
}

TEST(Summary, SaysHowFarARunCame) {
  EXPECT_EQ(run_status(usual_run()), "finished at step 200");
  RunRecord shorter = usual_run();
  shorter.config.back().second = "500";
  EXPECT_EQ(run_status(shorter), "stopped at step 200 of 500");
  shorter.events.pop_back();
  EXPECT_EQ(run_status(shorter), "interrupted or still running, at step 200 of 500");
}

}  // namespace
}  // namespace nll
