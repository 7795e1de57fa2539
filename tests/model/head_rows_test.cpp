// The head on chosen rows, and at a temperature.
#include <gtest/gtest.h>

#include <cmath>

#include "src/model/head.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

constexpr std::int64_t N = 60, C = 8;
using Rows = std::vector<std::int32_t>;

// Hidden states, targets and coefficients of N tokens.
struct Tokens {
  explicit Tokens(std::int64_t chunk = 100) : rig(tiny_model(), of_chunk(chunk)), targets(random_tokens(2, N, 19)) {
    rig.randomize(41);
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(N * C); ++i)
      hidden.push_back(static_cast<float>(detail::normal(5, i)));
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(N * 4); ++i)
      coefficients.push_back(static_cast<float>(0.1 * detail::normal(6, i)));
  }
  static HeadConfig of_chunk(std::int64_t chunk) {
    HeadConfig head;
    head.chunk_tokens = chunk;
    return head;
  }
  Head head(RowChoice choice) { return Head(rig.model, rig.head, rig.ops, rig.device, N, {}, choice); }
  Tensor states() { return rig.upload(hidden, {N, C}); }
  Tensor upload(const Rows& rows) { return rig.upload(rows, {size(rows)}); }
  static std::int64_t size(const Rows& rows) { return static_cast<std::int64_t>(rows.size()); }
  // Those of `rows`, `width` of each token.
  template <class T>
  std::vector<T> of(const Rows& rows, const std::vector<T>& all, std::int64_t width) const {
    std::vector<T> some;
    for (const std::int32_t row : rows) some.insert(some.end(), &all[row * width], &all[row * width] + width);
    return some;
  }
  std::vector<float> download(Tensor t) const {
    std::vector<float> values;
    if (t.type() == DType::f32) return rig.download(t);
    for (const std::int32_t value : rig.download_i32(t)) values.push_back(static_cast<float>(value));
    return values;
  }
  // The products of all other instruction sets give each of 24 rows or more the same bits whatever the others are.
  bool exact() const { return rig.device.info().instructions != "generic"; }

  Rig rig;
  std::vector<float> hidden, coefficients;
  Rows targets;
};

Rows every(std::int32_t step, std::int32_t first = 0) {
  Rows rows;
  for (std::int32_t row = first; row < N; row += step) rows.push_back(row);
  return rows;
}
// One, fewer than a full-speed product needs, more than that, more than a chunk of 30, all.
const std::vector<Rows> choices = {{17}, every(9, 2), every(2, 1), every(1, 23), every(1)};

std::vector<Tensor> all_of(const TokenStatistics& s) {
  return {s.logp, s.maximum, s.log_denominator, s.entropy, s.mean_logp, s.sum_p2, s.argmax, s.rank};
}

TEST(HeadRows, HaveTheStatisticsThatTheyHaveAmongAll) {
  for (const std::int64_t chunk : {N, std::int64_t{30}}) {
    Tokens t(chunk);
    Head whole(t.rig.model, Tokens::of_chunk(N), t.rig.ops, t.rig.device, N);
    std::vector<std::vector<float>> expected;
    for (const Tensor& all : all_of(whole.score(t.states(), t.upload(t.targets), t.rig.w.wte, true)))
      expected.push_back(t.download(all));
    Head head = t.head(RowChoice::chosen);
    for (const Rows& rows : choices) {
      const Tensor targets = t.upload(t.of(rows, t.targets, 1));
      const TokenStatistics found = head.score(t.states(), t.upload(rows), targets, t.rig.w.wte, true);
      for (std::size_t k = 0; k < expected.size(); ++k) {
        const std::vector<float> some = t.download(all_of(found)[k]), of_all = t.of(rows, expected[k], 1);
        if (t.exact()) {
          EXPECT_EQ(some, of_all) << k << ", " << rows.size() << " rows";
        }
        ASSERT_EQ(some.size(), of_all.size());
        // A logit is a sum of C products of at most 8; the statistics add a few roundings of numbers below 64.
        for (std::size_t i = 0; i < some.size(); ++i) EXPECT_NEAR(some[i], of_all[i], (C + 8) * 64 * 0x1p-24);
      }
    }
  }
}

struct Trained {
  std::vector<float> logp, dhidden, dwte;
};

Trained train_rows(Tokens& t, const Rows& rows, Into into, const std::vector<float>& dwte) {
  Head head = t.head(RowChoice::chosen);
  const std::int64_t m = Tokens::size(rows);
  const Tensor dhidden = t.rig.upload(std::vector<float>(N * C, NAN), {N, C});
  const Tensor weights = t.rig.upload(dwte, {t.rig.w.wte.dim(0), C});
  const Tensor coefficients = t.rig.upload(t.of(rows, t.coefficients, 4), {m, 4});
  const TokenStatistics s = head.train(dhidden, weights, into, t.states(), t.upload(rows),
                                       t.upload(t.of(rows, t.targets, 1)), coefficients, t.rig.w.wte, {});
  return {t.rig.download(s.logp), t.rig.download(dhidden), t.rig.download(weights)};
}

// All rows, of which those that are not chosen have an ignored target.
Trained train_all(Tokens& t, const Rows& rows, Into into, const std::vector<float>& dwte) {
  Head head(t.rig.model, Tokens::of_chunk(N), t.rig.ops, t.rig.device, N);
  Rows targets(N, ignore_index);
  for (const std::int32_t row : rows) targets[static_cast<std::size_t>(row)] = t.targets[static_cast<std::size_t>(row)];
  const Tensor dhidden = t.rig.zeros({N, C}), weights = t.rig.upload(dwte, {t.rig.w.wte.dim(0), C});
  const TokenStatistics s = head.train(dhidden, weights, into, t.states(), t.upload(targets),
                                       t.rig.upload(t.coefficients, {N, 4}), t.rig.w.wte);
  return {t.of(rows, t.rig.download(s.logp), 1), t.rig.download(dhidden), t.rig.download(weights)};
}

void expect_near(const std::vector<float>& found, const std::vector<float>& expected, double tolerance) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], expected[i], tolerance) << i;
}

TEST(HeadRows, TrainLikeAllRowsOfWhichTheOthersAreIgnored) {
  for (const std::int64_t chunk : {std::int64_t{100}, std::int64_t{30}, std::int64_t{7}}) {
    Tokens t(chunk);
    const std::vector<float> before(static_cast<std::size_t>(t.rig.w.wte.size()), 0.5f);
    for (const Rows& rows : choices) {
      for (const Into into : {Into::write, Into::add}) {
        SCOPED_TRACE(std::to_string(rows.size()) + " rows in chunks of " + std::to_string(chunk));
        const Trained found = train_rows(t, rows, into, before), expected = train_all(t, rows, into, before);
        // As above; a gradient of a logit is below 1, dhidden a sum of V of them by weights below 2, dwte one of N.
        expect_near(found.logp, expected.logp, (C + 8) * 64 * 0x1p-24);
        expect_near(found.dhidden, expected.dhidden, (C + 8 + 19) * 64 * 0x1p-24);
        expect_near(found.dwte, expected.dwte, (C + 8 + N) * 64 * 0x1p-24);
      }
    }
  }
}

TEST(HeadRows, ThatAreNotChosenGetAGradientOfExactlyZero) {
  Tokens t(7);
  const Rows rows = every(9, 2);
  const Trained found = train_rows(t, rows, Into::write, std::vector<float>(static_cast<std::size_t>(32 * C)));
  std::size_t next = 0;
  for (std::int32_t row = 0; row < N; ++row) {
    const bool chosen = next < rows.size() && rows[next] == row;
    for (std::int64_t c = 0; c < C; ++c) EXPECT_EQ(found.dhidden[static_cast<std::size_t>(row * C + c)] != 0, chosen);
    next += chosen ? 1 : 0;
  }
}

TEST(HeadRows, MayBeNone) {
  Tokens t;
  const std::vector<float> before(static_cast<std::size_t>(t.rig.w.wte.size()), 0.5f);
  for (const Into into : {Into::write, Into::add}) {
    const Trained found = train_rows(t, {}, into, before);
    EXPECT_TRUE(found.logp.empty());
    EXPECT_EQ(found.dhidden, std::vector<float>(N * C, 0.0f));
    EXPECT_EQ(found.dwte, into == Into::add ? before : std::vector<float>(before.size(), 0.0f));
  }
  Head head = t.head(RowChoice::chosen);
  EXPECT_EQ(head.score(t.states(), t.upload({}), t.upload({}), t.rig.w.wte, true).logp.size(), 0);
}

TEST(HeadRows, TakeMemoryOnlyWhereTheyAreWanted) {
  Tokens t;
  const std::int64_t all = Head::plan(t.rig.model, t.rig.head, N).bytes();
  EXPECT_EQ(Head::plan(t.rig.model, t.rig.head, N, {}, nullptr, RowChoice::all).bytes(), all);
  EXPECT_EQ(Head::plan(t.rig.model, t.rig.head, N, {}, nullptr, RowChoice::chosen).bytes() - all,
            2 * (N * C * 4 + 128));
  Head head = t.head(RowChoice::all);
  EXPECT_THROW(head.score(t.states(), t.upload({3}), t.upload({1}), t.rig.w.wte, true), std::logic_error);
}

TEST(Head, TemperatureDividesTheLogitsOfEveryLogProbability) {
  Tokens t;
  Head head = t.head(RowChoice::chosen);
  const std::vector<float> logits = t.rig.download(head.logits(t.states(), t.rig.w.wte));
  const std::size_t Vp = logits.size() / N;
  head.set_temperature(2.5);
  const std::vector<float> all = t.rig.download(head.score(t.states(), t.upload(t.targets), t.rig.w.wte, false).logp);
  const std::vector<float> some =
      t.rig.download(head.score(t.states(), t.upload(every(1)), t.upload(t.targets), t.rig.w.wte, false).logp);
  for (std::size_t i = 0; i < N; ++i) {
    double sum = 0;
    for (std::size_t j = 0; j < 19; ++j) sum += std::exp(logits[i * Vp + j] / 2.5);
    const double expected = logits[i * Vp + static_cast<std::size_t>(t.targets[i])] / 2.5 - std::log(sum);
    // A few roundings of numbers below 16.
    EXPECT_NEAR(all[i], expected, 8 * 16 * 0x1p-24);
    EXPECT_NEAR(some[i], expected, 8 * 16 * 0x1p-24);
  }
  EXPECT_THROW(head.set_temperature(0), std::logic_error);
}

}  // namespace
}  // namespace nll::test
