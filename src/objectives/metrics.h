// Metrics: named means (least, most, spreads) that are exact over any split of their observations into micro-batches,
// ranks and steps, because they are kept as sums and counts.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nll {

// One metric. What the four numbers mean depends on the kind; add() and operator+= are the only writers.
class Metric {
 public:
  enum class Kind {
    mean,
    least,
    most,
    deviation,  // square root of the unbiased variance
    variance,   // unbiased
    difference  // mean of what add() was given minus mean of what subtract() was given
  };
  static constexpr std::size_t number_count = 4;

  Metric(std::string name, Kind kind) : name_(std::move(name)), kind_(kind) {}
  const std::string& name() const { return name_; }
  Kind kind() const { return kind_; }

  void add(double x) { add_sum(x, 1); }
  void add_sum(double sum, double count);  // `count` observations at once; means and differences only where count != 1
  void subtract(double x);                 // difference only
  // None without an observation (difference: on either side; deviation and variance: with fewer than two).
  std::optional<double> value() const;

  // As if the observations of `other` had been added here. The kinds must agree.
  Metric& operator+=(const Metric& other);

 private:
  friend class Metrics;
  std::string name_;
  Kind kind_;
  double sum_ = 0, count_ = 0;              // deviation, variance: mean; least, most: the extreme
  double other_sum_ = 0, other_count_ = 0;  // deviation, variance: squared deviations; difference: the other side
};

class Metrics {
 public:
  // The metric of that name; made, without observations, where it is new. A reference is good until the next new name.
  Metric& at(std::string_view name, Metric::Kind kind = Metric::Kind::mean);
  const Metric* find(std::string_view name) const;
  std::optional<double> value(std::string_view name) const;
  const std::vector<Metric>& all() const { return all_; }

  // Unites by name.
  Metrics& operator+=(const Metrics& other);

  // Plain numbers for an exchange between ranks, number_count a metric in order. add_numbers() adds those of another
  // rank, whose metrics have the same names and kinds in the same order.
  std::vector<double> numbers() const;
  void add_numbers(std::span<const double> numbers);

 private:
  std::vector<Metric> all_;
};

}  // namespace nll
