#include "src/train/rollout.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <type_traits>

#include "kernels/check.h"
#include "kernels/ops.h"
#include "src/text/loader.h"
#include "src/text/record_cache_bytes.h"

namespace nll {
namespace {

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;

template <class T>
void put(std::string& bytes, T value) {
  put_number(bytes, std::bit_cast<BitsOf<T>>(value), sizeof(T));
}

template <class T>
void put(std::string& bytes, const std::vector<T>& values) {
  put(bytes, static_cast<std::int64_t>(values.size()));
  for (T value : values) put(bytes, value);
}

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& place) : bytes_(bytes), place_(place) {}
  bool at_end() const { return at_ == bytes_.size(); }
  [[noreturn]] void refuse(const char* what) const {
    throw Error(Exit::bad_data,
                fmt::format("{}: the completions of a rollout are damaged at byte {}: {}", place_, at_, what));
  }
  void require(bool fine, const char* what) const {
    if (!fine) refuse(what);
  }
  template <class T>
  T number() {
    require(bytes_.size() - at_ >= sizeof(T), "they end here");
    const std::uint64_t bits = number_at(bytes_, at_, sizeof(T));
    at_ += sizeof(T);
    return std::bit_cast<T>(static_cast<BitsOf<T>>(bits));
  }
  template <class T>
  std::vector<T> vector() {
    const auto size = number<std::int64_t>();
    require(size >= 0 && static_cast<std::uint64_t>(size) <= (bytes_.size() - at_) / sizeof(T), "they end here");
    std::vector<T> values;
    values.reserve(static_cast<std::size_t>(size));
    for (std::int64_t i = 0; i < size; ++i) values.push_back(number<T>());
    return values;
  }
  bool flag() {
    const auto value = number<std::int32_t>();
    require(value == 0 || value == 1, "a flag is neither 0 nor 1");
    return value == 1;
  }

 private:
  std::string_view bytes_;
  const std::string& place_;
  std::size_t at_ = 0;
};

Completion read_completion(Reader& reader, std::int64_t vocabulary, std::int64_t context) {
  Completion c;
  c.record = reader.number<std::int64_t>();
  c.prompt_tokens = reader.number<std::int64_t>();
  c.gold_tokens = reader.number<std::int64_t>();
  c.ended = reader.flag();
  c.learned = reader.flag();
  c.reward = reader.number<double>();
  c.advantage = reader.number<double>();
  c.tokens = reader.vector<std::int32_t>();
  c.rule_rewards = reader.vector<double>();
  c.sampled_logp = reader.vector<float>();
  c.logp = reader.vector<float>();
  c.reference_logp = reader.vector<float>();
  c.values = reader.vector<float>();
  c.token_advantages = reader.vector<double>();
  c.returns = reader.vector<double>();

  const std::int64_t n = c.completion_tokens();
  reader.require(c.record >= 0, "a record below 0");
  reader.require(c.prompt_tokens >= 1 && n >= 1, "a prompt or a completion without tokens");
  reader.require(static_cast<std::int64_t>(c.tokens.size()) <= context, "a sequence is longer than the context");
  reader.require(c.gold_tokens >= 0 && c.gold_tokens <= n, "more gold tokens than tokens");
  for (std::int32_t id : c.tokens) reader.require(id >= 0 && id < vocabulary, "a token outside of the vocabulary");
  const auto length_is = [&](std::size_t size, std::int64_t expected) {
    reader.require(size == 0 || static_cast<std::int64_t>(size) == expected, "a list of the wrong length");
  };
  for (const std::vector<float>* list : {&c.sampled_logp, &c.logp, &c.reference_logp}) length_is(list->size(), n);
  length_is(c.values.size(), n + 1);
  length_is(c.token_advantages.size(), n);
  length_is(c.returns.size(), n);
  return c;
}

// The vectors of a completion at the rows of a batch.
template <class T>
void fill(std::vector<T>& rows, std::size_t begin, const std::vector<T>& values, std::size_t count) {
  CHECK(values.size() >= count);
  std::copy_n(values.begin(), count, rows.begin() + static_cast<std::ptrdiff_t>(begin));
}

}  // namespace

std::string pack_completions(const std::vector<Completion>& completions) {
  std::string bytes;
  for (const Completion& c : completions) {
    put(bytes, c.record);
    put(bytes, c.prompt_tokens);
    put(bytes, c.gold_tokens);
    put(bytes, std::int32_t{c.ended});
    put(bytes, std::int32_t{c.learned});
    put(bytes, c.reward);
    put(bytes, c.advantage);
    put(bytes, c.tokens);
    put(bytes, c.rule_rewards);
    put(bytes, c.sampled_logp);
    put(bytes, c.logp);
    put(bytes, c.reference_logp);
    put(bytes, c.values);
    put(bytes, c.token_advantages);
    put(bytes, c.returns);
  }
  return bytes;
}

std::vector<Completion> unpack_completions(std::string_view bytes, std::int64_t vocabulary, std::int64_t context,
                                           const std::string& place) {
  Reader reader(bytes, place);
  std::vector<Completion> completions;
  while (!reader.at_end()) completions.push_back(read_completion(reader, vocabulary, context));
  return completions;
}

std::int64_t RolloutCut::micro_batches() const {
  const auto shares = [](std::int64_t count, std::int64_t parts) { return (count + parts - 1) / parts; };
  return shares(shares(shares(completions, mini_batches), ranks), sequences);
}

std::vector<std::int64_t> RolloutCut::of_step(std::int64_t index, std::int64_t k) const {
  CHECK(k >= 0);
  CHECK(k < steps());
  const std::int64_t epoch = index * epochs + k / mini_batches, part = k % mini_batches;
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = part * completions / mini_batches; i < (part + 1) * completions / mini_batches; ++i) {
    chosen.push_back(permuted_index(seed, epoch, completions, i));
  }
  return chosen;
}

std::vector<std::int64_t> RolloutCut::of_rank(const std::vector<std::int64_t>& all) const {
  const auto n = static_cast<std::int64_t>(all.size());
  return {all.begin() + rank * n / ranks, all.begin() + (rank + 1) * n / ranks};
}

StepBatch rollout_batch(const std::vector<const Completion*>& completions, const RolloutCut& cut, const Needs& needs) {
  CHECK(static_cast<std::int64_t>(completions.size()) <= cut.sequences);
  StepBatch made;
  Batch& batch = made.batch;
  batch.sequences = cut.sequences;
  batch.context = cut.context;
  const auto B = static_cast<std::size_t>(cut.sequences), T = static_cast<std::size_t>(cut.context);
  batch.tokens.assign(B * T, cut.padding);
  batch.targets.assign(B * T, ignore_index);
  batch.sequence_info.resize(B);
  const auto make = [&](bool wanted, auto& rows, std::size_t size) {
    if (wanted) rows.assign(size, 0);
  };
  make(needs.old_logp, made.old_logp, B * T);
  make(needs.old_values, made.old_values, B * T);
  make(needs.reference_logp, made.reference_logp, B * T);
  make(needs.advantages, made.advantages, B);
  make(needs.token_advantages, made.token_advantages, B * T);
  make(needs.returns, made.returns, B * T);
  for (std::size_t row = 0; row < completions.size(); ++row) {
    const Completion& c = *completions[row];
    CHECK(c.tokens.size() <= T);
    CHECK(c.prompt_tokens >= 1);
    std::copy(c.tokens.begin(), c.tokens.end(), batch.tokens.begin() + static_cast<std::ptrdiff_t>(row * T));
    batch.sequence_info[row] = {
        .record = c.record, .prompt_tokens = c.prompt_tokens, .tokens = static_cast<std::int64_t>(c.tokens.size())};
    const auto prompt = static_cast<std::size_t>(c.prompt_tokens), n = c.tokens.size() - prompt;
    // The completion's first token is predicted at the prompt's last position.
    const std::size_t begin = row * T + prompt - 1;
    const std::size_t counted = c.learned ? n : static_cast<std::size_t>(c.gold_tokens);
    std::copy_n(c.tokens.begin() + c.prompt_tokens, counted,
                batch.targets.begin() + static_cast<std::ptrdiff_t>(begin));
    if (needs.old_logp) fill(made.old_logp, begin, c.logp, n);
    if (needs.old_values) fill(made.old_values, begin, c.values, n);
    if (needs.reference_logp) fill(made.reference_logp, begin, c.reference_logp, n);
    if (needs.advantages) made.advantages[row] = c.advantage;
    if (needs.token_advantages) fill(made.token_advantages, begin, c.token_advantages, n);
    if (needs.returns) fill(made.returns, begin, c.returns, n);
  }
  return made;
}

std::vector<StepBatch> rollout_batches(const Rollout& rollout, const RolloutCut& cut, std::int64_t index,
                                       std::int64_t k, const Needs& needs) {
  CHECK(static_cast<std::int64_t>(rollout.completions.size()) == cut.completions);
  const std::vector<std::int64_t> mine = cut.of_rank(cut.of_step(index, k));
  std::vector<StepBatch> batches;
  for (std::int64_t m = 0; m < cut.micro_batches(); ++m) {
    std::vector<const Completion*> rows;
    const auto begin = static_cast<std::size_t>(m * cut.sequences);
    for (std::size_t i = begin; i < std::min(mine.size(), begin + static_cast<std::size_t>(cut.sequences)); ++i) {
      rows.push_back(&rollout.completions[static_cast<std::size_t>(mine[i])]);
    }
    batches.push_back(rollout_batch(rows, cut, needs));
  }
  return batches;
}

}  // namespace nll
