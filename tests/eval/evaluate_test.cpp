#include "src/eval/evaluate.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <memory>

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
                      std::int64_t sequences = B) {
    Gpt gpt(rig.model, rig.ops, rig.device, sequences, T, Pass::inference);
    Head head(rig.model, rig.head, rig.ops, rig.device, sequences * T);
    SequentialWindows windows(*dataset, T, sequences, limit, V);
    return nll::evaluate(gpt, head, rig.device, rig.w, windows, lengths,
                         Arena(rig.device, evaluation_plan(sequences, T)), progress);
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
