#include "src/text/tokenizer.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <sstream>

#include "src/text/pretokenizer.h"
#include "src/text/utf8.h"
#include "tests/text/temporary_folder.h"

namespace nll {
namespace {

const std::string fixture = NLL_SOURCE_DIR "/tests/text/fixtures/tokenizer/";

const Tokenizer& fixture_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::load(fixture + "tokenizer.json");
  return tokenizer;
}

std::string repeated(const std::string& text, std::int64_t times) {
  std::string all;
  for (std::int64_t i = 0; i < times; ++i) all += text;
  return all;
}

// Bytes of any kind: valid text, stray continuation bytes, cut sequences, overlong forms, surrogates.
std::string random_bytes(std::mt19937_64& random, std::size_t pieces) {
  static const std::vector<std::string> parts = {"the ",
                                                 "\xff",
                                                 "\x80\x80",
                                                 "\xc3",
                                                 "\xe2\x82",
                                                 "\xf0\x9f\x98\x80",
                                                 "\xed\xa0\x80",
                                                 "\xc0\x80",
                                                 "  ",
                                                 "\n\n",
                                                 std::string(1, '\0'),
                                                 "\xf4\x90\x80\x80",
                                                 "e\xcc\x81",
                                                 "'s",
                                                 "123",
                                                 "\xe4\xb8\xad\xe6\x96\x87",
                                                 " \xff ",
                                                 "\xe3\x80\x80"};
  std::string bytes;
  for (std::size_t i = 0; i < pieces; ++i) {
    bytes += random() % 3 == 0 ? std::string(1, static_cast<char>(random() % 256)) : parts[random() % parts.size()];
  }
  return bytes;
}

TEST(Tokenizer, GivesTheIdsOfHuggingFaceAndTiktoken) {
  const nlohmann::json samples = nlohmann::json::parse(read_file(fixture + "ids.json"));
  ASSERT_GE(samples.size(), 100u);
  for (const auto& sample : samples) {
    std::string text;
    std::vector<std::int32_t> expected;
    if (sample.contains("text")) {
      text = sample["text"].get<std::string>();
      expected = sample["ids"].get<std::vector<std::int32_t>>();
    } else {
      text = repeated(sample["repeat"][0].get<std::string>(), sample["repeat"][1].get<std::int64_t>());
      for (const auto& run : sample["runs"]) expected.insert(expected.end(), run[1].get<std::size_t>(), run[0]);
    }
    const std::vector<std::int32_t> ids = fixture_tokenizer().encode(text);
    EXPECT_EQ(ids, expected) << sample.dump().substr(0, 200);
    EXPECT_EQ(fixture_tokenizer().decode(ids), text);
  }
}

// Whether two characters are of one class, for each code point and one of each class before it.
TEST(Pretokenizer, ClassifiesEveryCodePointAsHuggingFaceAndTiktoken) {
  std::vector<char> expected(0x110000, 'O');
  std::istringstream lines(read_file(fixture + "classes.txt"));
  std::uint32_t first = 0, last = 0;
  for (char kind = 0; lines >> std::hex >> first >> last >> kind;) {
    for (std::uint32_t c = first; c <= last; ++c) expected[c] = kind;
  }
  const Pretokenizer pretokenizer;
  std::int64_t different = 0;
  for (std::uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    char kind = 'S';
    for (const auto& [before, name] : {std::pair("a", 'L'), std::pair("1", 'N'), std::pair("!", 'O')}) {
      std::string text = before;
      append_utf8(text, c);
      Pretokenizer::Scanner scanner(pretokenizer, text);
      std::string_view piece;
      ASSERT_TRUE(scanner.next(piece));
      if (piece == text) kind = name;
    }
    if (kind != expected[c]) ADD_FAILURE() << std::hex << c << " is " << kind << ", expected " << expected[c];
    different += kind != expected[c];
    ASSERT_LT(different, 10);
    EXPECT_EQ(is_white_space(c), kind == 'S') << std::hex << c;
  }
}

TEST(Tokenizer, RoundTripsAnyBytes) {
  std::mt19937_64 random(3);
  for (int i = 0; i < 2000; ++i) {
    const std::string bytes = random_bytes(random, random() % 40);
    ASSERT_EQ(fixture_tokenizer().decode(fixture_tokenizer().encode(bytes)), bytes);
  }
  std::string every(256, '\0');
  std::iota(every.begin(), every.end(), static_cast<char>(0));
  EXPECT_EQ(fixture_tokenizer().decode(fixture_tokenizer().encode(every)), every);
}

TEST(Pretokenizer, KeepsEachRunOfInvalidBytesAsAPieceOfItsOwn) {
  const std::string text = "a b \xff\x80\xe2\x82 c\xc3\xa9\xc3 d";
  const std::vector<std::string> expected = {"a", " b", " ", "\xff\x80\xe2\x82", " c\xc3\xa9", "\xc3", " d"};
  const Pretokenizer pretokenizer;
  Pretokenizer::Scanner scanner(pretokenizer, text);
  std::vector<std::string> pieces;
  for (std::string_view piece; scanner.next(piece);) pieces.emplace_back(piece);
  EXPECT_EQ(pieces, expected);
}

TEST(Pretokenizer, SafeCutsLeaveThePiecesAsTheyAre) {
  std::mt19937_64 random(5);
  const Pretokenizer pretokenizer;
  const auto pieces_of = [&](std::string_view text) {
    Pretokenizer::Scanner scanner(pretokenizer, text);
    std::vector<std::string> pieces;
    for (std::string_view piece; scanner.next(piece);) pieces.emplace_back(piece);
    return pieces;
  };
  std::int64_t cuts = 0;
  for (int i = 0; i < 300; ++i) {
    const std::string text = random_bytes(random, 30);
    const std::vector<std::string> whole = pieces_of(text);
    for (std::size_t cut = safe_cut_after(text, 0); cut < text.size(); cut = safe_cut_after(text, cut + 1), ++cuts) {
      std::vector<std::string> parts = pieces_of(std::string_view(text).substr(0, cut));
      const std::vector<std::string> rest = pieces_of(std::string_view(text).substr(cut));
      parts.insert(parts.end(), rest.begin(), rest.end());
      ASSERT_EQ(parts, whole) << "cut at " << cut;
      if (safe_cut_after(text, cut + 1) == text.size()) {
        EXPECT_EQ(last_safe_cut(text), cut);
      }
    }
  }
  EXPECT_GT(cuts, 500);
  EXPECT_EQ(safe_cut_after("aaaa", 0), 4u);
  EXPECT_EQ(last_safe_cut("aaaa"), 0u);
  EXPECT_EQ(last_safe_cut("a  \xe3\x80\x80 b"), 1u);  // not after an ideographic space: it is white space too
}

TEST(Tokenizer, EncodesInParallelAsInOne) {
  std::mt19937_64 random(6);
  std::string text;
  while (text.size() < 3'000'000) text += random_bytes(random, 50) + repeated("word ", 20);
  const std::vector<std::int32_t> serial = fixture_tokenizer().encode(text);
  for (const int threads : {1, 2, 3}) EXPECT_EQ(fixture_tokenizer().encode(text, threads), serial);
  std::int64_t last = 0;
  fixture_tokenizer().encode(text, 2, [&](std::int64_t done, std::int64_t total) {
    EXPECT_EQ(total, static_cast<std::int64_t>(text.size()));
    EXPECT_GE(done, last);
    last = done;
  });
  EXPECT_EQ(last, static_cast<std::int64_t>(text.size()));
  const auto stop = [](std::int64_t, std::int64_t) { throw std::runtime_error("stop"); };
  EXPECT_THROW(fixture_tokenizer().encode(text, 3, stop), std::runtime_error);
}

TEST(Tokenizer, LearnsTheMergesOfHuggingFacesTrainer) {
  const std::string text = read_file(fixture + "training.txt");
  const std::string_view view = text;
  for (const int threads : {1, 3}) {
    const Tokenizer trained = Tokenizer::train({&view, 1}, fixture_tokenizer().vocabulary(), threads);
    EXPECT_EQ(trained.vocabulary(), fixture_tokenizer().vocabulary());
    EXPECT_EQ(trained.hash(), fixture_tokenizer().hash());
    EXPECT_EQ(trained.json(), fixture_tokenizer().json());
  }
}

TEST(Tokenizer, ReadsGpt2FilesAsTheSameTokenizer) {
  const Tokenizer loaded = Tokenizer::load(fixture + "gpt2");
  EXPECT_EQ(loaded.hash(), fixture_tokenizer().hash());
  EXPECT_EQ(loaded.end_of_text(), loaded.vocabulary() - 1);
}

TEST(Tokenizer, StopsEarlyWhenTheTextHasNoPairLeft) {
  const std::string_view text = "abab";
  const Tokenizer tokenizer = Tokenizer::train({&text, 1}, 1000, 2);
  EXPECT_EQ(tokenizer.vocabulary(), 259);  // 256 bytes, "ab", "abab", <|endoftext|>
  EXPECT_EQ(tokenizer.encode("abab"), std::vector<std::int32_t>({257}));
  EXPECT_EQ(tokenizer.end_of_text(), 258);
  const Tokenizer bytes = Tokenizer::train({}, 257, 1);
  EXPECT_EQ(bytes.vocabulary(), 257);
  EXPECT_EQ(bytes.encode("abc").size(), 3u);
}

TEST(Tokenizer, TrainsOnTextsApart) {
  const std::vector<std::string_view> texts = {"xy", "xy", "yx"};
  const Tokenizer tokenizer = Tokenizer::train(texts, 300, 2);
  EXPECT_EQ(tokenizer.vocabulary(), 259);
  EXPECT_EQ(tokenizer.token_bytes(256), "xy");
  EXPECT_EQ(tokenizer.token_bytes(257), "yx");
}

TEST(Tokenizer, WritesWhatItReads) {
  const TemporaryFolder folder;
  fixture_tokenizer().save(folder / "tokenizer.json");
  const Tokenizer file = Tokenizer::load(folder / "tokenizer.json"), found = Tokenizer::load(folder.path());
  EXPECT_EQ(file.hash(), fixture_tokenizer().hash());
  EXPECT_EQ(found.json(), fixture_tokenizer().json());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);  // no temporary file is left
}

TEST(Tokenizer, TreatsSpecialTokensAsTextAndDecodesThemOnRequest) {
  const Tokenizer& tokenizer = fixture_tokenizer();
  const std::vector<std::int32_t> ids = tokenizer.encode("<|endoftext|>");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), tokenizer.end_of_text()), 0);
  EXPECT_EQ(tokenizer.decode(ids), "<|endoftext|>");
  const std::vector<std::int32_t> special = {tokenizer.end_of_text()};
  EXPECT_TRUE(tokenizer.special(special[0]));
  EXPECT_EQ(tokenizer.token_bytes(special[0]), "");
  EXPECT_EQ(tokenizer.decode(special), "");
  EXPECT_EQ(tokenizer.decode(special, true), "<|endoftext|>");
  const std::vector<std::int32_t> outside = {0, 600};
  EXPECT_EQ(error_of([&] { tokenizer.decode(outside); }),
            "4: token 600 at position 1 is not in the vocabulary (ids are 0 to 599)");
}

TEST(Tokenizer, RefusesAVocabularyThatCannotBe) {
  for (const std::int64_t size : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{256}, std::int64_t{1} << 40}) {
    EXPECT_EQ(error_of([&] { Tokenizer::train({}, size, 1); }),
              "2: vocabulary size " + std::to_string(size) +
                  " (expected 257 to 4194304: 256 bytes, the merges, <|endoftext|>)");
  }
}

}  // namespace
}  // namespace nll
