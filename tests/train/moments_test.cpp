// The moments of a model's arenas, saved by the ranks that own them and read by others.
#include "src/train/moments.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <thread>

#include "src/dist/threads.h"
#include "src/train/model_folder.h"
#include "tests/train/rig.h"

namespace nll::test {

namespace {

ModelConfig model_of_blocks() {
  return {.layers = 2, .heads = 2, .width = 32, .context = 16, .vocabulary = 1000, .dropout = 0};
}

// What one rank has: the spans that it owns and two arenas of just those.
struct RankMoments {
  std::vector<OwnedSpan> spans;
  std::vector<float> first, second;
  Tensor m() { return {first.data(), DType::f32, {static_cast<std::int64_t>(first.size())}}; }
  Tensor v() { return {second.data(), DType::f32, {static_cast<std::int64_t>(second.size())}}; }
};

class Moments : public ::testing::Test {
 protected:
  Moments() : table_(ParameterTable::gpt2(model_of_blocks())), backend_(make_backend("cpu", cpu_options(1))) { fill(); }
  // Every number of `table_` has a value of its own.
  void fill() {
    whole_ = owned_by(0, 1);
    for (const ParameterSpec& spec : table_.specs()) {
      for (std::int64_t i = spec.offset; i < spec.offset + spec.size(); ++i) {
        whole_.first[static_cast<std::size_t>(i)] = static_cast<float>(i) + 0.25F;
        whole_.second[static_cast<std::size_t>(i)] = static_cast<float>(i) * 2 + 0.5F;
      }
    }
  }

  RankMoments owned_by(int rank, int ranks) const {
    RankMoments mine;
    mine.spans = owned_spans(gradient_buckets(table_, model_of_blocks().layers, ranks, 4 * Ops::norm_block), rank);
    const auto elements = static_cast<std::size_t>(elements_of(mine.spans));
    mine.first.assign(elements, 0);
    mine.second.assign(elements, 0);
    return mine;
  }
  // The rank's part of what all hold.
  RankMoments part(int rank, int ranks) const {
    RankMoments mine = owned_by(rank, ranks);
    for (const OwnedSpan& span : mine.spans) {
      std::copy(whole_.first.begin() + span.begin, whole_.first.begin() + span.end, mine.first.begin() + span.offset);
      std::copy(whole_.second.begin() + span.begin, whole_.second.begin() + span.end,
                mine.second.begin() + span.offset);
    }
    return mine;
  }

  std::string save(const std::string& run, std::vector<RankMoments> ranks) {
    std::filesystem::create_directories(run);
    const auto transports = threads_transports(static_cast<int>(ranks.size()));
    std::vector<std::string> folders(ranks.size());
    std::vector<std::thread> threads;
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      threads.emplace_back([&, r] {
        std::vector<Buffer> staging;
        CheckpointContent content;
        content.step = 3;
        if (r == 0) content.weights = {{"weight", {whole_.first.data(), DType::f32, {4}}}};
        content.optimizer =
            moment_slices(table_, *backend_.device, ranks[r].m(), ranks[r].v(), ranks[r].spans, staging);
        CheckpointStore store =
            r == 0 ? CheckpointStore(posix_file_ops(), run) : CheckpointStore::of_other_rank(posix_file_ops(), run);
        TransportRanks job(*transports[r]);
        try {
          folders[r] = store.save(content, job);
        } catch (const Error& error) {
          ADD_FAILURE() << error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& folder : folders) EXPECT_EQ(folder, folders[0]);
    return folders[0];
  }

  RankMoments load(const std::string& folder, const ParameterTable& table, int rank, int ranks) {
    RankMoments mine = owned_by(rank, ranks);
    load_moments(CheckpointFolder(posix_file_ops(), folder), folder, table, *backend_.device, mine.m(), mine.v(),
                 mine.spans);
    return mine;
  }

  std::vector<RankMoments> parts(int ranks) const {
    std::vector<RankMoments> all;
    for (int rank = 0; rank < ranks; ++rank) all.push_back(part(rank, ranks));
    return all;
  }

  ParameterTable table_;
  Backend backend_;
  RankMoments whole_;
};

std::map<std::string, std::string> bytes_of_files(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream in(entry.path(), std::ios::binary);
    files[entry.path().filename()].assign(std::istreambuf_iterator<char>(in), {});
  }
  return files;
}

TEST_F(Moments, SavedAtNLoadAtMBitForBitAndSavedAtNAgainGiveTheSameBytes) {
  ASSERT_GT(table_.specs()[0].stored_rows, table_.specs()[0].rows);  // rows that no file has
  for (const int n : {1, 2, 3, 4, 8}) {
    const Folder run;
    const std::string saved = save(run / "saved", parts(n));
    EXPECT_EQ(verify_checkpoint(posix_file_ops(), saved), std::vector<std::string>{});
    for (const int m : {1, 2, 3, 4, 8}) {
      SCOPED_TRACE(std::to_string(n) + " to " + std::to_string(m));
      std::vector<RankMoments> loaded;
      for (int rank = 0; rank < m; ++rank) {
        loaded.push_back(load(saved, table_, rank, m));
        const RankMoments expected = part(rank, m);
        EXPECT_EQ(loaded.back().first, expected.first);
        EXPECT_EQ(loaded.back().second, expected.second);
      }
      const std::string moved = save(run / ("at" + std::to_string(m)), loaded);
      std::vector<RankMoments> back;
      for (int rank = 0; rank < n; ++rank) back.push_back(load(moved, table_, rank, n));
      EXPECT_EQ(bytes_of_files(save(run / ("back" + std::to_string(m)), back)), bytes_of_files(saved));
    }
  }
}

TEST_F(Moments, OfAScalarHeadMoveBetweenRanksToo) {
  table_ = ParameterTable::gpt2(model_of_blocks(), true);
  fill();
  const Folder run;
  const std::string saved = save(run / "run", parts(3));
  EXPECT_EQ(CheckpointFolder(posix_file_ops(), saved).optimizer().shapes().at("m/score.weight"),
            (std::vector<std::int64_t>{1, 32}));
  for (const int ranks : {1, 2, 4}) {
    for (int rank = 0; rank < ranks; ++rank) {
      EXPECT_EQ(load(saved, table_, rank, ranks).first, part(rank, ranks).first);
      EXPECT_EQ(load(saved, table_, rank, ranks).second, part(rank, ranks).second);
    }
  }
}

TEST_F(Moments, OneRankSavesWholeTensorsUnderTheirShapes) {
  const Folder run;
  const std::string saved = save(run / "run", parts(1));
  OptimizerMoments moments = CheckpointFolder(posix_file_ops(), saved).optimizer();
  const SafetensorsFile file(posix_file_ops(), saved + "/optimizer.safetensors");
  EXPECT_EQ(file.names().size(), 2 * table_.specs().size());
  for (const ParameterSpec& spec : table_.specs()) {
    const std::vector<std::int64_t> shape =
        spec.vector ? std::vector<std::int64_t>{spec.columns} : std::vector<std::int64_t>{spec.rows, spec.columns};
    EXPECT_EQ(file.header().tensors.at("m/" + spec.name).shape, shape);
  }
}

TEST_F(Moments, OfAnotherModelAreRefusedWithAtMostTenNames) {
  const Folder run;
  const std::string saved = save(run / "run", parts(3));
  ModelConfig narrow = model_of_blocks();
  narrow.layers = 1;
  try {
    load(saved, ParameterTable::gpt2(narrow), 0, 2);
    FAIL() << "a layer too many";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::bad_data);
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with(saved + ": optimizer: m/transformer.h.1.")) << message;
    EXPECT_TRUE(message.ends_with(" is not part of this model and 14 more")) << message;
  }
}

}  // namespace

}  // namespace nll::test
