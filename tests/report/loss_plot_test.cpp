// The loss plot and the parts it is made of.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "kernels/check.h"
#include "src/report/axis.h"
#include "src/report/curve.h"
#include "src/report/metrics_file.h"
#include "tests/report/temporary_folder.h"

namespace nll {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> labels(const Axis& axis) {
  std::vector<std::string> texts;
  for (const double tick : axis.ticks) texts.push_back(axis.label(tick));
  return texts;
}

TEST(Axis, HasRoundTicks) {
  using Texts = std::vector<std::string>;
  EXPECT_EQ(labels(round_axis(0, 10, 5, true, false)), (Texts{"0", "2", "4", "6", "8", "10"}));
  EXPECT_EQ(labels(round_axis(1.37, 1.93, 6, true, false)),
            (Texts{"1.3", "1.4", "1.5", "1.6", "1.7", "1.8", "1.9", "2.0"}));
  EXPECT_EQ(labels(round_axis(0, 1e-3, 2, true, false)), (Texts{"0", "5e-4", "1e-3"}));
  EXPECT_EQ(labels(round_axis(0, 2000, 4, false, true)), (Texts{"0", "500", "1k", "1.5k", "2k"}));
  EXPECT_EQ(labels(round_axis(0, 19073, 4, false, true)), (Texts{"0", "5k", "10k", "15k"}));
  EXPECT_EQ(labels(round_axis(0, 3, 8, false, true)), (Texts{"0", "1", "2", "3"}));
}

TEST(Axis, SurvivesEveryInterval) {
  for (const double low : {0.0, -1e300, 1e-300, 7.0, 1e15, 1e300}) {
    for (const double width : {0.0, 1e-300, 1e-9, 1.0, 9e18, 1e300}) {
      for (const bool whole : {false, true}) {
        const Axis axis = round_axis(low, low + width, 6, true, whole);
        EXPECT_LT(axis.low, axis.high) << low << " " << width;
        EXPECT_LE(axis.ticks.size(), 1000u);
        for (const double tick : axis.ticks) EXPECT_FALSE(axis.label(tick).empty());
      }
    }
  }
}

TEST(Curve, ThinningKeepsEverySpikeAndTheOrder) {
  Curve curve;
  for (int step = 0; step < 100000; ++step) curve.push_back({static_cast<double>(step), step == 54321 ? 99.0 : 1.0});
  const Curve thinned = thin(curve, 0, 100000, 500);
  EXPECT_LE(thinned.size(), 1002u);
  EXPECT_TRUE(std::any_of(thinned.begin(), thinned.end(), [](const Point& point) { return point.value == 99; }));
  for (std::size_t i = 1; i < thinned.size(); ++i) EXPECT_LT(thinned[i - 1].step, thinned[i].step);
}

TEST(Curve, SmoothingKeepsAConstantAndTheStartAndDropsASpike) {
  Curve curve;
  for (int step = 0; step < 1000; ++step) curve.push_back({static_cast<double>(step), step == 500 ? 90.0 : 2.0});
  curve[300].value = nan;
  const Curve smooth = smoothed(curve);
  ASSERT_EQ(smooth.size(), curve.size());
  for (std::size_t i = 0; i < smooth.size(); ++i) {
    if (i == 300) {
      EXPECT_TRUE(std::isnan(smooth[i].value));
    } else {
      // The mean of 21 prefix differences: each sum of up to 2000 carries 2000 roundings of 2^-53 at most.
      EXPECT_NEAR(smooth[i].value, 2.0, 2000 * 2000 * 0x1p-53) << i;
    }
  }
  curve[0].value = 11;
  EXPECT_EQ(smoothed(curve)[0].value, 11);
}

TEST(Curve, OnlyARoughCurveIsNoisy) {
  std::mt19937 random(1);
  std::normal_distribution<double> noise(0, 0.05);
  Curve calm, rough;
  for (int step = 0; step < 500; ++step) {
    const double loss = 2 + 8 * std::exp(-step / 100.0);
    calm.push_back({static_cast<double>(step), loss});
    rough.push_back({static_cast<double>(step), loss + noise(random)});
  }
  EXPECT_FALSE(is_noisy(calm));
  EXPECT_TRUE(is_noisy(rough));
}

std::string plot(const std::vector<Event>& events, const std::string& title = "a run") {
  const TemporaryFolder folder;
  write_loss_plot(events, title, folder.path("loss.svg"));
  EXPECT_EQ(folder.files(), 1u);
  return folder.read("loss.svg");
}

// Tags are closed in order, quotes come in pairs and no text holds markup: enough to see that nothing broke it.
void expect_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  for (std::size_t at = 0; (at = svg.find('<', at)) != std::string::npos;) {
    const std::size_t end = svg.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    EXPECT_EQ(tag.find('<'), std::string::npos) << tag;
    EXPECT_EQ(std::count(tag.begin(), tag.end(), '"') % 2, 0) << tag;
    const std::string name = tag.substr(tag[0] == '/', tag.find_first_of(" \n/", 1) - (tag[0] == '/'));
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyzPH"), std::string::npos) << tag;
    if (tag[0] == '/') {
      ASSERT_FALSE(open.empty()) << tag;
      EXPECT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
    const std::size_t next = std::min(svg.find('<', end), svg.size());
    EXPECT_EQ(svg.substr(end + 1, next - end - 1).find('>'), std::string::npos);
    at = next;
  }
  EXPECT_TRUE(open.empty());
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

Event train(std::int64_t step, double loss) { return {"train", step, 0, {{"loss", loss}, {"learning_rate", 1e-3}}}; }
Event validation(std::int64_t step, double loss) {
  return {"validation", step, 0, {{"loss", loss}, {"bits_per_byte", loss / 2}}};
}

TEST(LossPlot, ShowsTitleAxesUnitsLegendAndTheLastValidation) {
  std::vector<Event> events;
  for (std::int64_t step = 1; step <= 200; ++step) {
    events.push_back(train(step, 2 + 6.0 / static_cast<double>(step) + (step % 2 == 0 ? 0.1 : 0)));
  }
  events.push_back(validation(100, 2.5));
  events.push_back(validation(200, 2.25));
  const std::string svg = plot(events, "King James Bible");
  expect_well_formed(svg);
  for (const char* part : {"King James Bible", "loss, nats per token", "optimizer step", "learning rate", ">training<",
                           ">training, smoothed<", ">validation<", ">2.2500<", ">1.125 bits/byte<", ">200<",
                           "prefers-color-scheme: dark"}) {
    EXPECT_NE(svg.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(svg.find("http", svg.find("xmlns") + 40), std::string::npos) << "it must load nothing";
}

TEST(LossPlot, IsDrawnForAnyNumberOfEvents) {
  expect_well_formed(plot({}));
  EXPECT_NE(plot({}).find("no losses yet"), std::string::npos);
  expect_well_formed(plot({train(1, 3)}));
  expect_well_formed(plot({train(1, 3), train(2, 2.5)}));
  expect_well_formed(plot({validation(5, 3)}));
  expect_well_formed(plot({train(7, 3), validation(7, 3)}));
}

TEST(LossPlot, SurvivesNumbersThatAreNone) {
  const double infinity = std::numeric_limits<double>::infinity();
  expect_well_formed(plot({train(1, nan), train(2, nan)}));
  expect_well_formed(plot({train(1, 3), train(2, nan), train(3, infinity), train(4, 2), validation(4, nan)}));
  expect_well_formed(plot({train(1, 1e300), train(2, -1e300), train(3, 0)}));
  expect_well_formed(plot({train(0, 0), train(0, 0)}));
}

TEST(LossPlot, SurvivesHugeStepCounts) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  expect_well_formed(plot({train(0, 3), train(most / 2, 2), train(most, 1), validation(most, 1)}));
}

TEST(LossPlot, AMillionStepsMakeASmallFile) {
  std::mt19937 random(2);
  std::normal_distribution<double> noise(0, 0.1);
  std::vector<Event> events;
  for (std::int64_t step = 0; step < 200000; ++step) events.push_back(train(step, 3 + noise(random)));
  EXPECT_LT(plot(events).size(), 100000u);
}

TEST(LossPlot, ATitleIsTextWhateverItHolds) {
  const std::string svg = plot({train(1, 3)}, "</title><script>&\"'\x01\xff\u00e9");
  expect_well_formed(svg);
  EXPECT_EQ(svg.find("<script"), std::string::npos);
}

TEST(LossPlot, AFolderThatIsMissingIsAnIoError) {
  const TemporaryFolder folder;
  try {
    write_loss_plot({}, "", folder.path("none/loss.svg"));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::io);
  }
}

}  // namespace
}  // namespace nll
