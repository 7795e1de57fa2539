// What is refused in tokenizer.json, encoder.json and vocab.bpe, each with its message.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "src/text/tokenizer.h"
#include "tests/text/temporary_folder.h"

namespace nll {
namespace {

using nlohmann::json;

const json& good_document() {
  static const json document = [] {
    const std::string_view text = "low lower lowest newer newest";
    return json::parse(Tokenizer::train({&text, 1}, 262, 1).json());
  }();
  return document;
}

std::string error_of_text(const std::string& text) {
  const TemporaryFolder folder;
  const std::string path = write_file(folder / "t.json", text);
  return error_of([&] { Tokenizer::load(path); }, folder.path());
}

std::string error_after(const std::function<void(json&)>& damage) {
  json document = good_document();
  damage(document);
  return error_of_text(document.dump());
}

TEST(TokenizerJson, AcceptsWhatHuggingFaceWrites) {
  EXPECT_EQ(error_after([](json&) {}), "no error");
  EXPECT_EQ(error_after([](json& d) { d["model"].erase("type"); }), "no error");
  EXPECT_EQ(error_after([](json& d) { d["post_processor"] = {{"type", "ByteLevel"}}; }), "no error");
  EXPECT_EQ(error_after([](json& d) {
              d["post_processor"] =
                  json::parse(R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}]})");
            }),
            "no error");
  EXPECT_EQ(error_after([](json& d) { d["model"]["continuing_subword_prefix"] = ""; }), "no error");
  EXPECT_EQ(error_after([](json& d) { d["pre_tokenizer"].erase("use_regex"); }), "no error");
  EXPECT_EQ(error_after([](json& d) { d["model"]["dropout"] = 0.0; }), "no error");
  EXPECT_EQ(error_after([](json& d) { d["model"]["vocab"].erase("<|endoftext|>"); }), "no error");
  EXPECT_EQ(error_after([](json& d) {
              for (json& merge : d["model"]["merges"]) {
                const std::string both = merge;
                const std::size_t space = both.find(' ');
                merge = {both.substr(0, space), both.substr(space + 1)};
              }
            }),
            "no error");
}

TEST(TokenizerJson, RefusesWhatIsNoJson) {
  EXPECT_EQ(error_of_text(""), "4: t.json: not JSON: wrong at byte 1");
  EXPECT_EQ(error_of_text("{\"model\": "), "4: t.json: not JSON: wrong at byte 11");
  EXPECT_EQ(error_of_text("{} x"), "4: t.json: not JSON: wrong at byte 4");
  EXPECT_EQ(error_of_text("{\"a\": \"\xff\"}"), "4: t.json: not JSON: wrong at byte 8");
  EXPECT_EQ(error_of_text("[1e999]"), "4: t.json: a number is out of range");
  EXPECT_EQ(error_of_text(std::string(1'000'000, '[')), "4: t.json: nested more than 32 levels deep");
  EXPECT_EQ(error_of_text("{\"a\": 1, \"a\": 2}"), "4: t.json: key \"a\" is there twice");
  EXPECT_EQ(error_of_text("[]"), "4: t.json: is an array (expected an object)");
  EXPECT_EQ(error_of_text("{}"), "4: t.json: model is null (expected an object)");
}

TEST(TokenizerJson, RefusesWhatIsNoByteLevelBpe) {
  EXPECT_EQ(error_after([](json& d) { d["model"]["type"] = "WordPiece"; }),
            "4: t.json: model.type is \"WordPiece\" (expected \"BPE\")");
  EXPECT_EQ(error_after([](json& d) { d["model"]["type"] = 1; }),
            "4: t.json: model.type is a number (expected a string)");
  EXPECT_EQ(error_after([](json& d) {
              d["normalizer"] = {{"type", "NFC"}};
            }),
            "4: t.json: normalizer.type is \"NFC\" (expected no normalizer)");
  EXPECT_EQ(error_after([](json& d) { d["pre_tokenizer"] = nullptr; }),
            "4: t.json: pre_tokenizer is null (expected ByteLevel)");
  EXPECT_EQ(error_after([](json& d) { d["pre_tokenizer"]["type"] = "Metaspace"; }),
            "4: t.json: pre_tokenizer.type is \"Metaspace\" (expected \"ByteLevel\")");
  EXPECT_EQ(error_after([](json& d) { d["pre_tokenizer"]["add_prefix_space"] = true; }),
            "4: t.json: pre_tokenizer.add_prefix_space is true (expected false: text is encoded as it is)");
  EXPECT_EQ(error_after([](json& d) { d["pre_tokenizer"]["use_regex"] = false; }),
            "4: t.json: pre_tokenizer.use_regex is false (expected true: GPT-2's pattern)");
  EXPECT_EQ(error_after([](json& d) {
              d["post_processor"] = {{"type", "BertProcessing"}};
            }),
            "4: t.json: post_processor.type is \"BertProcessing\" (expected \"ByteLevel\")");
  EXPECT_EQ(error_after([](json& d) {
              d["post_processor"] = json::parse(R"({"type": "TemplateProcessing", "single": [
                  {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]})");
            }),
            "4: t.json: post_processor adds tokens to the text (expected none: text is encoded as it is)");
  EXPECT_EQ(error_after([](json& d) { d["decoder"]["type"] = "WordPiece"; }),
            "4: t.json: decoder.type is \"WordPiece\" (expected \"ByteLevel\")");
  EXPECT_EQ(error_after([](json& d) { d["model"]["byte_fallback"] = true; }),
            "4: t.json: model.byte_fallback is true (only byte-level BPE without it is read)");
  EXPECT_EQ(error_after([](json& d) { d["model"]["dropout"] = 0.1; }),
            "4: t.json: model.dropout is 0.1 (only byte-level BPE without it is read)");
  EXPECT_EQ(error_after([](json& d) { d["model"]["end_of_word_suffix"] = "</w>"; }),
            "4: t.json: model.end_of_word_suffix is \"</w>\" (only byte-level BPE without it is read)");
}

TEST(TokenizerJson, RefusesABrokenVocabulary) {
  EXPECT_EQ(error_after([](json& d) { d["model"]["vocab"] = json::array(); }),
            "4: t.json: model.vocab is an array (expected an object)");
  EXPECT_EQ(error_after([](json& d) { d["model"]["vocab"]["a"] = "1"; }),
            "4: t.json: the id of \"a\" is a string (expected an integer)");
  EXPECT_EQ(error_after([](json& d) { d["model"]["vocab"]["a"] = 1.5; }),
            "4: t.json: the id of \"a\" is a number (expected an integer)");
  EXPECT_EQ(error_after([](json& d) { d["model"]["vocab"]["a"] = 65; }), "4: t.json: id 65 is both \"a\" and \"b\"");
  EXPECT_EQ(error_after([](json& d) { d["model"]["vocab"]["a"] = 4'000'000'000; }),
            "4: t.json: token \"a\" has id 4000000000 (the 262 tokens must have the ids 0 to 261)");
  EXPECT_EQ(error_after([](json& d) { d["model"]["vocab"]["a"] = -1; }),
            "4: t.json: token \"a\" has id -1 (the 262 tokens must have the ids 0 to 261)");
  EXPECT_EQ(error_after([](json& d) { d["model"]["vocab"].erase("a"); }),
            "4: t.json: token \"<|endoftext|>\" has id 261 (the 261 tokens must have the ids 0 to 260)");
  EXPECT_EQ(error_after([](json& d) {
              d["model"]["vocab"].erase("a");
              d["model"]["vocab"]["aa"] = 64;
            }),
            "4: t.json: no token for the byte 0x61 (a byte-level vocabulary has all 256)");
  EXPECT_EQ(error_after([](json& d) {
              d["model"]["vocab"].erase("a");
              d["model"]["vocab"]["a b"] = 64;
            }),
            "4: t.json: token 64 \"a b\" is not written in the byte alphabet (only byte-level BPE is read)");
  EXPECT_EQ(error_after([](json& d) {
              d["model"]["vocab"].erase("a");
              d["model"]["vocab"][""] = 64;
            }),
            "4: t.json: token 64 is empty");
  EXPECT_EQ(error_after([](json& d) { d["model"]["vocab"]["<|endoftext|>"] = 3; }),
            "4: t.json: special token \"<|endoftext|>\" has the ids 3 and 261");
  EXPECT_EQ(error_after([](json& d) { d["added_tokens"][0]["special"] = false; }),
            "4: t.json: added token \"<|endoftext|>\" is not special (only special ones are read)");
  EXPECT_EQ(error_after([](json& d) { d["added_tokens"] = 7; }),
            "4: t.json: added_tokens is a number (expected an array)");
  EXPECT_EQ(error_after([](json& d) { d["added_tokens"][0] = "x"; }),
            "4: t.json: added_tokens[0] has no content (expected an object with id and content)");
  EXPECT_EQ(error_after([](json& d) { d["added_tokens"].push_back(d["added_tokens"][0]); }),
            "4: t.json: id 261 is both \"<|endoftext|>\" and \"<|endoftext|>\"");
}

TEST(TokenizerJson, RefusesBrokenMerges) {
  EXPECT_EQ(error_after([](json& d) { d["model"].erase("merges"); }),
            "4: t.json: model.merges is null (expected an array)");
  EXPECT_EQ(error_after([](json& d) { d["model"]["merges"][1] = "a"; }),
            "4: t.json: merge 1 is \"a\" (expected \"left right\" or [\"left\", \"right\"])");
  EXPECT_EQ(error_after([](json& d) {
              d["model"]["merges"][1] = {"a", "b", "c"};
            }),
            "4: t.json: merge 1 is an array (expected \"left right\" or [\"left\", \"right\"])");
  EXPECT_EQ(error_after([](json& d) { d["model"]["merges"][1] = "zz a"; }),
            "4: t.json: merge 1 (\"zz\" + \"a\") names the unknown token \"zz\"");
  EXPECT_EQ(error_after([](json& d) { d["model"]["merges"][1] = "z a"; }),
            "4: t.json: merge 1 (\"z\" + \"a\") makes the unknown token \"za\"");
  EXPECT_EQ(error_after([](json& d) {
              d["model"]["merges"][1] = {"<|endoftext|>", "a"};
            }),
            "4: t.json: merge 1 (\"<|endoftext|>\" + \"a\") names the unknown token \"<|endoftext|>\"");
}

TEST(TokenizerFiles, NameWhatIsMissingOrNoFile) {
  const TemporaryFolder folder;
  const auto load = [&](const std::string& name) {
    return error_of([&] { Tokenizer::load(name.empty() ? folder.path() : folder / name); }, folder.path());
  };
  EXPECT_EQ(load("none.json"), "4: none.json: cannot be opened (No such file or directory)");
  EXPECT_EQ(load(""),
            "4: : no tokenizer in this folder (expected tokenizer.json, encoder.json and vocab.bpe, or vocab.json and "
            "merges.txt)");
  write_file(folder / "encoder.json", "{}");
  EXPECT_EQ(load(""), "4: vocab.bpe: cannot be opened (No such file or directory)");
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(load("pipe"), "4: pipe: is a pipe (expected a regular file)");
  std::filesystem::create_directory(folder / "tokenizer.json");
  EXPECT_EQ(load(""), "4: tokenizer.json: is a folder (expected a regular file)");
  std::filesystem::remove(folder / "tokenizer.json");
  write_file(folder / "huge.json", "");
  std::filesystem::resize_file(folder / "huge.json", std::uintmax_t{1} << 40);
  EXPECT_EQ(load("huge.json"), "4: huge.json: 1099511627776 bytes (at most 268435456)");
}

TEST(TokenizerFiles, RefusesBrokenGpt2Files) {
  const TemporaryFolder folder;
  const json vocabulary = good_document()["model"]["vocab"];
  const auto load = [&](const std::string& encoder, const std::string& merges) {
    write_file(folder / "encoder.json", encoder);
    write_file(folder / "vocab.bpe", merges);
    return error_of([&] { Tokenizer::load(folder.path()); }, folder.path());
  };
  EXPECT_EQ(load(vocabulary.dump(), "#version: 0.2\r\nl o\r\n\r\n"), "no error");
  {
    const TemporaryFolder renamed;  // as Hugging Face names the same two files
    write_file(renamed / "vocab.json", vocabulary.dump());
    write_file(renamed / "merges.txt", "l o\n");
    EXPECT_EQ(Tokenizer::load(renamed.path()).hash(), Tokenizer::load(folder.path()).hash());
  }
  EXPECT_EQ(load("[]", ""), "4: encoder.json: is an array (expected an object)");
  EXPECT_EQ(load("{\"a\": null}", ""), "4: encoder.json: the id of \"a\" is null (expected an integer)");
  EXPECT_EQ(load("{}", ""), "4: encoder.json: no token for the byte 0x00 (a byte-level vocabulary has all 256)");
  EXPECT_EQ(load(vocabulary.dump(), "l o\nlo\n"),
            "4: vocab.bpe:2: \"lo\" (expected two tokens with a space between them)");
  EXPECT_EQ(load(vocabulary.dump(), "l o w\n"),
            "4: vocab.bpe:1: \"l o w\" (expected two tokens with a space between them)");
  EXPECT_EQ(load(vocabulary.dump(), "l q\n"), "4: vocab.bpe: merge 0 (\"l\" + \"q\") makes the unknown token \"lq\"");
}

}  // namespace
}  // namespace nll
