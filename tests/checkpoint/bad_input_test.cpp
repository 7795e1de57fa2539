// Runs fixtures/bad_input.txt: every bad input has its exact message, and nothing of it crashes or is accepted.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/hash.h"
#include "src/checkpoint/manifest.h"
#include "src/checkpoint/shard_index.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/checkpoint/temporary_folder.h"

namespace nll::testing {
namespace {

namespace fs = std::filesystem;

struct Case {
  std::map<std::string, std::string> fields;
  int line = 0;
};

std::string unescaped(const std::string& text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
    } else if (text.at(++i) == 'n') {
      bytes += '\n';
    } else if (text[i] == 'x') {
      bytes += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      bytes += text[i];
    }
  }
  return bytes;
}

std::vector<Case> read_cases(const std::string& path) {
  std::ifstream file(path);
  std::vector<Case> cases;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    if (line.empty() || line.front() == '#') continue;
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) throw std::runtime_error("line without a field: " + line);
    const std::string field = line.substr(0, colon);
    if (field == "case") cases.push_back({{}, number});
    cases.back().fields[field] = line.substr(colon + 2);
  }
  return cases;
}

std::string tensor_header(const std::string& name, const std::string& rest = "") {
  return "{\"" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})" + rest + "}";
}

// Makes a checkpoint folder out of files, with a manifest that is right for them.
void make_checkpoint(const std::string& folder, const std::map<std::string, std::string>& texts) {
  fs::create_directories(folder);
  Manifest manifest{1, {}, {}};
  for (const auto& [name, text] : texts) {
    write_bytes(folder + "/" + name, text);
    Hash128 hash;
    hash.update(text.data(), static_cast<std::int64_t>(text.size()));
    manifest.files.push_back({name, static_cast<std::int64_t>(text.size()), hash.digest()});
  }
  write_bytes(folder + "/manifest.json", make_manifest(manifest));
}

using Builder = std::function<void(const std::string& folder)>;

std::map<std::string, Builder> builders() {
  const std::string good = safetensors_bytes(tensor_header("a"), 4), other = safetensors_bytes(tensor_header("b"), 4);
  const auto checkpoint = [=](const std::string& at) {
    make_checkpoint(at, {{"config.json", "{}"}, {"model.safetensors", good}});
  };
  const auto sharded = [=](const std::string& at, const std::string& map, const std::string& one,
                           const std::string& two) {
    fs::create_directories(at);
    write_bytes(at + "/config.json", "{}");
    write_bytes(at + "/model.safetensors.index.json", "{\"metadata\":{},\"weight_map\":" + map + "}");
    write_bytes(at + "/one.safetensors", one);
    write_bytes(at + "/two.safetensors", two);
  };
  const std::string map = R"({"a":"one.safetensors","b":"two.safetensors"})";
  return {
      {"missing", [](const std::string&) {}},
      {"a_file", [](const std::string& at) { write_bytes(at, "x"); }},
      {"empty", [](const std::string& at) { fs::create_directory(at); }},
      {"run_without_checkpoints", [](const std::string& at) { fs::create_directories(at + "/checkpoints"); }},
      {"run_with_empty_checkpoint",
       [](const std::string& at) { fs::create_directories(at + "/checkpoints/step_00000001"); }},
      {"checkpoints_folder", [](const std::string& at) { fs::create_directories(at + "/step_00000001"); }},
      {"weights_without_config",
       [=](const std::string& at) {
         fs::create_directory(at);
         write_bytes(at + "/model.safetensors", good);
       }},
      {"symbolic_link",
       [=](const std::string& at) {
         checkpoint(at);
         fs::rename(at + "/config.json", at + "/elsewhere");
         fs::create_symlink("elsewhere", at + "/config.json");
       }},
      {"fifo",
       [=](const std::string& at) {
         checkpoint(at);
         fs::remove(at + "/config.json");
         ASSERT_EQ(::mkfifo((at + "/config.json").c_str(), 0600), 0);
       }},
      {"folder_for_file",
       [=](const std::string& at) {
         checkpoint(at);
         fs::remove(at + "/config.json");
         fs::create_directory(at + "/config.json");
       }},
      {"manifest_link",
       [=](const std::string& at) {
         checkpoint(at);
         fs::rename(at + "/manifest.json", at + "/elsewhere");
         fs::create_symlink("elsewhere", at + "/manifest.json");
       }},
      {"manifest_fifo",
       [=](const std::string& at) {
         checkpoint(at);
         fs::remove(at + "/manifest.json");
         ASSERT_EQ(::mkfifo((at + "/manifest.json").c_str(), 0600), 0);
       }},
      {"missing_file",
       [=](const std::string& at) {
         checkpoint(at);
         fs::remove(at + "/config.json");
       }},
      {"other_size",
       [=](const std::string& at) {
         checkpoint(at);
         write_bytes(at + "/config.json", "{} ");
       }},
      {"other_bytes",
       [=](const std::string& at) {
         checkpoint(at);
         write_bytes(at + "/config.json", "[]");
       }},
      {"bad_weights",
       [=](const std::string& at) {
         make_checkpoint(at, {{"model.safetensors", good + "x"}});
       }},
      {"missing_shard",
       [=](const std::string& at) {
         sharded(at, map, good, other);
         fs::remove(at + "/two.safetensors");
       }},
      {"tensor_in_two_shards", [=](const std::string& at) { sharded(at, map, good, good); }},
      {"tensor_in_other_shard", [=](const std::string& at) { sharded(at, map, other, good); }},
      {"tensor_in_no_shard",
       [=](const std::string& at) { sharded(at, R"({"a":"one.safetensors","c":"two.safetensors"})", good, other); }},
      {"shard_link",
       [=](const std::string& at) {
         sharded(at, map, good, other);
         fs::rename(at + "/two.safetensors", at + "/elsewhere");
         fs::create_symlink("elsewhere", at + "/two.safetensors");
       }},
      {"weights_link",
       [=](const std::string& at) {
         fs::create_directory(at);
         write_bytes(at + "/config.json", "{}");
         write_bytes(at + "/elsewhere", good);
         fs::create_symlink("elsewhere", at + "/model.safetensors");
       }},
  };
}

// Does with the input what the program does with it.
void use(const Case& bad, const TemporaryFolder& scratch) {
  const auto has = [&](const char* field) { return bad.fields.contains(field); };
  const auto text = [&](const char* field) { return unescaped(bad.fields.at(field)); };
  if (has("header") || has("file")) {
    const std::int64_t data = has("data") ? std::stoll(bad.fields.at("data")) : 0;
    write_bytes(scratch / "model.safetensors", has("file") ? text("file") : safetensors_bytes(text("header"), data));
    const SafetensorsFile file(posix_file_ops(), scratch / "model.safetensors");
  } else if (has("manifest")) {
    parse_manifest(text("manifest") + "xxh3 " + hash_64(text("manifest")) + "\n", "manifest.json");
  } else if (has("manifest_raw")) {
    parse_manifest(text("manifest_raw"), "manifest.json");
  } else if (has("index")) {
    parse_shard_index(text("index"), "model.safetensors.index.json");
  } else {
    builders().at(bad.fields.at("folder"))(scratch / "FOLDER");
    const std::string folder = resolve_checkpoint(posix_file_ops(), scratch / "FOLDER", {});
    const SafetensorsFile weights = CheckpointFolder(posix_file_ops(), folder).weights();
  }
}

std::string outcome(const Case& bad) {
  const TemporaryFolder scratch;
  try {
    use(bad, scratch);
    return "accepted";
  } catch (const Error& error) {
    std::string message = error.what();
    for (std::size_t at = 0; (at = message.find(scratch.path() + "/")) != std::string::npos;) {
      message.erase(at, scratch.path().size() + 1);
    }
    return std::to_string(static_cast<int>(error.exit())) + " " + message;
  }
}

TEST(BadInput, EachCaseHasItsExactOneLineMessage) {
  const std::string path = NLL_SOURCE_DIR "/tests/checkpoint/fixtures/bad_input.txt";
  const std::vector<Case> cases = read_cases(path);
  ASSERT_GE(cases.size(), 130U);
  std::set<std::string> names, used_builders;
  for (const Case& bad : cases) {
    const std::string& name = bad.fields.at("case");
    EXPECT_TRUE(names.insert(name).second) << "two cases are called " << name;
    if (bad.fields.contains("folder")) used_builders.insert(bad.fields.at("folder"));
    const std::string actual = outcome(bad);
    EXPECT_EQ(actual, bad.fields.at("error")) << path << ":" << bad.line << ": " << name;
    EXPECT_EQ(actual.find('\n'), std::string::npos) << name;
    EXPECT_LT(actual.size(), 400U) << name;
  }
  EXPECT_EQ(used_builders.size(), builders().size());
}

}  // namespace
}  // namespace nll::testing
