#include "src/train/rank_sums.h"

#include <cstring>

namespace nll {

namespace {

std::vector<double> numbers_in(const std::string& bytes) {
  std::vector<double> numbers(bytes.size() / sizeof(double));
  if (!bytes.empty()) std::memcpy(numbers.data(), bytes.data(), numbers.size() * sizeof(double));
  return numbers;
}

std::string bytes_of(const std::vector<double>& numbers) {
  return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(double)};
}

}  // namespace

std::vector<double> add_over_ranks(Collective& collective, const std::vector<double>& mine, const char* name) {
  if (collective.alone() || mine.empty()) return mine;
  std::vector<double> all(mine.size());
  for (const std::string& bytes : collective.exchange(bytes_of(mine), name)) {
    const std::vector<double> numbers = numbers_in(bytes);
    CHECK(numbers.size() == all.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] += numbers[i];
  }
  return all;
}

Metrics add_over_ranks(Collective& collective, const Metrics& mine) {
  if (collective.alone()) return mine;
  Metrics all;
  for (const Metric& metric : mine.all()) all.at(metric.name(), metric.kind());
  for (const std::string& bytes : collective.exchange(bytes_of(mine.numbers()), "metrics of the objective"))
    all.add_numbers(numbers_in(bytes));
  return all;
}

StepCounts add_over_ranks(Collective& collective, const StepCounts& mine) {
  const auto numbers = mine.numbers();
  return StepCounts::from_numbers(
      add_over_ranks(collective, std::vector<double>(numbers.begin(), numbers.end()), "counts of the objective"));
}

bool all_go_on(Collective& collective, bool mine) {
  return add_over_ranks(collective, {mine ? 0.0 : 1.0}, "whether to go on").front() == 0;
}

}  // namespace nll
