#include "src/text/loader.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>
#include <set>

#include "kernels/ops.h"
#include "tests/text/token_shards.h"

namespace nll {
namespace {

TEST(PermutedIndex, IsAPermutationOfEveryCount) {
  for (const std::int64_t count : {1, 2, 3, 4, 5, 15, 16, 17, 100, 1000, 4097}) {
    for (const std::int64_t epoch : {0, 1, 77}) {
      std::vector<bool> seen(static_cast<std::size_t>(count), false);
      for (std::int64_t index = 0; index < count; ++index) {
        const std::int64_t image = permuted_index(5, epoch, count, index);
        ASSERT_GE(image, 0);
        ASSERT_LT(image, count);
        EXPECT_FALSE(seen[static_cast<std::size_t>(image)]);
        seen[static_cast<std::size_t>(image)] = true;
      }
    }
  }
}

TEST(PermutedIndex, WorksOnCountsBeyond32Bits) {
  const std::int64_t count = (std::int64_t{1} << 40) + 12345;
  std::set<std::int64_t> images;
  for (std::int64_t i = 0; i < 2000; ++i) {
    const std::int64_t image = permuted_index(5, 1, count, i * 549755813);
    EXPECT_LT(image, count);
    EXPECT_TRUE(images.insert(image).second);
  }
  EXPECT_GT(*images.rbegin(), count / 2);
}

TEST(PermutedIndex, SpreadsEvenlyOverSeedsAndEpochs) {
  // Where index 3 of 20 goes, over 20,000 permutations: chi-square with 19 degrees of freedom has mean 19 and standard
  // deviation sqrt(38); six of these above the mean are far beyond chance.
  for (const bool by_seed : {true, false}) {
    std::vector<double> hits(20, 0);
    constexpr int draws = 20000;
    for (int i = 0; i < draws; ++i) {
      const auto seed = static_cast<std::uint64_t>(by_seed ? i : 4);
      ++hits[static_cast<std::size_t>(permuted_index(seed, by_seed ? 0 : i, 20, 3))];
    }
    double chi_square = 0;
    for (const double hit : hits) chi_square += (hit - draws / 20.0) * (hit - draws / 20.0) / (draws / 20.0);
    EXPECT_LT(chi_square, 19 + 6 * std::sqrt(38.0));
  }
}

// Windows of one token and its target; token i is i, so a batch tells which windows it took.
struct CountingData {
  TemporaryFolder folder;
  std::string path;
  explicit CountingData(std::int64_t tokens) : path(write_shard(folder / "t.bin", counting(tokens), 1 << 22)) {}
};

TEST(Loader, ServesEachSampleOnceAnEpochInOneOrderAtAnyNumberOfRanks) {
  // 10^6 samples: with T = 1 a file of n tokens has n - 2 windows. They are read by 1, 2, 3 or 4 ranks, with stops at
  // random steps and another number of ranks after each; the order must be that of the definition throughout.
  constexpr std::int64_t windows = 400'000, samples = 1'000'000, per_step = 120;
  const CountingData data(windows + 2);
  const TokenDataset dataset({data.path}, 1, 1 << 22);
  ASSERT_EQ(dataset.windows(), windows);
  constexpr std::uint64_t seed = 42;
  std::vector<std::int64_t> shift;
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::int32_t> first(2);
    dataset.window(seed, epoch, 0, first);
    shift.push_back(first[0]);
  }
  std::mt19937_64 random(1);
  std::vector<std::vector<bool>> seen(3, std::vector<bool>(windows, false));
  std::int64_t position = 0;
  while (position < samples) {
    const auto ranks = static_cast<std::int64_t>(1 + random() % 4);
    const auto steps = static_cast<std::int64_t>(1 + random() % 1000);
    std::vector<std::unique_ptr<Loader>> loaders;
    for (std::int64_t rank = 0; rank < ranks; ++rank) {
      loaders.push_back(std::make_unique<Loader>(dataset, seed, position, per_step, 10, rank, ranks));
    }
    for (std::int64_t step = 0; step < steps && position < samples; ++step) {
      for (auto& loader : loaders) {
        for (std::int64_t taken = 0; taken < per_step / ranks; taken += 10) {
          const Batch batch = loader->next();
          ASSERT_EQ(batch.sequences, 10);
          for (std::int64_t b = 0; b < batch.sequences; ++b, ++position) {
            const std::int64_t epoch = position / windows;
            const std::int64_t window =
                batch.tokens[static_cast<std::size_t>(b)] - shift[static_cast<std::size_t>(epoch)];
            ASSERT_EQ(window, permuted_index(seed, epoch, windows, position % windows));
            ASSERT_EQ(batch.targets[static_cast<std::size_t>(b)], batch.tokens[static_cast<std::size_t>(b)] + 1);
            ASSERT_FALSE(seen[static_cast<std::size_t>(epoch)][static_cast<std::size_t>(window)]);
            seen[static_cast<std::size_t>(epoch)][static_cast<std::size_t>(window)] = true;
          }
        }
      }
    }
  }
  for (std::size_t epoch = 0; epoch < 2; ++epoch) {
    EXPECT_EQ(std::count(seen[epoch].begin(), seen[epoch].end(), true), windows);
  }
}

TEST(Loader, CutsTheLastMicroBatchOfAPartShort) {
  const CountingData data(1000);
  const TokenDataset dataset({data.path}, 4, 1 << 22);
  std::map<std::int64_t, std::int64_t> sizes;
  for (std::int64_t rank = 0; rank < 3; ++rank) {
    Loader loader(dataset, 1, 0, 32, 4, rank, 3);  // parts of 10, 11 and 11
    for (int i = 0; i < 3; ++i) sizes[rank] = loader.next().sequences;
    EXPECT_EQ(loader.next().sequences, 4);
  }
  EXPECT_EQ(sizes, (std::map<std::int64_t, std::int64_t>{{0, 2}, {1, 3}, {2, 3}}));
}

TEST(Loader, MakesBatchesOfTokensAndTheirTargets) {
  const CountingData data(1000);
  const TokenDataset dataset({data.path}, 8, 1 << 22);
  Loader loader(dataset, 1, 0, 6, 3);
  for (int i = 0; i < 50; ++i) {
    const Batch batch = loader.next();
    ASSERT_EQ(batch.context, 8);
    ASSERT_EQ(batch.tokens.size(), 24u);
    ASSERT_EQ(batch.targets.size(), 24u);
    EXPECT_EQ(batch.valid_tokens(), 24);
    for (std::size_t t = 0; t < 24; ++t) EXPECT_EQ(batch.targets[t], batch.tokens[t] + 1);
  }
}

TEST(Loader, RethrowsWhatItsThreadRanInto) {
  const TemporaryFolder folder;
  const std::string path = write_file(folder / "t.bin", token_bytes(counting(1000), 2));
  const TokenDataset dataset({path}, 4, 500);
  Loader loader(dataset, 1, 0, 100, 100);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const std::string error = error_of(
        [&] {
          for (int i = 0; i < 10; ++i) loader.next();
        },
        folder.path());
    EXPECT_EQ(error.substr(0, 15), "4: t.bin: token") << error;
    EXPECT_NE(error.find("is not in the vocabulary of 500"), std::string::npos) << error;
  }
}

TEST(Loader, JoinsWhereverItStands) {
  const CountingData data(1000);
  const TokenDataset dataset({data.path}, 4, 1 << 22);
  for (int taken = 0; taken < 40; ++taken) {
    Loader loader(dataset, 1, 0, 8, 2);
    for (int i = 0; i < taken % 7; ++i) loader.next();
  }
  EXPECT_EQ(Loader(dataset, 1, 0, 8, 2).next().sequences, 2);
}

TEST(SequentialWindows, MakeEachTokenButTheFirstOfAFileATargetOnce) {
  const TemporaryFolder folder;
  const std::vector<std::int64_t> sizes = {1, 2, 9, 10, 3, 40};
  std::vector<std::string> paths;
  for (std::size_t f = 0; f < sizes.size(); ++f) {
    paths.push_back(write_shard(folder / (std::to_string(f) + ".bin"),
                                counting(sizes[f], static_cast<std::int32_t>(100 * f)), 1000));
  }
  const TokenDataset dataset(paths, 8, 1000);
  for (const std::int64_t limit : {0, 1, 8, 9, 20, 1000}) {
    SequentialWindows windows(dataset, 8, 3, limit, 1000);
    const std::int64_t all = 1 + 8 + 9 + 2 + 39;
    EXPECT_EQ(windows.targets(), limit == 0 ? all : std::min(all, limit));
    std::vector<std::int32_t> targets;
    Batch batch;
    while (windows.next(batch)) {
      ASSERT_GE(batch.sequences, 1);
      ASSERT_LE(batch.sequences, 3);
      ASSERT_EQ(batch.tokens.size(), static_cast<std::size_t>(batch.sequences * 8));
      for (std::size_t t = 0; t < batch.tokens.size(); ++t) {
        if (batch.targets[t] == ignore_index) continue;
        EXPECT_EQ(batch.targets[t], batch.tokens[t] + 1);
        targets.push_back(batch.targets[t]);
      }
    }
    EXPECT_FALSE(windows.next(batch));
    std::vector<std::int32_t> expected;
    for (std::size_t f = 0; f < sizes.size(); ++f) {
      for (std::int32_t t = 1; t < sizes[f]; ++t) expected.push_back(static_cast<std::int32_t>(100 * f) + t);
    }
    expected.resize(static_cast<std::size_t>(windows.targets()));
    EXPECT_EQ(targets, expected);
  }
}

TEST(SequentialWindows, OfAllRanksServeEachTargetOnceInTheOrderOfRanks) {
  const TemporaryFolder folder;
  const std::vector<std::int64_t> sizes = {1, 2, 9, 10, 3, 40};
  std::vector<std::string> paths;
  for (std::size_t f = 0; f < sizes.size(); ++f) {
    paths.push_back(write_shard(folder / (std::to_string(f) + ".bin"),
                                counting(sizes[f], static_cast<std::int32_t>(100 * f)), 1000));
  }
  const TokenDataset dataset(paths, 8, 1000);
  for (const std::int64_t stride : {0, 1, 3, 7, 8}) {
    for (const std::int64_t limit : {0, 1, 8, 9, 20, 1000}) {
      // The rows of one rank, and how many targets each has.
      const auto rows = [&](std::int64_t rank, std::int64_t ranks, std::int64_t sequences) {
        std::vector<std::vector<std::int32_t>> found;
        SequentialWindows windows(dataset, 8, sequences, limit, 1000, stride, rank, ranks);
        std::int64_t targets = 0;
        Batch batch;
        while (windows.next(batch)) {
          targets += batch.valid_tokens();
          for (std::int64_t row = 0; row < batch.sequences; ++row) {
            const auto begin = static_cast<std::ptrdiff_t>(8 * row);
            found.emplace_back(batch.tokens.begin() + begin, batch.tokens.begin() + begin + 8);
            found.back().insert(found.back().end(), batch.targets.begin() + begin, batch.targets.begin() + begin + 8);
          }
        }
        EXPECT_EQ(windows.targets(), targets);
        return found;
      };
      const auto whole = rows(0, 1, 3);
      for (const std::int64_t ranks : {2, 3, 5, 8, 70}) {
        std::vector<std::vector<std::int32_t>> all;
        std::size_t least = whole.size(), most = 0;
        for (std::int64_t rank = 0; rank < ranks; ++rank) {
          const auto part = rows(rank, ranks, 2);
          least = std::min(least, part.size());
          most = std::max(most, part.size());
          all.insert(all.end(), part.begin(), part.end());
        }
        EXPECT_EQ(all, whole) << stride << " " << limit << " " << ranks;
        EXPECT_LE(most, least + 1);
      }
    }
  }
}

}  // namespace
}  // namespace nll
