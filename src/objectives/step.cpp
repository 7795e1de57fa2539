#include "src/objectives/step.h"

#include <algorithm>

#include "kernels/check.h"

namespace nll {

namespace {

// Row `row` of a (B,T) span; nothing of an empty one.
template <class T>
std::span<const T> row_of(std::span<const T> all, std::size_t row, std::size_t context, std::size_t sequences) {
  if (all.empty()) return {};
  CHECK(all.size() == sequences * context);
  return all.subspan(row * context, context);
}

std::optional<double> entry_of(std::span<const double> all, std::size_t row, std::size_t sequences) {
  if (all.empty()) return std::nullopt;
  CHECK(all.size() == sequences);
  return all[row];
}

Sequence row_of(const MicroBatch& part, std::size_t row) {
  const Batch& batch = *part.batch;
  const auto B = static_cast<std::size_t>(batch.sequences), T = static_cast<std::size_t>(batch.context);
  const auto take = [&](auto all) { return row_of(all, row, T, B); };
  Sequence s;
  s.targets = take(std::span<const std::int32_t>(batch.targets));
  if (!batch.sequence_info.empty()) {
    s.info = batch.sequence_info[row];
  } else {
    s.info.tokens = batch.context + 1;
  }
  s.scored = {s.targets,
              take(part.scored.logp),
              take(part.scored.maximum),
              take(part.scored.log_denominator),
              take(part.scored.entropy),
              take(part.scored.mean_logp),
              take(part.scored.argmax)};
  s.values = take(part.values);
  s.old_logp = take(part.old_logp);
  s.old_values = take(part.old_values);
  s.reference_logp = take(part.reference_logp);
  s.token_advantages = take(part.token_advantages);
  s.returns = take(part.returns);
  s.reference_total = entry_of(part.reference_sums, row, B);
  s.mismatched = entry_of(part.mismatched_sums, row, B);
  s.mismatched_reference = entry_of(part.mismatched_reference_sums, row, B);
  s.advantage = entry_of(part.advantages, row, B).value_or(0);
  const Positions completion = completion_positions(s.info, batch.context);
  s.begin = completion.begin;
  s.end = completion.end;
  s.everything([&](std::size_t) { s.valid += 1; });
  s.completion([&](std::size_t) { s.tokens += 1; });
  return s;
}

}  // namespace

Positions completion_positions(const SequenceInfo& info, std::int64_t context) {
  // The first token of a sequence is predicted by nothing.
  const std::int64_t begin = std::max<std::int64_t>(info.prompt_tokens, 1) - 1;
  const std::int64_t end = std::clamp<std::int64_t>(info.tokens - 1, 0, context);
  return {static_cast<std::size_t>(std::min(begin, end)), static_cast<std::size_t>(end)};
}

double Sequence::sum(std::span<const float> row) const {
  CHECK(row.size() == targets.size());
  double total = 0;
  completion([&](std::size_t t) { total += static_cast<double>(row[t]); });
  return total;
}

double Sequence::reference_sum() const { return reference_total ? *reference_total : sum(reference_logp); }

Step::Step(std::span<const MicroBatch> micro_batches, std::int64_t gold_tokens)
    : micro_batches_(micro_batches.size()), gold_tokens_(gold_tokens) {
  for (std::size_t i = 0; i < micro_batches.size(); ++i) {
    const Batch& batch = *micro_batches[i].batch;
    const auto B = static_cast<std::size_t>(batch.sequences), T = static_cast<std::size_t>(batch.context);
    CHECK(batch.targets.size() == B * T);
    CHECK((batch.sequence_info.empty() || batch.sequence_info.size() == B));
    for (std::size_t row = 0; row < B; ++row) {
      if (!batch.sequence_info.empty() && batch.sequence_info[row].record < 0) continue;
      Sequence& s = sequences_.emplace_back(row_of(micro_batches[i], row));
      s.micro_batch = i;
      s.offset = positions_ + row * T;
    }
    positions_ += B * T;
  }
}

StepCounts& StepCounts::operator+=(const StepCounts& other) {
  sequences += other.sequences;
  scored_sequences += other.scored_sequences;
  records += other.records;
  tokens += other.tokens;
  completion_tokens += other.completion_tokens;
  chosen_tokens += other.chosen_tokens;
  chosen_prompt_tokens += other.chosen_prompt_tokens;
  micro_batches += other.micro_batches;
  return *this;
}

std::array<double, StepCounts::size> StepCounts::numbers() const {
  const std::array<std::int64_t, size> all{sequences,     scored_sequences,     records,      tokens, completion_tokens,
                                           chosen_tokens, chosen_prompt_tokens, micro_batches};
  std::array<double, size> numbers{};
  std::transform(all.begin(), all.end(), numbers.begin(), [](std::int64_t n) { return static_cast<double>(n); });
  return numbers;
}

StepCounts StepCounts::from_numbers(std::span<const double> numbers) {
  CHECK(numbers.size() == size);
  const auto at = [&](std::size_t i) { return static_cast<std::int64_t>(numbers[i]); };
  return {at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)};
}

StepCounts count(const Step& step) {
  StepCounts counts;
  counts.micro_batches = static_cast<std::int64_t>(step.micro_batches());
  for (const Sequence& s : step.sequences()) {
    counts.sequences += 1;
    counts.scored_sequences += s.valid > 0 ? 1 : 0;
    counts.tokens += s.valid;
    counts.completion_tokens += s.tokens;
    if (s.info.role != 0) continue;
    counts.records += 1;
    counts.chosen_tokens += s.tokens;
    s.prompt([&](std::size_t) { counts.chosen_prompt_tokens += 1; });
  }
  return counts;
}

}  // namespace nll
