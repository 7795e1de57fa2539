// Bit rot and truncation of a checkpoint on the real disk.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/manifest.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/checkpoint/temporary_folder.h"

namespace nll::testing {
namespace {

class Damage : public ::testing::Test {
 protected:
  Damage() : sample_(7) {
    folder_ = CheckpointStore(posix_file_ops(), run_.path()).save(sample_.content());
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      files_[entry.path().filename().string()] = read_bytes(entry.path().string());
    }
  }
  bool is_noticed() const { return !verify_checkpoint(posix_file_ops(), folder_).empty(); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }

  void overwrite(const std::string& name, std::size_t at, char byte) const {
    std::fstream file(path(name), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at)).put(byte).flush();
    ASSERT_TRUE(file.good());
  }

  TemporaryFolder run_;
  SampleCheckpoint sample_;
  std::string folder_;
  std::map<std::string, std::string> files_;
};

TEST_F(Damage, EachOf1000SingleBitFlipsIsNoticed) {
  ASSERT_FALSE(is_noticed());
  std::vector<std::string> names;  // of files with bytes
  for (const auto& [name, bytes] : files_) {
    if (!bytes.empty()) names.push_back(name);
  }
  ASSERT_EQ(names.size(), 5U);
  std::mt19937 random(1);
  int noticed = 0;
  for (std::size_t flip = 0; flip < 1000; ++flip) {
    const std::string& name = names[flip % names.size()];
    const std::string& bytes = files_[name];
    const std::size_t at = random() % bytes.size(), bit = random() % 8;
    overwrite(name, at, static_cast<char>(bytes[at] ^ (1 << bit)));
    const bool found = is_noticed();
    noticed += found ? 1 : 0;
    EXPECT_TRUE(found) << name << " byte " << at << " bit " << bit;
    overwrite(name, at, bytes[at]);
  }
  EXPECT_EQ(noticed, 1000);
  EXPECT_FALSE(is_noticed());
}

TEST_F(Damage, EveryBitOfTheManifestIsGuarded) {
  const std::string& manifest = files_["manifest.json"];
  ASSERT_NO_THROW(parse_manifest(manifest, "manifest.json"));
  for (std::size_t at = 0; at < manifest.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = manifest;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      ASSERT_THROW(parse_manifest(bytes, "manifest.json"), Error) << "byte " << at << " bit " << bit;
    }
  }
}

TEST_F(Damage, ATruncationAtAnyByteOfTheManifestIsNoticed) {
  for (std::size_t length = files_["manifest.json"].size(); length-- > 0;) {
    std::filesystem::resize_file(path("manifest.json"), length);
    ASSERT_TRUE(is_noticed()) << length;
    ASSERT_THROW(CheckpointFolder(posix_file_ops(), folder_), Error) << length;
  }
}

TEST_F(Damage, ATruncationAtAnyByteOfASafetensorsFileIsNoticedWithAndWithoutTheManifest) {
  for (const char* name : {"model.safetensors", "optimizer.safetensors"}) {
    const std::string& whole = files_[name];
    write_bytes(path(name), whole + "x");
    EXPECT_TRUE(is_noticed());
    EXPECT_THROW(SafetensorsFile(posix_file_ops(), path(name)), Error);
    for (std::size_t length = whole.size(); length-- > 0;) {
      std::filesystem::resize_file(path(name), length);
      ASSERT_TRUE(is_noticed()) << name << " " << length;
      ASSERT_THROW(CheckpointFolder(posix_file_ops(), folder_), Error) << length;
      ASSERT_THROW(SafetensorsFile(posix_file_ops(), path(name)), Error) << length;
    }
    write_bytes(path(name), whole);
  }
}

TEST_F(Damage, AMissingFileIsNoticed) {
  for (const auto& [name, bytes] : files_) {
    std::filesystem::remove(path(name));
    const auto findings = verify_checkpoint(posix_file_ops(), folder_);
    EXPECT_EQ(findings, std::vector<std::string>{name + ": no such file"});
    write_bytes(path(name), bytes);
  }
}

TEST_F(Damage, AFileThatShrinksWhileItIsReadIsAnError) {
  const SafetensorsFile file(posix_file_ops(), path("model.safetensors"));
  std::filesystem::resize_file(path("model.safetensors"), static_cast<std::uintmax_t>(file.header().data_offset) + 16);
  std::vector<float> values(96);
  try {
    file.read("wte.weight", Tensor(values.data(), DType::f32, {12, 8}));
    FAIL() << "half of the bytes are gone";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::io);
    EXPECT_NE(std::string(error.what()).find("ends at byte"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace nll::testing
