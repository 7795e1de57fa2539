// Texts for people: counts, bytes, seconds, columns, the line of a training step.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "src/report/console.h"
#include "src/report/train_line.h"
#include "src/report/utf8.h"

namespace nll {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

TEST(HumanCount, HasAtMostThreeDigitsAndAUnit) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(7), "7");
  EXPECT_EQ(human_count(7.25), "7.2");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(999.4), "999");
  EXPECT_EQ(human_count(1000), "1.0k");
  EXPECT_EQ(human_count(12345), "12.3k");
  EXPECT_EQ(human_count(99949), "99.9k");
  EXPECT_EQ(human_count(99951), "100k");
  EXPECT_EQ(human_count(999499), "999k");
  EXPECT_EQ(human_count(999500), "1.0M");
  EXPECT_EQ(human_count(124439808), "124M");
  EXPECT_EQ(human_count(1.2e6), "1.2M");
  EXPECT_EQ(human_count(175e9), "175B");
  EXPECT_EQ(human_count(3e14), "300T");
  EXPECT_EQ(human_count(1e20), "1.0e+08T");
  EXPECT_EQ(human_count(-12345), "-12.3k");
  EXPECT_EQ(human_count(infinity), "?");
  EXPECT_EQ(human_count(std::nan("")), "?");
}

TEST(HumanBytes, AreDecimal) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(512), "512 B");
  EXPECT_EQ(human_bytes(1000), "1.0 kB");
  EXPECT_EQ(human_bytes(43'900'000), "43.9 MB");
  EXPECT_EQ(human_bytes(999'999), "1.0 MB");
  EXPECT_EQ(human_bytes(498'000'000), "498 MB");
  EXPECT_EQ(human_bytes(std::int64_t{350} << 30), "376 GB");
  EXPECT_EQ(human_bytes(std::numeric_limits<std::int64_t>::max()), "9.2 EB");
}

TEST(HumanSeconds, NameTwoUnitsAndCarry) {
  EXPECT_EQ(human_seconds(0), "0.0s");
  EXPECT_EQ(human_seconds(0.42), "0.4s");
  EXPECT_EQ(human_seconds(9.94), "9.9s");
  EXPECT_EQ(human_seconds(9.96), "10s");
  EXPECT_EQ(human_seconds(59.4), "59s");
  EXPECT_EQ(human_seconds(59.6), "1m 00s");
  EXPECT_EQ(human_seconds(185), "3m 05s");
  EXPECT_EQ(human_seconds(3599.6), "1h 00m");
  EXPECT_EQ(human_seconds(3720), "1h 02m");
  EXPECT_EQ(human_seconds(86399), "1d 00h");
  EXPECT_EQ(human_seconds(2 * 86400 + 3 * 3600), "2d 03h");
  EXPECT_EQ(human_seconds(1e7), "115d");
  EXPECT_EQ(human_seconds(1e12), "?");
  EXPECT_EQ(human_seconds(-1), "?");
  EXPECT_EQ(human_seconds(infinity), "?");
  EXPECT_EQ(human_seconds(std::nan("")), "?");
}

TEST(Columns, CountWhatATerminalShows) {
  EXPECT_EQ(display_columns('a'), 1);
  EXPECT_EQ(display_columns(0x4e2d), 2);   // a Chinese character
  EXPECT_EQ(display_columns(0x1f600), 2);  // an emoji
  EXPECT_EQ(display_columns(0x0301), 0);   // a combining accent
}

TEST(Columns, ALineIsCutToThemAndNeverInsideACharacter) {
  EXPECT_EQ(cut_to_columns("abcdef", 6), "abcdef");
  EXPECT_EQ(cut_to_columns("abcdefg", 6), "abc...");
  EXPECT_EQ(cut_to_columns("abcdef", 2), "ab");
  EXPECT_EQ(cut_to_columns("abc", 0), "");
  EXPECT_EQ(cut_to_columns("\u4e2d\u4e2d\u4e2d", 6), "\u4e2d\u4e2d\u4e2d");
  EXPECT_EQ(cut_to_columns("\u4e2d\u4e2d\u4e2d", 5), "\u4e2d...");
  EXPECT_EQ(cut_to_columns("e\u0301e\u0301", 2), "e\u0301e\u0301");
  EXPECT_EQ(cut_to_columns("a\nb\x1b[31m", 20), "a b [31m");
  EXPECT_EQ(cut_to_columns("a\xff", 20), "a\ufffd");
}

TEST(TrainLine, NamesEveryNumberOnce) {
  TrainLine line{250, 2000, 3.14159, 23.1407, 0.8712, 6e-4, 12345, 0.81, 185, 3.2101, 1.9512};
  EXPECT_EQ(train_line(line),
            "step  250/2000  loss  3.1416  ppl   23.14  norm   0.87  lr 6.00e-04  12.3k tok/s   81% of peak"
            "   3m 05s left  val  3.2101  1.9512 bits/byte");
  line.share_of_peak.reset();
  line.validation_loss.reset();
  line.bits_per_byte.reset();
  EXPECT_EQ(train_line(line),
            "step  250/2000  loss  3.1416  ppl   23.14  norm   0.87  lr 6.00e-04  12.3k tok/s   3m 05s left");
}

TEST(TrainLine, OfAnotherObjectiveHasItsMetricsInPlaceOfPerplexity) {
  TrainLine line{1, 20, 0.6931, std::nullopt, 0.5, 1e-5, 950, std::nullopt, 3, std::nullopt, std::nullopt};
  line.metrics = {{"accuracy", 0.75}, {"margin", -0.0625}};
  EXPECT_EQ(train_line(line),
            "step  1/20  loss  0.6931  accuracy  0.750  margin -0.062  norm   0.50  lr 1.00e-05    950 tok/s"
            "     3.0s left");
}

TEST(TrainLine, NeverJumps) {
  const TrainLine first{1, 19073, 10.99, std::exp(10.99), 123.4, 8.6e-7, 950, 0.05, 200000, 10.9, 4.2};
  const std::size_t width = train_line(first).size();
  const double odd[] = {0, 1e-9, 0.5, 7.0, 99.999, 1234.5, 1e7, 1e22, infinity, -infinity, std::nan("")};
  for (const double value : odd) {
    TrainLine line = first;
    line.loss = line.gradient_norm = value;
    line.perplexity = value;
    line.validation_loss = value;
    line.bits_per_byte = value;
    line.eta_seconds = value;
    EXPECT_EQ(train_line(line).size(), width) << value << "\n" << train_line(line);
  }
  for (const double rate : {0.0, 12.0, 999.0, 99'999.0, 123'456.0, 9.9e6, 4.5e8}) {
    TrainLine line = first;
    line.tokens_per_second = rate;
    line.share_of_peak = 1.0;
    line.step = 19073;
    EXPECT_EQ(train_line(line).size(), width) << rate;
  }
}

}  // namespace
}  // namespace nll
