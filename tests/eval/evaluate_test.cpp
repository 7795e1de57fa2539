#include "src/eval/evaluate.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <memory>

#include "src/eval/breakdown.h"
#include "src/eval/score.h"
#include "src/text/loader.h"
#include "tests/model/reference.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

using Tokens = std::vector<std::int32_t>;

// A fresh folder that goes when the test is over.
struct Folder {
  Folder() {
    std::string path = (std::filesystem::temp_directory_path() / "nll_eval_XXXXXX").string();
    CHECK(mkdtemp(path.data()) != nullptr);
    at = path;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(at, ignored);
  }
  std::filesystem::path at;
};

constexpr std::int64_t V = 19, T = 6, B = 2;

// Texts in files, a model, and everything to evaluate one on the other. Id 18 is special; id i has i % 4 + 1 bytes of
// which the first is a code point.
struct Bench {
  explicit Bench(std::vector<Tokens> file_texts) : rig(tiny_model()), texts(std::move(file_texts)) {
    rig.randomize(51);
    std::vector<std::string> paths;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      paths.push_back((folder.at / ("validation_" + std::to_string(i) + ".bin")).string());
      TokenFileWriter writer(paths.back(), V, 18, 1);
      writer.append(texts[i]);
      writer.finish();
    }
    dataset = std::make_unique<TokenDataset>(paths, 1, V);  // so that texts shorter than a window are read too
    for (std::int32_t id = 0; id < V; ++id) {
      lengths.bytes.push_back(id == 18 ? 0 : id % 4 + 1);
      lengths.characters.push_back(id == 18 ? 0 : 1);
      lengths.special.push_back(id == 18 ? 1 : 0);
    }
  }
  Evaluation evaluate(std::int64_t limit = 0, const std::function<bool(std::int64_t, std::int64_t)>& progress = {},
                      std::int64_t sequences = B, std::int64_t stride = 0, const TokenObserver& observe = {}) {
    Gpt gpt(rig.model, rig.ops, rig.device, sequences, T, Pass::inference);
    Head head(rig.model, rig.head, rig.ops, rig.device, sequences * T);
    SequentialWindows windows(*dataset, T, sequences, limit, V, stride);
    return nll::evaluate(gpt, head, rig.device, rig.w, windows, lengths,
                         Arena(rig.device, evaluation_plan(sequences, T)), progress, observe);
  }
  // What rank r of R finds, with a batch of one window: rows of a product may round otherwise in another batch.
  Score score(std::int64_t rank, std::int64_t ranks, std::int64_t limit, std::int64_t stride,
              const TokenObserver& observe = {}) {
    Gpt gpt(rig.model, rig.ops, rig.device, 1, T, Pass::inference);
    Head head(rig.model, rig.head, rig.ops, rig.device, T);
    SequentialWindows windows(*dataset, T, 1, limit, V, stride, rank, ranks);
    const Score found = score_windows(gpt, head, rig.device, rig.w, windows, lengths,
                                      Arena(rig.device, evaluation_plan(1, T)), {}, observe);
    EXPECT_EQ(found.tokens(), windows.targets());
    return found;
  }
  // The same in double, straight from the texts: windows of T targets one after the other, in each file on its own.
  Evaluation reference() {
    const std::vector<float> stored = rig.download(rig.weights);
    const std::vector<double> weights(stored.begin(), stored.end());
    const Reference model{rig.model, rig.table};
    Evaluation e;
    double nll = 0, text_nll = 0;
    for (const Tokens& text : texts) {
      for (std::size_t begin = 0; begin + 1 < text.size(); begin += T) {
        const std::size_t end = std::min(begin + T, text.size() - 1);
        const auto part = [&](std::size_t shift) {
          return Tokens(text.begin() + static_cast<std::ptrdiff_t>(begin + shift),
                        text.begin() + static_cast<std::ptrdiff_t>(end + shift));
        };
        const Tokens targets = part(1);
        const std::vector<ReferenceToken> scored = model.score(weights, part(0), targets, 1);
        for (std::size_t i = 0; i < scored.size(); ++i) {
          const std::size_t id = static_cast<std::size_t>(targets[i]);
          ++e.tokens;
          nll -= scored[i].logp;
          if (id != 18) text_nll -= scored[i].logp;
          e.bytes += lengths.bytes[id];
          e.characters += lengths.characters[id];
          e.accuracy += scored[i].rank == 1;
          e.top5 += scored[i].rank <= 5;
          e.entropy += scored[i].entropy;
          e.brier += scored[i].sum_p2 - 2 * std::exp(scored[i].logp) + 1;
          add_prediction(e.calibration, std::exp(-scored[i].log_denominator), scored[i].rank == 1);
        }
      }
    }
    const double n = static_cast<double>(e.tokens), ln2 = std::log(2.0);
    e.loss = nll / n;
    e.perplexity = std::exp(nll / n);
    e.bits_per_byte = text_nll / ln2 / static_cast<double>(e.bytes);
    e.bits_per_byte_total = nll / ln2 / static_cast<double>(e.bytes);
    e.bits_per_character = text_nll / ln2 / static_cast<double>(e.characters);
    for (double* mean : {&e.accuracy, &e.top5, &e.entropy, &e.brier}) *mean /= n;
    e.ece = calibration_error(e.calibration).ece;
    return e;
  }
  Folder folder;
  Rig rig;
  std::vector<Tokens> texts;
  std::unique_ptr<TokenDataset> dataset;
  TokenLengths lengths;
};

// 8 L + 6 ops with sums of at most 4 C terms on logits of a few units.
constexpr double tolerance = (8 * 2 + 6) * 4 * 8 * 0x1p-24 * 4;

TEST(Evaluate, EqualsTheReferenceInDouble) {
  Bench bench({random_tokens(1, 45, V), random_tokens(2, 20, V), random_tokens(3, 8, V)});
  const Evaluation found = bench.evaluate(), expected = bench.reference();
  EXPECT_EQ(found.tokens, expected.tokens);
  EXPECT_EQ(found.bytes, expected.bytes);
  EXPECT_EQ(found.characters, expected.characters);
  EXPECT_NEAR(found.loss, expected.loss, tolerance);
  EXPECT_NEAR(found.perplexity, expected.perplexity, tolerance * expected.perplexity);
  EXPECT_NEAR(found.bits_per_byte, expected.bits_per_byte, tolerance);
  EXPECT_NEAR(found.bits_per_byte_total, expected.bits_per_byte_total, tolerance);
  EXPECT_NEAR(found.bits_per_character, expected.bits_per_character, tolerance);
  EXPECT_DOUBLE_EQ(found.accuracy, expected.accuracy);
  EXPECT_DOUBLE_EQ(found.top5, expected.top5);
  EXPECT_NEAR(found.entropy, expected.entropy, tolerance);
  EXPECT_NEAR(found.brier, expected.brier, tolerance);
  EXPECT_NEAR(found.ece, expected.ece, tolerance);
  EXPECT_TRUE(found.complete);
}

TEST(Evaluate, CountsEveryTargetExactlyOnceAtAnyLength) {
  for (std::int64_t length = 2; length <= 2 * B * T + 2; ++length) {
    Bench bench({random_tokens(4, length, V - 1), random_tokens(5, 3, V - 1)});
    std::int64_t bytes = 0;
    for (const Tokens& text : bench.texts) {
      for (std::size_t i = 1; i < text.size(); ++i) bytes += text[i] % 4 + 1;
    }
    const Evaluation e = bench.evaluate();
    EXPECT_EQ(e.tokens, length - 1 + 2) << length;
    EXPECT_EQ(e.bytes, bytes) << length;
    EXPECT_EQ(e.characters, length - 1 + 2) << length;
  }
}

TEST(Evaluate, BatchSizeChangesNothingBeyondRounding) {
  Bench bench({random_tokens(6, 60, V)});
  const Evaluation one = bench.evaluate(0, {}, 1), many = bench.evaluate(0, {}, 7);
  EXPECT_EQ(one.tokens, many.tokens);
  EXPECT_NEAR(one.loss, many.loss, tolerance);
  EXPECT_EQ(bench.evaluate().loss, bench.evaluate().loss);
}

TEST(Evaluate, StopsInTheMiddleAndSaysSo) {
  Bench bench({random_tokens(7, 61, V)});
  std::vector<std::pair<std::int64_t, std::int64_t>> seen;
  const Evaluation e = bench.evaluate(0, [&](std::int64_t done, std::int64_t total) {
    seen.emplace_back(done, total);
    return seen.size() < 2;
  });
  EXPECT_FALSE(e.complete);
  EXPECT_EQ(e.tokens, 2 * B * T);
  EXPECT_EQ(seen, (std::vector<std::pair<std::int64_t, std::int64_t>>{{12, 60}, {24, 60}}));
  EXPECT_TRUE(std::isfinite(e.loss));
}

TEST(Evaluate, IsCompleteWhenAskedToStopAtTheEnd) {
  Bench bench({random_tokens(8, 13, V)});
  const Evaluation e = bench.evaluate(0, [](std::int64_t done, std::int64_t total) { return done < total; });
  EXPECT_TRUE(e.complete);
  EXPECT_EQ(e.tokens, 12);
}

TEST(Evaluate, KeepsToTheTokenLimit) {
  Bench bench({random_tokens(9, 100, V)});
  std::int64_t last_done = 0, last_total = 0;
  const Evaluation e = bench.evaluate(20, [&](std::int64_t done, std::int64_t total) {
    last_done = done;
    last_total = total;
    return true;
  });
  EXPECT_EQ(e.tokens, 20);
  EXPECT_EQ(last_done, 20);
  EXPECT_EQ(last_total, 20);
  EXPECT_TRUE(e.complete);
}

TEST(Evaluate, ObserverSeesEveryTargetAndItsContext) {
  Bench bench({random_tokens(10, 15, V), random_tokens(11, 4, V)});
  double nll = 0;
  Tokens targets;
  std::vector<std::int64_t> seen;
  const Evaluation e = bench.evaluate(0, {}, B, 0, [&](const ScoredToken& token, std::int64_t context) {
    nll -= token.logp;
    targets.push_back(token.target);
    seen.push_back(context);
  });
  Tokens expected(bench.texts[0].begin() + 1, bench.texts[0].end());
  expected.insert(expected.end(), bench.texts[1].begin() + 1, bench.texts[1].end());
  EXPECT_EQ(targets, expected);
  EXPECT_EQ(seen, (std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 1, 2, 3}));
  EXPECT_DOUBLE_EQ(e.loss, nll / 17);
}

TEST(Evaluate, ABreakdownAddsUpToTheEvaluation) {
  Bench bench({random_tokens(12, 80, V), random_tokens(13, 30, V)});
  std::vector<std::int64_t> counts(V);
  for (std::size_t id = 0; id < counts.size(); ++id) counts[id] = static_cast<std::int64_t>(id * id);
  Breakdown breakdown(bench.lengths, 18, counts);
  const Evaluation e = bench.evaluate(
      0, {}, B, 0, [&](const ScoredToken& token, std::int64_t context) { breakdown.add(token, context); });
  // Sums of up to 108 losses in other orders.
  const double nll = e.loss * static_cast<double>(e.tokens), rounding = 108 * 0x1p-52 * nll;
  std::int64_t tokens = 0, bytes = 0;
  double sum = 0, text = 0;
  for (const DocumentLoss& document : breakdown.documents()) {
    tokens += document.tokens;
    bytes += document.bytes;
    sum += document.nll;
    text += document.text_nll;
  }
  EXPECT_EQ(tokens, e.tokens);
  EXPECT_EQ(bytes, e.bytes);
  EXPECT_NEAR(sum, nll, rounding);
  EXPECT_NEAR(text / std::log(2.0) / static_cast<double>(bytes), e.bits_per_byte, 108 * 0x1p-52 * e.bits_per_byte);
  for (const auto& buckets : {breakdown.by_position(), breakdown.by_frequency()}) {
    tokens = 0;
    sum = 0;
    for (const LossBucket& bucket : buckets) {
      tokens += bucket.tokens;
      sum += bucket.nll;
    }
    EXPECT_EQ(tokens, e.tokens);
    EXPECT_NEAR(sum, nll, rounding);
  }
  std::int64_t predictions = 0, correct = 0;
  for (const CalibrationBin& bin : breakdown.equal_mass_calibration()) {
    predictions += bin.count;
    correct += bin.correct;
  }
  EXPECT_EQ(predictions, e.tokens);
  EXPECT_DOUBLE_EQ(static_cast<double>(correct) / static_cast<double>(predictions), e.accuracy);
}

TEST(Evaluate, SlidingWindowsScoreEachTargetOnceAfterAtLeastContextLessStrideTokens) {
  for (std::int64_t stride = 1; stride <= T; ++stride) {
    for (const std::int64_t limit : {0, 1, 5, 6, 7, 21}) {
      Bench bench({random_tokens(14, 25, V), random_tokens(15, 2, V), random_tokens(16, 7, V)});
      Tokens targets, expected;
      std::vector<std::int64_t> seen;
      const Evaluation e = bench.evaluate(limit, {}, B, stride, [&](const ScoredToken& token, std::int64_t context) {
        targets.push_back(token.target);
        seen.push_back(context);
      });
      std::vector<std::int64_t> least;
      for (const Tokens& text : bench.texts) {
        for (std::size_t i = 1; i < text.size(); ++i) {
          expected.push_back(text[i]);
          least.push_back(std::min<std::int64_t>(static_cast<std::int64_t>(i), T - stride + 1));
        }
      }
      if (limit > 0) expected.resize(static_cast<std::size_t>(limit));
      ASSERT_EQ(targets, expected) << stride << " " << limit;
      EXPECT_EQ(e.tokens, static_cast<std::int64_t>(expected.size()));
      for (std::size_t i = 0; i < seen.size(); ++i) {
        EXPECT_GE(seen[i], least[i]) << stride << " " << limit << " " << i;
        EXPECT_LE(seen[i], T);
      }
    }
  }
}

TEST(Evaluate, ScoresOfRanksAddUpToThatOfOne) {
  for (const std::int64_t stride : {0, 2}) {
    for (const std::int64_t limit : {0, 1, 13}) {
      Bench bench({random_tokens(18, 25, V), random_tokens(19, 2, V), random_tokens(20, 14, V)});
      // Every id is a part of a word; words of ids begin with those that 5 divides.
      for (std::int32_t id = 0; id < V; ++id) {
        bench.lengths.classes.ids.push_back({TokenClass::word_continuation, true, id % 5 == 0, id % 2 == 0});
        bench.lengths.classes.letters.push_back(id % 2 == 0 ? "the" : "x");
      }
      const auto whole = fields(bench.evaluate(limit, {}, 1, stride));
      const std::vector<ClassLoss> whole_classes = bench.evaluate(limit, {}, 1, stride).classes;
      for (const std::int64_t ranks : {1, 2, 3, 5, 40}) {
        Score sum(bench.lengths);
        for (std::int64_t rank = 0; rank < ranks; ++rank) sum.add(bench.score(rank, ranks, limit, stride).bytes());
        const Evaluation added = sum.evaluation();
        const auto found = fields(added);
        ASSERT_EQ(found.size(), whole.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
          const double expected = whole[i].second;
          if (ranks == 1) {
            EXPECT_EQ(found[i].second, expected) << found[i].first;
          }
          EXPECT_NEAR(found[i].second, expected, 1e-12 * std::abs(expected)) << found[i].first << " " << ranks;
        }
        ASSERT_EQ(added.classes.size(), whole_classes.size());
        for (std::size_t c = 0; c < whole_classes.size(); ++c) {
          EXPECT_EQ(added.classes[c].tokens, whole_classes[c].tokens) << whole_classes[c].name << " " << ranks;
          EXPECT_EQ(added.classes[c].words, whole_classes[c].words) << whole_classes[c].name << " " << ranks;
          EXPECT_NEAR(added.classes[c].nll, whole_classes[c].nll, 1e-12 * whole_classes[c].nll);
        }
      }
    }
  }
}

TEST(Evaluate, ARankWithoutAWindowHasEmptySums) {
  Bench bench({random_tokens(21, 5, V)});
  const Score none = bench.score(0, 2, 0, 0), all = bench.score(1, 2, 0, 0);
  EXPECT_EQ(none.tokens(), 0);
  EXPECT_EQ(none.evaluation().tokens, 0);
  EXPECT_EQ(none.bytes(), Score(bench.lengths).bytes());
  EXPECT_EQ(all.tokens(), 4);
}

TEST(Evaluate, StrideOneScoresEachTokenAfterItsWholeContext) {
  Bench bench({random_tokens(17, 20, V)});
  std::vector<double> found;
  bench.evaluate(0, {}, B, 1, [&](const ScoredToken& token, std::int64_t) { found.push_back(token.logp); });
  const std::vector<float> stored = bench.rig.download(bench.rig.weights);
  const std::vector<double> weights(stored.begin(), stored.end());
  const Reference model{bench.rig.model, bench.rig.table};
  const Tokens& text = bench.texts[0];
  ASSERT_EQ(found.size(), text.size() - 1);
  for (std::size_t i = 1; i < text.size(); ++i) {
    const auto at = [&](std::size_t j) { return text.begin() + static_cast<std::ptrdiff_t>(j); };
    const std::size_t begin = i > T ? i - T : 0;
    const std::vector<ReferenceToken> scored =
        model.score(weights, Tokens(at(begin), at(i)), Tokens(at(begin + 1), at(i + 1)), 1);
    EXPECT_NEAR(found[i - 1], scored.back().logp, tolerance) << i;
  }
}

TEST(TokenLengths, SumToTheBytesAndCharactersOfTheText) {
  const std::string text = "na\xC3\xAFve caf\xC3\xA9 \xF0\x9F\x98\x80\nna\xC3\xAFve caf\xC3\xA9";
  const std::vector<std::string_view> texts = {text, text};
  const Tokenizer tokenizer = Tokenizer::train(texts, 262, 1);
  const TokenLengths lengths = token_lengths(tokenizer);
  ASSERT_EQ(static_cast<std::int64_t>(lengths.bytes.size()), tokenizer.vocabulary());
  std::int64_t bytes = 0, characters = 0;
  for (std::int32_t id : tokenizer.encode(text)) {
    bytes += lengths.bytes[static_cast<std::size_t>(id)];
    characters += lengths.characters[static_cast<std::size_t>(id)];
  }
  EXPECT_EQ(bytes, static_cast<std::int64_t>(text.size()));
  EXPECT_EQ(characters, 23);
  const std::size_t end_of_text = static_cast<std::size_t>(tokenizer.end_of_text());
  EXPECT_EQ(lengths.special[end_of_text], 1);
  EXPECT_EQ(lengths.bytes[end_of_text], 0);
  EXPECT_EQ(lengths.characters[end_of_text], 0);
}

}  // namespace
}  // namespace nll::test
