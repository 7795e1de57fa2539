// Events as lines of JSON, there and back.
#include "src/report/event.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

namespace nll {
namespace {

TEST(Event, IsOneFlatObjectInTheOrderGiven) {
  const Event event{
      "train",
      12,
      24576,
      {{"loss", 3.25}, {"learning_rate", 6e-4}, {"skipped", false}, {"count", std::int64_t{7}}, {"text", "a"}}};
  EXPECT_EQ(to_json(event), R"({"event": "train", "step": 12, "tokens": 24576, "loss": 3.25, "learning_rate": 0.0006, )"
                            R"("skipped": false, "count": 7, "text": "a"})");
}

TEST(Event, NonFiniteNumbersBecomeNullAndReadBackAsNaN) {
  const double infinity = std::numeric_limits<double>::infinity();
  const Event event{"train", 1, 2, {{"a", std::nan("")}, {"b", infinity}, {"c", -infinity}}};
  const std::string line = to_json(event);
  EXPECT_EQ(line, R"({"event": "train", "step": 1, "tokens": 2, "a": null, "b": null, "c": null})");
  Event read;
  EXPECT_EQ(parse_event(line, read), "");
  EXPECT_TRUE(std::isnan(read.number("a")));
}

TEST(Event, DoublesReadBackBitForBitAndStayDoubles) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20000; ++round) {
    double value = std::bit_cast<double>(random());
    if (round == 0) value = 3;
    if (round == 1) value = -0.0;
    if (round == 2) value = 1e17;
    if (!std::isfinite(value)) continue;
    Event read;
    ASSERT_EQ(parse_event(to_json({"x", 0, 0, {{"value", value}}}), read), "");
    ASSERT_TRUE(std::holds_alternative<double>(read.values.at(0).second)) << value;
    ASSERT_EQ(std::bit_cast<std::uint64_t>(std::get<double>(read.values[0].second)),
              std::bit_cast<std::uint64_t>(value));
  }
}

TEST(Event, ListsOfNumbersReadBack) {
  const std::vector<double> list = {1222, 0.1, -3e-300, std::nan(""), 0x1p53};
  const Event event{"validation", 1, 2, {{"bins", list}, {"none", std::vector<double>{}}, {"text", "a"}}};
  const std::string line = to_json(event);
  EXPECT_NE(line.find(R"("bins": [1222, 0.1, -3e-300, null, )"), std::string::npos) << line;
  Event read;
  ASSERT_EQ(parse_event(line, read), "");
  ASSERT_NE(read.list("bins"), nullptr);
  ASSERT_EQ(read.list("bins")->size(), list.size());
  EXPECT_TRUE(std::isnan(read.list("bins")->at(3)));
  for (const std::size_t i : {0, 1, 2, 4}) EXPECT_EQ(read.list("bins")->at(i), list[i]);
  EXPECT_TRUE(read.list("none")->empty());
  EXPECT_EQ(read.list("text"), nullptr);
  EXPECT_EQ(*read.text("text"), "a");
  EXPECT_TRUE(std::isnan(read.number("bins")));
}

TEST(Event, WholeNumbersKeepAllTheirBits) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  Event read;
  EXPECT_EQ(parse_event(to_json({"x", most, most, {{"v", -most}}}), read), "");
  EXPECT_EQ(read.step, most);
  EXPECT_EQ(read.tokens, most);
  EXPECT_EQ(std::get<std::int64_t>(read.values[0].second), -most);
}

TEST(Event, AnyBytesInTextsGiveValidUtf8OnOneLine) {
  std::mt19937 random(5);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes;
    for (int i = 0; i < 20; ++i) bytes += static_cast<char>(random() % 256);
    const std::string line = to_json({"sample", 0, 0, {{"text", bytes}}});
    EXPECT_EQ(line.find('\n'), std::string::npos);
    EXPECT_TRUE(nlohmann::json::accept(line));
  }
}

TEST(Event, ValidTextReadsBackUnchanged) {
  const std::string text = "a\"b\\c\n\t\r\x01\x7f \u00e9 \u20ac \U0001F600 \u2028";
  Event read;
  ASSERT_EQ(parse_event(to_json({"sample", 0, 0, {{"text", text}}}), read), "");
  EXPECT_EQ(std::get<std::string>(read.values[0].second), text);
  ASSERT_EQ(parse_event(to_json({"sample", 0, 0, {{"text", "a\xff\xc3"}}}), read), "");
  EXPECT_EQ(std::get<std::string>(read.values[0].second), "a\ufffd\ufffd");
}

TEST(Event, NumberFindsWholeAndRealNumbers) {
  const Event event{"x", 0, 0, {{"real", 1.5}, {"whole", std::int64_t{2}}, {"text", "3"}}};
  EXPECT_EQ(event.number("real"), 1.5);
  EXPECT_EQ(event.number("whole"), 2);
  EXPECT_TRUE(std::isnan(event.number("text")));
  EXPECT_TRUE(std::isnan(event.number("none")));
}

}  // namespace
}  // namespace nll
