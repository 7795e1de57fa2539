#include "src/text/corpus.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "src/text/documents.h"
#include "src/text/tokenizer.h"
#include "src/text/validation_cut.h"
#include "tests/text/token_shards.h"

namespace nll {
namespace {

const std::string fixture = NLL_SOURCE_DIR "/tests/text/fixtures/tokenizer/";

std::string lines_of_text(int lines) {
  std::string text;
  for (int i = 0; i < lines; ++i) text += "line " + std::to_string(i) + " of caf\u00e9, \xff and more words\n";
  return text;
}

// The tokens of a split, over its shards, with the sums of what their headers say of the text.
struct Split {
  std::vector<std::int32_t> tokens;
  std::int64_t bytes = 0, characters = 0, shards = 0;
};

Split read_split(const std::string& folder, const std::string& split) {
  Split all;
  for (const std::string& path : find_token_files({folder}, split)) {
    const TokenFile file(path);
    EXPECT_TRUE(file.verify());
    const std::vector<std::int32_t> tokens = read_tokens(file);
    all.tokens.insert(all.tokens.end(), tokens.begin(), tokens.end());
    all.bytes += file.info().text_bytes;
    all.characters += file.info().text_characters;
    ++all.shards;
  }
  return all;
}

CorpusOptions options_for(const TemporaryFolder& folder, std::vector<std::string> inputs) {
  CorpusOptions options;
  options.inputs = std::move(inputs);
  options.output = folder / "out";
  options.tokenizer = fixture + "tokenizer.json";
  options.threads = 2;
  return options;
}

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

TEST(Corpus, PartsOneTextAtALineEndAndCountsItExactly) {
  const TemporaryFolder folder;
  const std::string text = lines_of_text(2000);
  const std::string path = write_file(folder / "a.txt", text);
  CorpusOptions options = options_for(folder, {path});
  options.shard_tokens = 10'000;
  const CorpusSummary summary = tokenize_corpus(options);
  const Tokenizer tokenizer = Tokenizer::load(options.output);
  const Split train = read_split(options.output, "train"), validation = read_split(options.output, "validation");
  EXPECT_EQ(train.tokens.front(), tokenizer.end_of_text());
  EXPECT_EQ(validation.tokens.front(), tokenizer.end_of_text());
  const std::string first = tokenizer.decode(train.tokens), last = tokenizer.decode(validation.tokens);
  EXPECT_EQ(first + last, text);
  EXPECT_EQ(first.back(), '\n');
  EXPECT_NEAR(static_cast<double>(last.size()) / static_cast<double>(text.size()), 0.05, 50.0 / 60000);  // one line
  EXPECT_EQ(summary.train.bytes, static_cast<std::int64_t>(first.size()));
  EXPECT_EQ(summary.validation.bytes, static_cast<std::int64_t>(last.size()));
  EXPECT_EQ(train.bytes, summary.train.bytes);
  EXPECT_EQ(validation.bytes, summary.validation.bytes);
  // A character of two bytes and an invalid one a line: one byte more than characters.
  EXPECT_EQ(summary.train.characters, summary.train.bytes - std::count(first.begin(), first.end(), '\n'));
  EXPECT_EQ(train.characters, summary.train.characters);
  EXPECT_EQ(summary.train.tokens, static_cast<std::int64_t>(train.tokens.size()));
  EXPECT_EQ(summary.train.shards, train.shards);
  EXPECT_GT(train.shards, 1);
  EXPECT_EQ(summary.train.documents, 1);
  EXPECT_EQ(summary.vocabulary, tokenizer.vocabulary());
  EXPECT_EQ(summary.tokenizer_hash, tokenizer.hash());
  EXPECT_DOUBLE_EQ(summary.bytes_per_token(), static_cast<double>(text.size()) /
                                                  static_cast<double>(train.tokens.size() + validation.tokens.size()));
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"a.txt", "out"}));
}

TEST(Corpus, ReadsBigFilesBlockByBlockAsWhole) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; text.size() < (std::size_t{18} << 20); ++i) text += lines_of_text(40 + i % 7) + "   \t\n\n  x";
  text += std::string(1'000'000, 'a');  // no place to cut in sight of the last block's end
  CorpusOptions options = options_for(folder, {write_file(folder / "a.txt", text)});
  options.validation_fraction = 0;
  EXPECT_EQ(tokenize_corpus(options).validation.tokens, 0);
  const Tokenizer tokenizer = Tokenizer::load(options.output);
  std::vector<std::int32_t> tokens = read_split(options.output, "train").tokens;
  tokens.erase(tokens.begin());
  EXPECT_TRUE(tokens == tokenizer.encode(text, 2));
}

TEST(Corpus, PutsOneSeparatorBeforeEachDocument) {
  const TemporaryFolder folder;
  std::string records;
  for (int i = 0; i < 100; ++i)
    records += "{\"id\": [1, {\"text\": 2}], \"text\": \"record " + std::to_string(i) + "\\n\"}\n";
  const std::string jsonl =
      write_file(folder / "a.jsonl", records + "{\"text\": \"\"}\r\n{\"text\": \"last \\ud83d\\ude00\"}");
  CorpusOptions options = options_for(folder, {jsonl});
  const CorpusSummary summary = tokenize_corpus(options);
  EXPECT_EQ(summary.train.documents + summary.validation.documents, 101);  // the empty one is none
  EXPECT_GE(summary.validation.documents, 3);
  EXPECT_LE(summary.validation.documents, 10);
  const Tokenizer tokenizer = Tokenizer::load(options.output);
  const Split train = read_split(options.output, "train"), validation = read_split(options.output, "validation");
  EXPECT_EQ(std::count(train.tokens.begin(), train.tokens.end(), tokenizer.end_of_text()), summary.train.documents);
  const std::string begin = "<|endoftext|>record 0\n<|endoftext|>record 1\n", end = "<|endoftext|>last \U0001F600";
  EXPECT_EQ(tokenizer.decode(train.tokens, true).substr(0, begin.size()), begin);
  EXPECT_TRUE(tokenizer.decode(validation.tokens, true).ends_with(end));
}

TEST(Corpus, HoldsOutWholeDocumentsWhereTheirSizesAllowIt) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "texts");
  for (int i = 0; i < 20; ++i) write_file(folder / ("texts/" + std::to_string(100 + i) + ".txt"), lines_of_text(50));
  write_file(folder / "texts/ignored.bin", "x");
  CorpusOptions options = options_for(folder, {folder / "texts"});
  const CorpusSummary summary = tokenize_corpus(options);
  EXPECT_EQ(summary.train.documents, 19);
  EXPECT_EQ(summary.validation.documents, 1);
  EXPECT_EQ(summary.validation.bytes, static_cast<std::int64_t>(lines_of_text(50).size()));
}

TEST(Corpus, TrainsATokenizerOnTheTrainingPartAlone) {
  const TemporaryFolder folder;
  const std::string path = write_file(folder / "a.txt", lines_of_text(1000) + "zqzqzqzq\n");
  CorpusOptions options = options_for(folder, {path});
  options.tokenizer.clear();
  options.vocabulary = 300;
  options.validation_fraction = 0.01;
  std::set<std::string> phases;
  const CorpusSummary summary =
      tokenize_corpus(options, [&](std::string_view phase, std::int64_t done, std::int64_t total) {
        phases.emplace(phase);
        EXPECT_LE(done, total);
      });
  EXPECT_EQ(summary.vocabulary, 300);
  EXPECT_EQ(phases, (std::set<std::string>{"reading", "tokenizing", "training the tokenizer"}));
  const Tokenizer tokenizer = Tokenizer::load(options.output);
  for (std::int32_t id = 256; id < 299; ++id) EXPECT_EQ(tokenizer.token_bytes(id).find('z'), std::string_view::npos);
}

TEST(Corpus, LeavesNothingWhenItIsStopped) {
  const TemporaryFolder folder;
  CorpusOptions options = options_for(folder, {write_file(folder / "a.txt", lines_of_text(3000))});
  const auto stop = [](std::string_view phase, std::int64_t, std::int64_t) {
    if (phase == "tokenizing") throw std::runtime_error("stop");
  };
  EXPECT_THROW(tokenize_corpus(options, stop), std::runtime_error);
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{"a.txt"});
}

TEST(Corpus, RefusesToOverwrite) {
  const TemporaryFolder folder;
  CorpusOptions options = options_for(folder, {write_file(folder / "a.txt", lines_of_text(100))});
  std::filesystem::create_directory(options.output);
  tokenize_corpus(options);  // an empty folder is as good as none
  const auto run = [&] { return error_of([&] { tokenize_corpus(options); }, folder.path()); };
  EXPECT_EQ(run(), "2: out: this folder is not empty (expected a new or empty folder)");
  options.output = folder / "a.txt";
  EXPECT_EQ(run(), "2: a.txt: is there and is no folder (expected a new or empty folder)");
  options.output = "";
  EXPECT_EQ(run(), "2: no output folder is named");
}

TEST(Corpus, RefusesContradictoryOptions) {
  const TemporaryFolder folder;
  const CorpusOptions good = options_for(folder, {write_file(folder / "a.txt", lines_of_text(100))});
  const auto run = [&](const auto& change) {
    CorpusOptions options = good;
    change(options);
    return error_of([&] { tokenize_corpus(options); }, folder.path());
  };
  EXPECT_EQ(run([](CorpusOptions& o) { o.inputs.clear(); }),
            "2: no input text is named (expected files, folders or globs)");
  EXPECT_EQ(run([](CorpusOptions& o) { o.vocabulary = 300; }),
            "2: either a vocabulary size or a tokenizer is needed, and not both");
  EXPECT_EQ(run([](CorpusOptions& o) { o.tokenizer.clear(); }),
            "2: either a vocabulary size or a tokenizer is needed, and not both");
  EXPECT_EQ(run([](CorpusOptions& o) { o.validation_fraction = 1; }),
            "2: validation fraction 1 (expected at least 0 and below 1)");
  EXPECT_EQ(run([](CorpusOptions& o) { o.validation_fraction = -0.5; }),
            "2: validation fraction -0.5 (expected at least 0 and below 1)");
  EXPECT_EQ(run([](CorpusOptions& o) { o.shard_tokens = 0; }), "2: shards of 0 tokens (expected at least 1)");
  EXPECT_EQ(run([](CorpusOptions& o) { o.threads = 0; }), "2: 0 threads (expected at least 1)");
  EXPECT_EQ(run([](CorpusOptions& o) { o.training_bytes = 0; }),
            "2: 0 bytes to train the tokenizer on (expected at least 1)");
  EXPECT_EQ(run([](CorpusOptions& o) { o.tokenizer = "/none"; }),
            "4: /none: cannot be opened (No such file or directory)");
  EXPECT_FALSE(std::filesystem::exists(good.output));
}

TEST(Corpus, RefusesInputThatIsNoText) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "empty");
  const auto run = [&](const std::string& name) {
    return error_of([&] { tokenize_corpus(options_for(folder, {folder / name})); }, folder.path());
  };
  EXPECT_EQ(run("none.txt"), "4: \"none.txt\": no such file or folder, and no glob that matches any");
  EXPECT_EQ(run("empty"), "4: empty: no text in this folder (expected *.txt, *.md, *.jsonl or *.ndjson)");
  write_file(folder / "void.txt", "");
  EXPECT_EQ(run("void.txt"), "4: void.txt: is empty (expected text)");
  write_file(folder / "line.txt", "one line and no end");
  EXPECT_EQ(run("line.txt"),
            "4: line.txt: no line or document ends where validation could begin (expected several lines)");
  const auto record = [&](const std::string& line) {
    write_file(folder / "r.jsonl", "{\"text\": \"good\"}\n" + line + "\n");
    return run("r.jsonl");
  };
  EXPECT_EQ(record(""), "4: r.jsonl:2: not JSON: wrong at byte 1 of the line");
  EXPECT_EQ(record("{\"text\": \"a\"} x"), "4: r.jsonl:2: not JSON: wrong at byte 15 of the line");
  EXPECT_EQ(record("{\"text\": \"\xff\"}"), "4: r.jsonl:2: not JSON: wrong at byte 11 of the line");
  EXPECT_EQ(record("{\"text\": \"\\ud800\"}"), "4: r.jsonl:2: not JSON: wrong at byte 17 of the line");
  EXPECT_EQ(record("[\"text\"]"), "4: r.jsonl:2: is an array (expected an object with a string \"text\")");
  EXPECT_EQ(record("7"), "4: r.jsonl:2: is a number (expected an object with a string \"text\")");
  EXPECT_EQ(record("{}"), "4: r.jsonl:2: has no \"text\" (expected an object with a string \"text\")");
  EXPECT_EQ(record("{\"a\": {\"text\": \"x\"}}"),
            "4: r.jsonl:2: has no \"text\" (expected an object with a string \"text\")");
  EXPECT_EQ(record("{\"text\": null}"), "4: r.jsonl:2: \"text\" is null (expected a string)");
  EXPECT_EQ(record("{\"text\": {}}"), "4: r.jsonl:2: \"text\" is an object (expected a string)");
  EXPECT_EQ(record("{\"text\": \"a\", \"text\": \"b\"}"), "4: r.jsonl:2: has \"text\" twice");
  EXPECT_EQ(record("{\"a\": " + std::string(1000, '[')), "4: r.jsonl:2: nested more than 256 levels deep");
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

TEST(Documents, AreReadInPartsThatNeverCrossTheCut) {
  const TemporaryFolder folder;
  const std::string text = lines_of_text(30);
  const std::string first = write_file(folder / "a.txt", text), second = write_file(folder / "b.txt", text);
  for (std::int64_t cut = 0; cut < static_cast<std::int64_t>(2 * text.size()); cut += 37) {
    DocumentReader reader({first, second}, cut);
    std::string all, behind;
    int documents = 0;
    while (const auto part = reader.next()) {
      documents += part->begins_document;
      all += part->text;
      const auto end = part->input_offset + static_cast<std::int64_t>(part->text.size());
      EXPECT_TRUE(part->input_offset >= cut || end <= cut);
      if (part->input_offset >= cut) behind += part->text;
    }
    EXPECT_EQ(all, text + text);
    EXPECT_EQ(behind, all.substr(static_cast<std::size_t>(cut)));
    const bool inside = cut % static_cast<std::int64_t>(text.size()) != 0;
    EXPECT_EQ(documents, inside ? 3 : 2);
  }
}

TEST(ValidationCut, LiesWhereALineBegins) {
  const TemporaryFolder folder;
  const std::string lines = write_file(folder / "a.txt", "aaaa\nbbbb\ncccc\ndddd\n");  // begin at 0, 5, 10, 15
  EXPECT_EQ(find_validation_cut({lines}, 0.25), 15);
  EXPECT_EQ(find_validation_cut({lines}, 0.30), 15);
  EXPECT_EQ(find_validation_cut({lines}, 0.50), 10);
  EXPECT_EQ(find_validation_cut({lines}, 0.01), 15);  // no line begins later
  EXPECT_EQ(find_validation_cut({lines}, 0.99), 5);
  const std::string more = write_file(folder / "b.txt", "eeee\nffff\n");
  EXPECT_EQ(find_validation_cut({lines, more}, 0.30), 20);  // a third is near enough: no document is parted
  EXPECT_EQ(find_validation_cut({lines, more}, 0.10), 25);
}

}  // namespace
}  // namespace nll
