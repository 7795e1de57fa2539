#include "src/objectives/metrics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nll {
namespace {

using Kind = Metric::Kind;
constexpr Kind kinds[] = {Kind::mean, Kind::least, Kind::most, Kind::deviation, Kind::variance};

TEST(Metrics, AreTheSameOverAnySplitOfTheirObservations) {
  const std::vector<double> x{3, -1, 4, 1, -5, 9, 2, 6};
  Metrics whole;
  for (Kind kind : kinds) {
    for (double v : x) whole.at("k" + std::to_string(static_cast<int>(kind)), kind).add(v);
  }
  EXPECT_DOUBLE_EQ(*whole.value("k0"), 2.375);
  EXPECT_EQ(whole.value("k1"), -5.0);
  EXPECT_EQ(whole.value("k2"), 9.0);
  double squares = 0;
  for (double v : x) squares += (v - 2.375) * (v - 2.375);
  EXPECT_NEAR(*whole.value("k4"), squares / 7, 1e-14);
  EXPECT_NEAR(*whole.value("k3"), std::sqrt(squares / 7), 1e-14);
  for (std::size_t cut = 0; cut <= x.size(); ++cut) {
    Metrics parts[2];
    for (Kind kind : kinds) {
      const std::string name = "k" + std::to_string(static_cast<int>(kind));
      parts[0].at(name, kind);
      parts[1].at(name, kind);
      for (std::size_t i = 0; i < x.size(); ++i) parts[i < cut ? 0 : 1].at(name, kind).add(x[i]);
    }
    Metrics by_name = parts[0], by_numbers = parts[0];
    by_name += parts[1];
    by_numbers.add_numbers(parts[1].numbers());
    for (const Metric& metric : whole.all()) {
      EXPECT_NEAR(*by_name.value(metric.name()), *metric.value(), 1e-14);
      EXPECT_EQ(by_numbers.value(metric.name()), by_name.value(metric.name()));
    }
  }
}

TEST(Metrics, ADifferenceIsThatOfTwoMeansAndNeedsBoth) {
  Metric margins("margins", Kind::difference);
  EXPECT_FALSE(margins.value().has_value());
  margins.add(1);
  margins.add(2);
  EXPECT_FALSE(margins.value().has_value());
  margins.subtract(5);
  EXPECT_DOUBLE_EQ(*margins.value(), -3.5);
}

TEST(Metrics, WithoutObservationsThereIsNoValue) {
  Metrics metrics;
  for (Kind kind : kinds) {
    EXPECT_FALSE(metrics.at("m" + std::to_string(static_cast<int>(kind)), kind).value().has_value());
  }
  EXPECT_FALSE(metrics.value("unheard of").has_value());
  metrics.at("one", Kind::variance).add(3);
  EXPECT_FALSE(metrics.value("one").has_value()) << "one observation does not vary";
}

TEST(Metrics, ANameHasOneKind) {
  Metrics metrics;
  metrics.at("loss");
  EXPECT_THROW(metrics.at("loss", Kind::most), std::logic_error);
}

}  // namespace
}  // namespace nll
