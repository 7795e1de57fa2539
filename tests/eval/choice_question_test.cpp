#include "src/eval/choice_question.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "kernels/check.h"

namespace nll::test {
namespace {

using Numbers = std::vector<std::uint16_t>;

const Tokenizer& bytes_only() {
  static const std::vector<std::string_view> texts = {"ab"};
  static const Tokenizer tokenizer = Tokenizer::train(texts, 257, 1);
  return tokenizer;
}

// A file that goes when the test is over.
struct File {
  File(const std::string& name, const std::string& bytes) {
    std::string pattern = (std::filesystem::temp_directory_path() / "nll_choice_XXXXXX").string();
    CHECK(mkdtemp(pattern.data()) != nullptr);
    folder = pattern;
    path = pattern + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
  }
  ~File() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  // What is wrong with it, without the folder.
  std::string fault(const Tokenizer* tokenizer = &bytes_only()) const {
    try {
      read_choices(path, HellaSwagForm::lm_eval, tokenizer, 257);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::bad_data);
      const std::string what = error.what();
      return what.substr(what.find(folder) == 0 ? folder.size() + 1 : 0);
    }
    return "none";
  }
  std::string folder, path;
};

std::string shard(const Numbers& numbers, std::int32_t count = 1, std::int32_t magic = 20240522,
                  std::int32_t version = 1) {
  std::vector<std::int32_t> header(256);
  header[0] = magic;
  header[1] = version;
  header[2] = count;
  header[3] = 100;
  return std::string(reinterpret_cast<const char*>(header.data()), 1024) +
         std::string(reinterpret_cast<const char*>(numbers.data()), 2 * numbers.size());
}

const char* const record =
    R"({"ind": 4, "activity_label": "Removing ice", "ctx_a": "  Then, the [x] man [title] writes.", "ctx_b": "he  Goes",)"
    R"( "ctx": "Then, the man writes. he goes", "endings": [", a [step] b.", "on"], "label": "1"})";

TEST(ChoiceQuestion, ReadsHellaSwagInBothForms) {
  const ChoiceQuestion cleaned = parse_choice(record, HellaSwagForm::lm_eval, "f:1");
  EXPECT_EQ(cleaned.context, "Removing ice:  Then, the man. writes. He goes");
  EXPECT_EQ(cleaned.endings, (std::vector<std::string>{" , a b.", " on"}));
  EXPECT_EQ(cleaned.label, 1u);
  const ChoiceQuestion raw = parse_choice(record, HellaSwagForm::llmc, "f:1");
  EXPECT_EQ(raw.context, "Then, the man writes. he goes");
  EXPECT_EQ(raw.endings, (std::vector<std::string>{" , a [step] b.", " on"}));
}

TEST(ChoiceQuestion, ReadsPlainRecordsByBothNames) {
  for (const char* line : {R"({"query": "q", "choices": ["a", " b"], "answer": 0})",
                           R"({"context": "q", "endings": [" a", "b"], "label": 0, "id": 7})"}) {
    const ChoiceQuestion question = parse_choice(line, HellaSwagForm::lm_eval, "f:1");
    EXPECT_EQ(question.context, "q");
    EXPECT_EQ(question.endings, (std::vector<std::string>{" a", " b"}));
    EXPECT_EQ(question.label, 0u);
  }
}

TEST(ChoiceQuestion, EncodesWithTheLengthsOfTheText) {
  const EncodedQuestion encoded = encode_choice({"ab \t", {" \xC3\xA9 a", " b"}, 1}, bytes_only(), "f:1");
  EXPECT_EQ(encoded.context, bytes_only().encode("ab"));
  EXPECT_EQ(encoded.endings[0].tokens, bytes_only().encode(" \t \xC3\xA9 a"));
  EXPECT_EQ(encoded.endings[0].bytes, 5);
  EXPECT_EQ(encoded.endings[0].characters, 3);
  EXPECT_EQ(encoded.label, 1u);
  const EncodedQuestion bare = encode_choice({"", {" a", " b"}, 0}, bytes_only(), "f:1");
  EXPECT_EQ(bare.context, std::vector<std::int32_t>{bytes_only().end_of_text()});
}

TEST(ChoiceQuestion, NamesFileLineAndFieldOfAFault) {
  const std::string good = R"({"query": "q", "choices": ["a", "b"], "label": 0})";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"[]", "is an array (expected an object)"},
      {R"({"choices": ["a", "b"], "label": 0})", "\"query\" is missing (or \"context\")"},
      {R"({"query": "q", "context": "q", "choices": ["a", "b"], "label": 0})",
       "\"context\" stands beside \"query\" (expected one of the two)"},
      {R"({"query": 1, "choices": ["a", "b"], "label": 0})", "\"query\" is a number (expected a string)"},
      {R"({"query": "q", "label": 0})", "\"choices\" is missing (or \"endings\")"},
      {R"({"query": "q", "choices": "a", "label": 0})", "\"choices\" is a string (expected an array of strings)"},
      {R"({"query": "q", "choices": ["a"], "label": 0})", "\"choices\" has 1 (expected at least 2 strings)"},
      {R"({"query": "q", "choices": ["a", null], "label": 0})", "\"choices[1]\" is null (expected a string)"},
      {R"({"query": "q", "choices": ["a", " "], "label": 0})", "\"choices[1]\" is empty (expected some text)"},
      {R"({"query": "q", "choices": ["a", "b"]})", "\"label\" is missing (or \"answer\")"},
      {R"({"query": "q", "choices": ["a", "b"], "label": 2})", "\"label\" is 2 (expected 0 to 1)"},
      {R"({"query": "q", "choices": ["a", "b"], "label": -1})", "\"label\" is -1 (expected 0 to 1)"},
      {R"({"query": "q", "choices": ["a", "b"], "label": ""})", "\"label\" is \"\" (expected 0 to 1)"},
      {R"({"query": "q", "choices": ["a", "b"], "label": 0.5})", "\"label\" is a number (expected 0 to 1)"},
      {R"({"ctx": "q", "endings": ["a", "b"], "label": 0})", "\"activity_label\" is missing"}};
  for (const auto& [line, what] : cases)
    EXPECT_EQ(File("q.jsonl", good + "\n" + line + "\n").fault(), "q.jsonl:2: " + what);
  EXPECT_TRUE(File("q.jsonl", "{\"query").fault().starts_with("q.jsonl:1: "));
  EXPECT_EQ(File("q.jsonl", "").fault(), "q.jsonl: has no question");
  EXPECT_EQ(File("q.jsonl", good).fault(nullptr),
            "q.jsonl: the model has no tokenizer to read text with (expected an evaluation shard)");
  EXPECT_EQ(File("q.jsonl", good).fault(), "none");
}

TEST(ChoiceShard, ReadsWhatLlmcWrites) {
  const std::uint16_t a = static_cast<std::uint16_t>(bytes_only().encode("a")[0]);
  const std::uint16_t space = static_cast<std::uint16_t>(bytes_only().encode(" ")[0]);
  const Numbers numbers = {65535, 22, 0, 1, 2, 1, a, 2, space, a, 1, 65535, 24, 1, 0, 2, 1, a, 1, a, 2, space, a};
  Numbers whole = numbers;
  whole.insert(whole.begin() + 11, a);  // the second ending of the first question
  whole[1] = 24;
  const File file("hellaswag_val.bin", shard(whole, 2));
  const auto questions = read_choices(file.path, HellaSwagForm::lm_eval, &bytes_only(), 257);
  ASSERT_EQ(questions.size(), 2u);
  EXPECT_EQ(questions[0].label, 1u);
  EXPECT_EQ(questions[0].context, std::vector<std::int32_t>{a});
  EXPECT_EQ(questions[0].endings[0].tokens, (std::vector<std::int32_t>{space, a}));
  EXPECT_EQ(questions[0].endings[0].bytes, 2);
  EXPECT_EQ(questions[0].endings[0].characters, 1);
  EXPECT_EQ(questions[1].endings[0].tokens, std::vector<std::int32_t>{a});
  EXPECT_EQ(read_choices(file.path, HellaSwagForm::lm_eval, nullptr, 257)[0].endings[0].bytes, 0);
}

TEST(ChoiceShard, NamesTheFieldOfAFault) {
  const Numbers good = {65535, 22, 0, 1, 2, 1, 5, 1, 6, 1, 7};
  const auto changed = [&](std::size_t i, std::uint16_t value) {
    Numbers numbers = good;
    numbers[i] = value;
    return File("s.bin", shard(numbers)).fault();
  };
  EXPECT_EQ(File("s.bin", shard(good)).fault(), "none");
  EXPECT_EQ(File("s.bin", "x").fault(), "s.bin: 1 bytes (shorter than its header of 1024)");
  EXPECT_EQ(File("s.bin", shard(good, 1, 20240520)).fault(),
            "s.bin: magic is 20240520 (expected 20240522, an evaluation shard of llm.c)");
  EXPECT_EQ(File("s.bin", shard(good, 1, 20240522, 2)).fault(), "s.bin: version is 2 (expected 1)");
  EXPECT_EQ(File("s.bin", shard(good, 0)).fault(), "s.bin: has 0 questions (expected at least 1)");
  EXPECT_EQ(File("s.bin", shard(good, 2)).fault(), "s.bin: question 1: start is missing (the question ends before it)");
  EXPECT_EQ(changed(0, 3), "s.bin: question 0: start is 3 (expected 65535)");
  EXPECT_EQ(changed(1, 24), "s.bin: question 0: bytes is 24 (expected an even number of 12 to 22)");
  EXPECT_EQ(changed(1, 20), "s.bin: question 0: ending 1 is missing (the question ends before it)");
  EXPECT_EQ(changed(2, 1), "s.bin: question 0: index is 1 (expected 0)");
  EXPECT_EQ(changed(3, 2), "s.bin: question 0: label is 2 (expected 0 to 1)");
  EXPECT_EQ(changed(4, 1), "s.bin: question 0: endings is 1 (expected at least 2)");
  EXPECT_EQ(changed(5, 0), "s.bin: question 0: context is empty (expected at least 1 token)");
  EXPECT_EQ(changed(6, 257), "s.bin: question 0: context has token 257 (expected below the model's vocabulary of 257)");
  Numbers longer = good;
  longer.push_back(1);
  longer[1] = 24;
  EXPECT_EQ(File("s.bin", shard(longer)).fault(),
            "s.bin: question 0: bytes is 24 (expected 22, where its last ending ends)");
  longer[1] = 22;
  EXPECT_EQ(File("s.bin", shard(longer)).fault(), "s.bin: 2 bytes after the last question (expected none)");
}

}  // namespace
}  // namespace nll::test
