// Parsing, overriding, dumping, comparing and describing configs that are good.
#include "src/config/config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <clocale>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "kernels/check.h"
#include "src/config/key.h"
#include "src/config/weighted_name.h"

namespace nll {
namespace {

class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "nll_config_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
    return (path_ / name).string();
  }
  std::string path(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

std::string message_of(const std::string& path) {
  try {
    load_config(path, {});
  } catch (const Error& error) {
    return std::string(error.what()) + (error.hint().empty() ? "" : "\nhint: " + error.hint());
  }
  return "no error";
}

std::string source_file(const std::string& path) {
  std::ifstream file(std::string(NLL_SOURCE_DIR) + "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Config, AnEmptyObjectGivesTheDefaults) { EXPECT_TRUE(differences(parse_config("{}", "x", {}), Config{}).empty()); }

TEST(Config, KeysOfAFileReplaceTheDefaults) {
  const Config config = parse_config(R"(// a comment
    { "model": { "heads": 6, /* and another */ "width": 384, "dropout": 0.1 }, "device": "cpu",
      "data": { "train": ["a", "b"], "validation": "c", "tokenizer": "\u00e9\ud83d\ude00" },
      "batch": { "sequences": 4, "tokens_per_step": 8192 }, "checkpoint": { "keep_best": false },
      "head": { "chunk_tokens": "auto" } })",
                                     "x", {});
  EXPECT_EQ(config.model.heads, 6);
  EXPECT_EQ(config.model.dropout, 0.1);
  EXPECT_EQ(config.device, "cpu");
  EXPECT_EQ(config.data.train, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(config.data.validation, std::vector<std::string>{"c"});
  EXPECT_EQ(config.data.tokenizer, "\u00e9\U0001F600");
  EXPECT_EQ(config.batch.sequences, 4);
  EXPECT_FALSE(config.checkpoint.keep_best);
  EXPECT_FALSE(config.head.chunk_tokens.has_value());
  EXPECT_EQ(config.model.layers, ModelConfig{}.layers);
}

TEST(Config, OverridesComeAfterTheFileAndMayQuoteTexts) {
  const Config config =
      parse_config(R"({"model": {"layers": 6}, "batch": {"sequences": 2}})", "x",
                   {"model.layers=3", "run.directory=runs/a b", "data.tokenizer=\"x\\ty\"", "batch.sequences=auto",
                    "checkpoint.keep_best=false", "optimizer.learning_rate=2e-3", "device=\"cpu\"",
                    "sample.prompt=", "data.train=[\"a\", \"b\"]", "data.validation=shards/*.bin"});
  EXPECT_EQ(config.model.layers, 3);
  EXPECT_EQ(config.run.directory, "runs/a b");
  EXPECT_EQ(config.data.tokenizer, "x\ty");
  EXPECT_FALSE(config.batch.sequences.has_value());
  EXPECT_FALSE(config.checkpoint.keep_best);
  EXPECT_EQ(config.optimizer.learning_rate, 2e-3);
  EXPECT_EQ(config.device, "cpu");
  EXPECT_EQ(config.data.train, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(config.data.validation, std::vector<std::string>{"shards/*.bin"});
}

TEST(Config, AnOverrideMayHoldAnEqualsSign) {
  EXPECT_EQ(parse_config("{}", "x", {"sample.prompt=a=b"}).sample.prompt, "a=b");
}

TEST(Config, AnOverrideRepairsAConflictOfTheFile) {
  EXPECT_EQ(parse_config(R"({"model": {"heads": 7}})", "x", {"model.heads=8"}).model.heads, 8);
}

TEST(Config, ADumpReadsBackToTheSameBits) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 500; ++round) {
    Config config;
    double rate = 0;
    do rate = std::bit_cast<double>(random() >> 1);
    while (!(rate < 1e300) || rate == 0);  // a finite number of either tiny or huge size
    config.optimizer.learning_rate = rate;
    config.optimizer.beta1 = static_cast<double>(random() >> 11) * 0x1p-53;
    config.run.seed = static_cast<std::int64_t>(random() >> 1);
    config.run.directory = "runs/\"quoted\"\\\n\t\x01\u00e9\U0001F600";
    config.data.train = {"a", "b c"};
    if (round % 2 == 0) config.batch.sequences = 1 << (round % 9);
    config.checkpoint.keep_best = round % 3 == 0;
    const Config read = parse_config(dump_config(config), "dump", {});
    EXPECT_EQ(differences(config, read), std::vector<std::string>{});
    EXPECT_EQ(std::bit_cast<std::uint64_t>(read.optimizer.learning_rate), std::bit_cast<std::uint64_t>(rate));
    EXPECT_EQ(read.run.directory, config.run.directory);
  }
}

TEST(Config, ADumpIsJsonWithoutCommentsThatHoldsEveryKey) {
  Config config;
  const nlohmann::json json = nlohmann::json::parse(dump_config(config));
  for (const Key& key : keys_of(config)) {
    std::string pointer = "/" + key.path;
    std::replace(pointer.begin(), pointer.end(), '.', '/');
    EXPECT_TRUE(json.contains(nlohmann::json::json_pointer(pointer))) << key.path;
  }
}

TEST(Config, SectionsLieInSectionsInFilesOverridesDumpsAndDifferences) {
  const Config config = parse_config(
      R"({"objective": {"kind": "dpo", "dpo": {"beta": 0.3, "losses": "hinge"}, "label_smoothing": 0},
          "records": {"system": {"prefix": "S:"}, "bad": "skip"}, "data": {"train": "a.jsonl"}})",
      "x", {"objective.dpo.beta=0.2", "records.tool.suffix=", "run.initial_weights=base"});
  EXPECT_EQ(config.objective.dpo.beta, 0.2);
  EXPECT_EQ(config.objective.dpo.losses, std::vector<std::string>{"hinge"});
  EXPECT_EQ(config.records.system.prefix, "S:");
  EXPECT_EQ(config.records.system.suffix, RecordsConfig{}.system.suffix);
  EXPECT_EQ(config.records.tool.suffix, "");
  EXPECT_EQ(config.records.bad, "skip");
  EXPECT_TRUE(differences(parse_config(dump_config(config), "dump", {}), config).empty());
  Config after = config;
  after.objective.dpo.beta = 0.5;
  EXPECT_EQ(differences(config, after), std::vector<std::string>{"objective.dpo.beta: 0.2 -> 0.5"});
}

TEST(Config, WhatIsNotSetIsThatOfTheBase) {
  Config base;
  base.model.layers = 2;
  base.model.context = 48;
  base.head.softcap = 30;
  const std::vector<std::string> overrides = {"batch.tokens_per_step=96", "model.layers=3"};
  const Config config = parse_config(R"({"model": {"width": 24}})", "x", overrides, base);
  EXPECT_EQ(config.model.layers, 3);
  EXPECT_EQ(config.model.width, 24);
  EXPECT_EQ(config.model.context, 48);
  EXPECT_EQ(config.head.softcap, 30);
  // Checked against each other is the whole: 7 heads are those of the base.
  base.model.heads = 7;
  EXPECT_THROW(parse_config(R"({"model": {"width": 24}})", "x", overrides, base), Error);
}

TEST(Config, KeysAreReadBeforeTheyAreCheckedAgainstEachOther) {
  const Folder folder;
  const std::string path = folder.write("x.json", R"({"model": {"heads": 7}, "run": {"initial_weights": "base"}})");
  EXPECT_EQ(read_config(path, {"model.width=100"}).model.heads, 7);
  EXPECT_EQ(read_config(path, {}).run.initial_weights, "base");
  EXPECT_THROW(load_config(path, {}), Error);
  EXPECT_THROW(read_config(path, {"model.width=0"}), Error);
}

TEST(Config, RecordsNeedNoWholeNumberOfContextsInAStep) {
  EXPECT_NO_THROW(parse_config(R"({"objective": {"kind": "sft"}, "data": {"train": "a.jsonl"},
                                   "model": {"context": 100}})",
                               "x", {}));
  EXPECT_NO_THROW(
      parse_config(R"({"objective": {"kind": "rloo"}, "data": {"train": "a.jsonl"}, "model": {"context": 90},
                                   "rollout": {"kl_coefficient": 0, "prompts": 3, "mini_batches": 2},
                                   "reward": {"rules": ["-0.5 repetition", "length"], "target_tokens": 20}})",
                   "x", {}));
}

TEST(WeightedNames, AreANameOrAWeightAndAName) {
  const std::vector<WeightedName> names =
      weighted_names({"sigmoid", " 0.25  sft ", "-1e-3 ipo"}, "objective.dpo.losses", pair_loss_names());
  ASSERT_EQ(names.size(), 3u);
  EXPECT_EQ(names[0].name, "sigmoid");
  EXPECT_EQ(names[0].weight, 1);
  EXPECT_EQ(names[1].name, "sft");
  EXPECT_EQ(names[1].weight, 0.25);
  EXPECT_EQ(names[2].name, "ipo");
  EXPECT_EQ(names[2].weight, -1e-3);
  try {
    weighted_names({"regx"}, "reward.rules", reward_rule_names());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "reward.rules: \"regx\": unknown name (expected one of exact_answer, regex, length, repetition, "
                 "overlap, model, command)");
    EXPECT_EQ(error.hint(), "did you mean regex?");
  }
}

TEST(Config, DifferencesNameKeyAndBothValues) {
  Config before, after;
  after.model.layers = 6;
  after.optimizer.learning_rate = 1e-3;
  after.batch.sequences = 8;
  after.data.train = {"a", "b"};
  EXPECT_EQ(differences(before, after),
            (std::vector<std::string>{"data.train: [\"data/kjv\"] -> [\"a\", \"b\"]", "model.layers: 12 -> 6",
                                      "batch.sequences: \"auto\" -> 8", "optimizer.learning_rate: 0.0006 -> 0.001"}));
}

TEST(Config, NumbersDoNotDependOnTheLocale) {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  for (const char* locale : {"de_DE.UTF-8", "fr_FR.UTF-8", "C"}) {
    if (std::setlocale(LC_ALL, locale) == nullptr) continue;  // not every system has them
    EXPECT_EQ(parse_config(R"({"model": {"dropout": 0.25}})", "x", {"optimizer.beta1=0.75"}).optimizer.beta1, 0.75);
    EXPECT_EQ(parse_config(R"({"model": {"dropout": 0.25}})", "x", {}).model.dropout, 0.25);
    EXPECT_NE(dump_config(Config{}).find("\"learning_rate\": 0.0006"), std::string::npos);
  }
  std::setlocale(LC_ALL, before.c_str());
}

TEST(Config, EveryDefaultLiesInItsOwnRange) {
  const Config defaults;
  EXPECT_NO_THROW(check_config(defaults, "defaults"));
  EXPECT_NO_THROW(parse_config(dump_config(defaults), "defaults", {}));
}

TEST(Config, TheBatchIsCheckedForTheNumberOfRanks) {
  Config config;
  config.model.context = 128;
  config.batch.tokens_per_step = 128 * 6;
  EXPECT_NO_THROW(check_config(config, "x", 2));
  EXPECT_NO_THROW(check_config(config, "x", 3));
  EXPECT_THROW(check_config(config, "x", 4), Error);
  config.batch.sequences = 3;
  EXPECT_NO_THROW(check_config(config, "x", 2));
  EXPECT_THROW(check_config(config, "x", 3), Error);
  EXPECT_THROW(check_config(config, "x", 0), std::logic_error);
}

TEST(Config, AConflictIsPlacedAtTheKeyItNames) {
  try {
    parse_config("{\n  \"model\": {\"width\": 384,\n    \"heads\": 7}\n}", "x.json", {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "x.json:3:14: model.heads: 7 does not divide model.width 384");
  }
}

TEST(Config, ColumnsCountCharactersAndLinesCountLineFeeds) {
  try {
    parse_config("{\"run\": {\"directory\": \"\u00e9\u00e9\",\r\n\"seed\": 1.5}}", "x.json", {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).rfind("x.json:2:9: run.seed", 0), 0u) << error.what();
  }
  try {
    parse_config("{\"run\": {\"directory\": \"\u00e9\u00e9\", \"seed\": 1.5}}", "x.json", {});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).rfind("x.json:1:37: run.seed", 0), 0u) << error.what();
  }
}

TEST(Config, EveryPresetIsAGoodConfig) {
  int presets = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(NLL_SOURCE_DIR) + "/configs")) {
    if (entry.path().extension() != ".json") continue;
    EXPECT_NO_THROW(load_config(entry.path().string(), {})) << entry.path();
    ++presets;
  }
  EXPECT_GE(presets, 6);
}

TEST(Config, ThePresetsHaveThePublishedSizes) {
  struct Published {
    const char* name;
    std::int64_t layers, heads, width, context;
    double learning_rate;
  };
  for (const Published& model : {Published{"gpt2-124m", 12, 12, 768, 1024, 6e-4},
                                 {"gpt2-355m", 24, 16, 1024, 1024, 3e-4},
                                 {"gpt2-774m", 36, 20, 1280, 1024, 2.5e-4},
                                 {"gpt2-1558m", 48, 25, 1600, 1024, 2e-4},
                                 {"gpt3-175b", 96, 96, 12288, 2048, 6e-5}}) {
    const Config config = load_config(std::string(NLL_SOURCE_DIR) + "/configs/" + model.name + ".json", {});
    EXPECT_EQ(config.model.layers, model.layers) << model.name;
    EXPECT_EQ(config.model.heads, model.heads) << model.name;
    EXPECT_EQ(config.model.width, model.width) << model.name;
    EXPECT_EQ(config.model.context, model.context) << model.name;
    EXPECT_EQ(config.model.vocabulary, 50257) << model.name;
    EXPECT_EQ(config.optimizer.learning_rate, model.learning_rate) << model.name;
  }
}

TEST(Config, TheDocumentedKeysAreTheDeclaredOnes) {
  const std::string path = "docs/config.md";
  if (std::getenv("NLL_UPDATE_GOLDEN") != nullptr) {
    std::ofstream(std::string(NLL_SOURCE_DIR) + "/" + path) << describe_config(true);
  }
  EXPECT_EQ(source_file(path), describe_config(true)) << "write it again: nll config --markdown > " << path;
}

TEST(Config, BothDescriptionsNameEveryKeyWithDefaultRangeAndHelp) {
  Config config;
  const std::string text = describe_config(false), markdown = describe_config(true);
  for (const Key& key : keys_of(config)) {
    for (const std::string& description : {text, markdown}) {
      EXPECT_NE(description.find(key.path), std::string::npos) << key.path;
      EXPECT_NE(description.find(key.help), std::string::npos) << key.path;
      EXPECT_NE(description.find(range_text(key)), std::string::npos) << key.path;
      EXPECT_NE(description.find(value_text(key)), std::string::npos) << key.path;
    }
  }
}

TEST(LoadConfig, ReadsAFileAndNamesItInErrors) {
  const Folder folder;
  EXPECT_EQ(load_config(folder.write("good name.json", R"({"model": {"layers": 2}})"), {}).model.layers, 2);
  const std::string bad = folder.write("bad.json", R"({"model": {"layers": 0}})");
  EXPECT_EQ(message_of(bad), bad + ":1:22: model.layers: expected a whole number from 1 to 1000, found 0");
}

TEST(LoadConfig, AMissingFileIsNamedWithTheNearestOne) {
  const Folder folder;
  const std::string near = folder.write("gpt2-124m.json", "{}");
  EXPECT_EQ(message_of(folder.path("gpt2-124.json")), folder.path("gpt2-124.json") +
                                                          ": cannot be read: No such file or directory\nhint: did you "
                                                          "mean " +
                                                          near + "?");
  EXPECT_EQ(message_of(folder.path("gpt2-124m")),
            folder.path("gpt2-124m") + ": cannot be read: No such file or directory\nhint: did you mean " + near + "?");
  EXPECT_EQ(message_of(folder.path("zebra.json")),
            folder.path("zebra.json") + ": cannot be read: No such file or directory");
  EXPECT_EQ(message_of(folder.path("none/zebra.json")),
            folder.path("none/zebra.json") + ": cannot be read: No such file or directory");
  EXPECT_EQ(message_of(near + "/x.json"), near + "/x.json: cannot be read: Not a directory");
  EXPECT_EQ(message_of(""), "config: the name of the file is empty");
}

TEST(LoadConfig, WhatIsNoRegularFileIsRefused) {
  const Folder folder;
  std::filesystem::create_directory(folder.path("run"));
  EXPECT_EQ(message_of(folder.path("run")), folder.path("run") + ": is a folder (expected a JSON file)");
  folder.write("run/config.json", "{}");
  EXPECT_EQ(message_of(folder.path("run")), folder.path("run") +
                                                ": is a folder (expected a JSON file)\nhint: its config is " +
                                                folder.path("run") + "/config.json");
  ASSERT_EQ(mkfifo(folder.path("pipe.json").c_str(), 0600), 0);
  EXPECT_EQ(message_of(folder.path("pipe.json")),
            folder.path("pipe.json") + ": is not a regular file (expected a JSON file)");
  EXPECT_EQ(message_of("/dev/zero"), "/dev/zero: is not a regular file (expected a JSON file)");
}

TEST(LoadConfig, AnEmptyOrHugeFileIsRefusedWithoutReadingIt) {
  const Folder folder;
  const std::string empty = folder.write("empty.json", "");
  EXPECT_EQ(message_of(empty), empty + ": is empty (expected a JSON object)\nhint: the smallest config is {}");
  const std::string huge = folder.write("huge.json", "");
  std::filesystem::resize_file(huge, std::uintmax_t{1} << 40);
  EXPECT_EQ(message_of(huge), huge + ": 1099511627776 bytes (a config has at most 1048576)");
}

TEST(LoadConfig, AFileThatMayNotBeReadIsNamed) {
  const Folder folder;
  const std::string path = folder.write("secret.json", "{}");
  std::filesystem::permissions(path, std::filesystem::perms::none);
  // Root reads everything, so the test is nobody for a moment.
  const uid_t self = geteuid();
  const bool root = self == 0;
  if (root) {
    ASSERT_EQ(seteuid(65534), 0);
  }
  const std::string message = message_of(path);
  if (root) {
    ASSERT_EQ(seteuid(self), 0);
  }
  EXPECT_EQ(message, path + ": cannot be read: Permission denied");
}

}  // namespace
}  // namespace nll
