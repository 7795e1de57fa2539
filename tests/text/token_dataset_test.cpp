#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "src/text/token_files.h"
#include "tests/text/token_shards.h"

namespace nll {
namespace {

TEST(FindTokenFiles, TakesFoldersFilesAndGlobsEachOnce) {
  const TemporaryFolder folder;
  for (const char* name : {"train_00001.bin", "train_00000.bin", "validation_00000.bin", "tokenizer.json", "x.bin"}) {
    write_file(folder / name, "..");
  }
  const std::vector<std::string> train = {folder / "train_00000.bin", folder / "train_00001.bin"};
  EXPECT_EQ(find_token_files({folder.path()}, "train"), train);
  EXPECT_EQ(find_token_files({folder.path() + "/"}, "train"), train);
  EXPECT_EQ(find_token_files({folder / "train_*.bin"}, "train"), train);
  EXPECT_EQ(
      find_token_files({folder / "train_0000[01].bin", folder.path(), folder / "./train_00000.bin"}, "train").size(),
      2u);
  EXPECT_EQ(find_token_files({folder.path()}, "validation"), std::vector<std::string>{folder / "validation_00000.bin"});
  EXPECT_EQ(find_token_files({folder / "x.bin"}, "validation"), std::vector<std::string>{folder / "x.bin"});
}

TEST(FindTokenFiles, KnowsTheFoldersOfOtherPrograms) {
  const TemporaryFolder nanogpt, llmc;
  for (const char* name : {"train.bin", "val.bin", "meta.pkl"}) write_file(nanogpt / name, "..");
  for (const char* name : {"fineweb_train_000001.bin", "fineweb_val_000000.bin"}) write_file(llmc / name, "..");
  EXPECT_EQ(find_token_files({nanogpt.path()}, "train"), std::vector<std::string>{nanogpt / "train.bin"});
  EXPECT_EQ(find_token_files({nanogpt.path()}, "validation"), std::vector<std::string>{nanogpt / "val.bin"});
  EXPECT_EQ(find_token_files({llmc.path()}, "train"), std::vector<std::string>{llmc / "fineweb_train_000001.bin"});
  EXPECT_EQ(find_token_files({llmc.path()}, "validation"), std::vector<std::string>{llmc / "fineweb_val_000000.bin"});
}

TEST(FindTokenFiles, NamesWhatMatchesNothing) {
  const TemporaryFolder folder;
  const auto find = [&](const std::string& pattern) {
    return error_of([&] { find_token_files({pattern}, "train"); }, folder.path());
  };
  EXPECT_EQ(find(folder / "*.bin"), "4: \"*.bin\": no such file or folder, and no glob that matches any");
  EXPECT_EQ(find(folder / "none"), "4: \"none\": no such file or folder, and no glob that matches any");
  EXPECT_EQ(find(folder / "."), "4: .: no train shards in this folder (expected train_00000.bin and so on)");
  write_file(folder / "odd[1].bin", "..");
  EXPECT_EQ(find_token_files({folder / "odd[1].bin"}, "train").size(), 1u);  // a name that exists is no glob
}

TEST(TokenDataset, WindowsOfAnEpochAreApartAndMoveFromEpochToEpoch) {
  const TemporaryFolder folder;
  const std::vector<std::int64_t> sizes = {5, 6, 9, 10, 13, 17, 100, 101, 3};
  std::vector<std::string> paths;
  std::int64_t expected = 0;
  constexpr std::int64_t context = 4;
  for (std::size_t f = 0; f < sizes.size(); ++f) {
    paths.push_back(write_shard(folder / (std::to_string(f) + ".bin"),
                                counting(sizes[f], static_cast<std::int32_t>(1000 * f)), 10000));
    if (sizes[f] > context) expected += std::max<std::int64_t>(1, (sizes[f] - 1) / context - 1);
  }
  const TokenDataset dataset(paths, context, 10000);
  ASSERT_EQ(dataset.windows(), expected);
  EXPECT_EQ(dataset.tokens(), std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0}));
  std::vector<std::set<std::int32_t>> shifts(sizes.size());
  for (std::int64_t epoch = 0; epoch < 200; ++epoch) {
    std::set<std::int32_t> targets;
    std::vector<bool> seen(sizes.size(), false);
    for (std::int64_t index = 0; index < dataset.windows(); ++index) {
      std::vector<std::int32_t> window(context + 1);
      dataset.window(9, epoch, index, window);
      EXPECT_EQ(window, counting(context + 1, window[0]));  // of one file, without a gap
      const auto file = static_cast<std::size_t>(window[0] / 1000);
      EXPECT_LT(window.back() % 1000, sizes[file]);
      if (!seen[file]) shifts[file].insert(window[0] % 1000);
      seen[file] = true;
      for (std::size_t t = 1; t < window.size(); ++t) EXPECT_TRUE(targets.insert(window[t]).second);
    }
  }
  for (std::size_t f = 0; f < sizes.size(); ++f) {
    const std::int64_t windows = sizes[f] > context ? std::max<std::int64_t>(1, (sizes[f] - 1) / context - 1) : 0;
    const std::int64_t slack = std::min(context - 1, sizes[f] - 1 - windows * context);
    const std::size_t possible = windows == 0 ? 0 : static_cast<std::size_t>(slack + 1);
    EXPECT_EQ(shifts[f].size(), possible) << "file of " << sizes[f];  // 200 draws of at most 4 miss none
  }
}

TEST(TokenDataset, RefusesDataThatDoesNotFitTheModel) {
  const TemporaryFolder folder;
  const auto open = [&](std::vector<std::string> names, std::int64_t context, std::int64_t vocabulary,
                        TokenDataset::Short short_files = TokenDataset::Short::refused) {
    for (std::string& name : names) name = folder / name;
    return error_of([&] { TokenDataset(names, context, vocabulary, short_files); }, folder.path());
  };
  write_shard(folder / "a.bin", counting(8), 300);
  write_shard(folder / "one.bin", counting(1), 300);
  write_file(folder / "b.bin", token_bytes(counting(8), 2));
  EXPECT_EQ(open({"a.bin"}, 7, 300), "no error");
  EXPECT_EQ(open({"a.bin"}, 8, 300),
            "4: a.bin: at most 8 tokens in a file (expected at least 9: the context and one more)");
  EXPECT_EQ(open({"one.bin", "a.bin"}, 7, 300), "no error");
  EXPECT_EQ(open({"one.bin", "a.bin"}, 8, 300),
            "4: one.bin and 1 more files: at most 8 tokens in a file (expected at least 9: the context and one more)");
  EXPECT_EQ(open({"a.bin"}, 8, 300, TokenDataset::Short::allowed), "no error");
  EXPECT_EQ(open({"one.bin"}, 8, 300, TokenDataset::Short::allowed),
            "4: one.bin: at most 1 tokens in a file (expected at least 2: one and its target)");
  EXPECT_EQ(open({"a.bin"}, 4, 299), "4: a.bin: made with a vocabulary of 300 (the model's is 299)");
  EXPECT_EQ(open({"b.bin"}, 4, 65537), "4: b.bin: tokens of 2 bytes cannot hold a vocabulary of 65537 (at most 65536)");
}

}  // namespace
}  // namespace nll
