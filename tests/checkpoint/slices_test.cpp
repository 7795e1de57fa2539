// Checkpoints do not depend on the number of ranks: saved by N and read by M, and what is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "src/checkpoint/checkpoint_layout.h"
#include "tests/checkpoint/rank_job.h"
#include "tests/checkpoint/sample_checkpoint.h"

namespace nll::testing {
namespace {

using Names = std::vector<std::string>;
const std::string run = "run", folder = "run/checkpoints/step_00000009";

MemoryFileOps saved(const SlicedCheckpoint& sample) {
  MemoryFileOps files;
  files.make_folder(run);
  for (const RankOutcome& outcome : save_by_ranks(files, run, sample)) EXPECT_EQ(outcome.folder, folder);
  return files;
}

class Resharding : public ::testing::TestWithParam<std::tuple<int, int>> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Resharding,
                         ::testing::Combine(::testing::Values(1, 2, 3, 4, 8), ::testing::Values(1, 2, 3, 4, 8)),
                         [](const auto& chosen) {
                           return std::to_string(std::get<0>(chosen.param)) + "To" +
                                  std::to_string(std::get<1>(chosen.param));
                         });

TEST_P(Resharding, SavedAtNLoadsAtMBitForBitAndSavedAtNAgainGivesTheSameBytes) {
  const auto [n, m] = GetParam();
  const SlicedCheckpoint original(9, n);
  MemoryFileOps at_n = saved(original);
  EXPECT_EQ(verify_checkpoint(at_n, folder), Names{});
  EXPECT_EQ(original.difference(at_n, folder), "");
  const SlicedCheckpoint moved(at_n, folder, m);  // each of M ranks reads what it owns
  MemoryFileOps at_m = saved(moved);
  EXPECT_EQ(verify_checkpoint(at_m, folder), Names{});
  EXPECT_EQ(original.difference(at_m, folder), "");
  const SlicedCheckpoint back(at_m, folder, n);
  MemoryFileOps again = saved(back);
  EXPECT_EQ(files_of(again, folder), files_of(at_n, folder));
  const bool one_file = files_of(at_m, folder).contains("optimizer.safetensors");
  EXPECT_EQ(one_file, m == 1);
}

TEST(Slices, ARangeIsReadFromAsManyFilesAsItSpansAndOnlyThoseBytes) {
  const SlicedCheckpoint sample(9, 8);
  MemoryFileOps files = saved(sample);
  OptimizerMoments moments = CheckpointFolder(files, folder).optimizer();
  std::vector<float> whole(104), part(104);
  moments.read("m/wte.weight", 0, {whole.data(), DType::f32, {104}});
  for (const auto& [begin, end] : {std::pair{0, 0}, {0, 1}, {103, 104}, {17, 71}, {1, 104}, {40, 41}}) {
    std::fill(part.begin(), part.end(), -3.0F);
    moments.read("m/wte.weight", begin, {part.data(), DType::f32, {end - begin}});
    EXPECT_TRUE(std::equal(part.begin(), part.begin() + (end - begin), whole.begin() + begin));
    EXPECT_EQ(part[static_cast<std::size_t>(end - begin) % 104], end - begin == 104 ? part[0] : -3.0F);
  }
  files.plan({});
  moments.read("v/h.1.scale", 0, {part.data(), DType::f32, {1}});
  EXPECT_LE(std::count(files.log().begin(), files.log().end(), "read"), 3);  // a header's size, a header, one element
}

// ---- refusals

struct SliceFile {
  std::string name, header;
  std::int64_t bytes = 0;
};

// What a folder with these optimizer files is refused for; empty: it is not.
std::string refusal(const std::vector<SliceFile>& slices) {
  MemoryFileOps files;
  files.make_folder("f");
  for (const SliceFile& slice : slices) {
    const int descriptor = files.create("f/" + slice.name);
    const std::string bytes = safetensors_bytes(slice.header, slice.bytes);
    files.write(descriptor, bytes.data(), static_cast<std::int64_t>(bytes.size()), 0);
    files.close(descriptor);
  }
  try {
    CheckpointFolder(files, "f").optimizer();
    return "";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::bad_data);
    return error.what();
  }
}

std::string tensor(const std::string& name, const std::string& shape, int begin, int end, const char* dtype = "F32") {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape + "],\"data_offsets\":[" +
         std::to_string(begin) + "," + std::to_string(end) + "]}";
}
std::string header(const std::string& metadata, const std::string& tensors) {
  return "{\"__metadata__\":{" + metadata + "}," + tensors + "}";
}
const std::string first = "optimizer-00000-of-00002.safetensors", second = "optimizer-00001-of-00002.safetensors";
const std::string of_6 = "\"m/a\":\"2,3\"";

TEST(SliceRefusals, AWholeSeriesThatCoversEachTensorOnceIsRead) {
  EXPECT_EQ(refusal({{first, header(of_6, tensor("m/a@0", "2", 0, 8)), 8},
                     {second, header(of_6, tensor("m/a@2", "4", 0, 16)), 16}}),
            "");
}

TEST(SliceRefusals, AHoleAnOverlapAndAMissingEndAreNamed) {
  EXPECT_EQ(refusal({{first, header(of_6, tensor("m/a@0", "2", 0, 8)), 8},
                     {second, header(of_6, tensor("m/a@3", "3", 0, 12)), 12}}),
            "f: \"m/a\": elements [2, 3) are in no file");
  EXPECT_EQ(refusal({{first, header(of_6, tensor("m/a@0", "4", 0, 16)), 16},
                     {second, header(of_6, tensor("m/a@2", "4", 0, 16)), 16}}),
            "f: \"m/a\": elements [2, 4) are in " + first + " and in " + second);
  EXPECT_EQ(refusal({{first, header(of_6, tensor("m/a@1", "2", 0, 8)), 8},
                     {second, header(of_6, tensor("m/a@3", "2", 0, 8)), 8}}),
            "f: \"m/a\": elements [0, 1) are in no file");
  EXPECT_EQ(refusal({{first, header(of_6, tensor("m/a@0", "2", 0, 8)), 8},
                     {second, header(of_6, tensor("m/a@2", "3", 0, 12)), 12}}),
            "f: \"m/a\": elements [5, 6) are in no file");
  EXPECT_EQ(refusal({{first, header("", tensor("m/a", "2,3", 0, 24)), 24},
                     {second, header(of_6, tensor("m/a@2", "1", 0, 4)), 4}}),
            "f: \"m/a\": elements [2, 3) are in " + first + " and in " + second);
}

TEST(SliceRefusals, ShapesTypesAndNamesMustMakeSense) {
  const auto with_second = [](const std::string& text, std::int64_t bytes) {
    return refusal({{first, header(of_6, tensor("m/a@0", "2", 0, 8)), 8}, {second, text, bytes}});
  };
  EXPECT_EQ(with_second(header("\"m/a\":\"3,2\"", tensor("m/a@2", "4", 0, 16)), 16),
            "f: " + second + ": tensor \"m/a@2\": of shape (3, 2) (in " + first + " it is (2, 3))");
  EXPECT_EQ(with_second(header(of_6, tensor("m/a@2", "4", 0, 8, "BF16")), 8),
            "f: " + second + ": tensor \"m/a@2\": dtype BF16 (in " + first + " it is F32)");
  EXPECT_EQ(with_second(header("", tensor("m/a@2", "4", 0, 16)), 16),
            "f: " + second + ": tensor \"m/a@2\": __metadata__ has no shape of \"m/a\"");
  for (const char* shape : {"2;3", "", "2,", "-2,3", "9223372036854775807,9", "two"}) {
    EXPECT_EQ(
        with_second(header("\"m/a\":\"" + std::string(shape) + "\"", tensor("m/a@2", "4", 0, 16)), 16),
        "f: " + second + ": tensor \"m/a@2\": __metadata__: \"" + shape + "\" is no shape (expected \"rows,columns\")");
  }
  EXPECT_EQ(with_second(header(of_6, tensor("m/a@2", "2,2", 0, 16)), 16),
            "f: " + second + ": tensor \"m/a@2\": shape (2, 2) (expected one dimension of a slice)");
  EXPECT_EQ(with_second(header(of_6, tensor("m/a@2", "5", 0, 20)), 20),
            "f: " + second + ": tensor \"m/a@2\": 5 elements from 2 on (the whole has 6)");
  for (const char* name : {"m/a@", "m/a@x", "m/a@-1", "m/a@2x", "m/a@99999999999999999999"}) {
    EXPECT_EQ(
        with_second(header(of_6, tensor(name, "4", 0, 16)), 16),
        "f: " + second + ": tensor \"" + name + "\": no slice (expected a name that ends in @ and the first element)");
  }
}

TEST(SliceRefusals, AtMostTenProblemsAreListed) {
  std::string tensors;
  for (int i = 0; i < 12; ++i) {
    tensors +=
        (i > 0 ? "," : "") + tensor("m/" + std::string(1, static_cast<char>('a' + i)) + "@x", "1", 4 * i, 4 * i + 4);
  }
  const std::string message = refusal({{optimizer_file, header("", tensors), 48}});
  EXPECT_EQ(std::count(message.begin(), message.end(), '@'), 10 * 2);
  EXPECT_TRUE(message.ends_with("; and 2 more")) << message;
}

TEST(SliceRefusals, ASeriesMustBeWholeAndAlone) {
  const std::string empty = "{}";
  EXPECT_EQ(refusal({{first, empty, 0}}), "f: " + second + " is missing beside " + first);
  EXPECT_EQ(refusal({{second, empty, 0}}), "f: " + first + " is missing beside " + second);
  EXPECT_EQ(refusal({{first, empty, 0}, {"optimizer-00001-of-00003.safetensors", empty, 0}}),
            "f: " + first + " and optimizer-00001-of-00003.safetensors are of different saves");
  EXPECT_EQ(refusal({{first, empty, 0}, {second, empty, 0}, {optimizer_file, empty, 0}}),
            "f: " + first + " and optimizer.safetensors are of different saves");
  // Not of this program, so of no meaning here.
  EXPECT_EQ(refusal({{optimizer_file, empty, 0}, {"optimizer-0-of-2.safetensors", empty, 0}}), "");
}

TEST(SliceDamage, VerifyNamesAMissingATornAndAForeignSliceFile) {
  const SlicedCheckpoint sample(9, 3);
  const MemoryFileOps disk = saved(sample);
  const std::string file = "optimizer-00001-of-00003.safetensors";
  MemoryFileOps missing(disk);
  missing.remove(folder + "/" + file);
  EXPECT_EQ(verify_checkpoint(missing, folder), Names{file + ": no such file"});
  EXPECT_THROW(CheckpointFolder(missing, folder), Error);
  MemoryFileOps torn(disk);
  std::string& bytes = torn.content(folder + "/" + file);
  const std::size_t size = bytes.size();
  bytes.resize(size - 1);
  EXPECT_EQ(verify_checkpoint(torn, folder),
            Names{file + ": " + std::to_string(size - 1) + " bytes (the manifest says " + std::to_string(size) + ")"});
  // A file of another save, of the same size.
  MemoryFileOps foreign(disk);
  MemoryFileOps other = saved(SlicedCheckpoint(9, 3, 1));
  foreign.content(folder + "/" + file) = other.content(folder + "/" + file);
  const Names findings = verify_checkpoint(foreign, folder);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_TRUE(findings[0].starts_with(file + ": checksum ")) << findings[0];
}

TEST(SliceDamage, VerifyChecksTheCoverageOfAFolderWhoseFilesAreAllIntact) {
  // The ranks disagreed on who owns what: each file is sound, together they are not.
  MemoryFileOps files;
  files.make_folder(run);
  std::vector<float> values(6);
  CheckpointContent content;
  content.step = 9;
  content.weights = {{"a", {values.data(), DType::f32, {2, 3}}}};
  content.optimizer = {{"m/a@0", {values.data(), DType::f32, {2}}, {2, 3}},
                       {"m/a@3", {values.data(), DType::f32, {3}}, {2, 3}}};
  CheckpointStore(files, run).save(content);
  EXPECT_EQ(verify_checkpoint(files, folder), Names{"\"m/a\": elements [2, 3) are in no file"});
}

TEST(OptimizerFileNames, AreRecognisedExactly) {
  EXPECT_EQ(optimizer_file_name(0, 1), "optimizer.safetensors");
  EXPECT_EQ(optimizer_file_name(7, 123456), "optimizer-00007-of-123456.safetensors");
  EXPECT_TRUE(is_optimizer_file("optimizer-00007-of-123456.safetensors"));
  for (const char* name : {"optimizer-0007-of-00008.safetensors", "optimizer-00008-of-00008.safetensors",
                           "optimizer-00000-of-00001.safetensors", "optimizer-00000-of-00002", "optimizer-.safetensors",
                           "optimizer--of-.safetensors", "optimizer-00000-of-.safetensors", "model.safetensors"}) {
    EXPECT_FALSE(is_optimizer_file(name)) << name;
  }
}

}  // namespace
}  // namespace nll::testing
