#include "src/objectives/metrics.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"

namespace nll {

void Metric::add_sum(double sum, double count) {
  if (count == 0) return;
  switch (kind_) {
    case Kind::mean:
    case Kind::difference:
      sum_ += sum;
      count_ += count;
      return;
    case Kind::least:
    case Kind::most:
    case Kind::deviation:
    case Kind::variance: {
      CHECK(count == 1.0);
      Metric one(name_, kind_);
      one.sum_ = sum;
      one.count_ = 1;
      *this += one;
      return;
    }
  }
}

void Metric::subtract(double x) {
  CHECK(kind_ == Kind::difference);
  other_sum_ += x;
  other_count_ += 1;
}

std::optional<double> Metric::value() const {
  if (count_ == 0) return std::nullopt;
  switch (kind_) {
    case Kind::mean:
      return sum_ / count_;
    case Kind::least:
    case Kind::most:
      return sum_;
    case Kind::difference:
      if (other_count_ == 0) return std::nullopt;
      return sum_ / count_ - other_sum_ / other_count_;
    case Kind::deviation:
    case Kind::variance: {
      if (count_ < 2) return std::nullopt;
      const double variance = other_sum_ / (count_ - 1);
      return kind_ == Kind::variance ? variance : std::sqrt(variance);
    }
  }
  return std::nullopt;
}

Metric& Metric::operator+=(const Metric& other) {
  CHECK(kind_ == other.kind_);
  switch (kind_) {
    case Kind::mean:
    case Kind::difference:
      sum_ += other.sum_;
      other_sum_ += other.other_sum_;
      other_count_ += other.other_count_;
      count_ += other.count_;
      break;
    case Kind::least:
    case Kind::most:
      if (other.count_ == 0) break;
      if (count_ == 0) {
        sum_ = other.sum_;
      } else {
        sum_ = kind_ == Kind::least ? std::min(sum_, other.sum_) : std::max(sum_, other.sum_);
      }
      count_ += other.count_;
      break;
    case Kind::deviation:
    case Kind::variance: {
      if (other.count_ == 0) break;
      // Means and squared deviations of two parts (Chan, Golub and LeVeque 1983).
      const double count = count_ + other.count_, gap = other.sum_ - sum_;
      other_sum_ += other.other_sum_ + gap * gap * count_ * other.count_ / count;
      sum_ += gap * other.count_ / count;
      count_ = count;
      break;
    }
  }
  return *this;
}

Metric& Metrics::at(std::string_view name, Metric::Kind kind) {
  for (Metric& metric : all_) {
    if (metric.name() != name) continue;
    CHECK(metric.kind() == kind);
    return metric;
  }
  return all_.emplace_back(std::string(name), kind);
}

const Metric* Metrics::find(std::string_view name) const {
  const auto found = std::find_if(all_.begin(), all_.end(), [&](const Metric& m) { return m.name() == name; });
  return found == all_.end() ? nullptr : &*found;
}

std::optional<double> Metrics::value(std::string_view name) const {
  const Metric* metric = find(name);
  return metric ? metric->value() : std::nullopt;
}

Metrics& Metrics::operator+=(const Metrics& other) {
  for (const Metric& metric : other.all_) at(metric.name(), metric.kind()) += metric;
  return *this;
}

std::vector<double> Metrics::numbers() const {
  std::vector<double> numbers;
  numbers.reserve(all_.size() * Metric::number_count);
  for (const Metric& m : all_) numbers.insert(numbers.end(), {m.sum_, m.count_, m.other_sum_, m.other_count_});
  return numbers;
}

void Metrics::add_numbers(std::span<const double> numbers) {
  CHECK(numbers.size() == all_.size() * Metric::number_count);
  for (std::size_t i = 0; i < all_.size(); ++i) {
    Metric theirs(all_[i].name(), all_[i].kind());
    theirs.sum_ = numbers[Metric::number_count * i];
    theirs.count_ = numbers[Metric::number_count * i + 1];
    theirs.other_sum_ = numbers[Metric::number_count * i + 2];
    theirs.other_count_ = numbers[Metric::number_count * i + 3];
    all_[i] += theirs;
  }
}

}  // namespace nll
