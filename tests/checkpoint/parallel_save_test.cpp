// Saves by several ranks: every file call of every rank, failed and killed in turn.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "tests/checkpoint/rank_job.h"

namespace nll::testing {
namespace {

const std::string run = "runs/kjv";
using Names = std::vector<std::string>;

void make_run(MemoryFileOps& files) {
  files.make_folder("runs");
  files.make_folder(run);
}

void save_ok(MemoryFileOps& disk, const SlicedCheckpoint& sample) {
  for (const RankOutcome& outcome : save_by_ranks(disk, run, sample)) EXPECT_NE(outcome.folder, "") << outcome.message;
}

Names debris(MemoryFileOps& files) {
  Names names, left;
  files.list(run + "/checkpoints", names);
  std::copy_if(names.begin(), names.end(), std::back_inserter(left),
               [](const std::string& name) { return !name.starts_with("step_"); });
  return left;
}

// Which of the two the run would go on from, opened as a new job of any number of ranks would.
std::string found_after_restart(MemoryFileOps& files, const SlicedCheckpoint& before, const SlicedCheckpoint& after) {
  const CheckpointStore store(files, run);
  if (const Names left = debris(files); !left.empty()) return "left over: " + left.front();
  std::string refused;
  try {
    const auto step = store.newest_intact(
        [&](const std::string& folder, const std::string& why) { refused += folder + ": " + why + "; "; });
    if (!refused.empty()) return refused;
    if (!step) return "none";
    const std::string with_after = after.difference(files, store.folder(*step));
    if (with_after.empty()) return "after";
    const std::string with_before = before.difference(files, store.folder(*step));
    return with_before.empty() ? "before" : with_after + "; " + with_before;
  } catch (const Error& error) {
    return error.what();
  }
}

// Three ranks; the old checkpoint is of step 10, the new one of step 20 or of step 10 again.
class ParallelSave : public ::testing::TestWithParam<std::int64_t> {
 protected:
  ParallelSave() : before_(10, 3), after_(GetParam(), 3, 1) {
    make_run(disk_);
    save_ok(disk_, before_);
    MemoryFileOps files(disk_);
    for (const RankOutcome& outcome : save_by_ranks(files, run, after_)) logs_.push_back(outcome.log);
  }
  template <class Try>
  void for_each_call(const Try& attempt) {
    for (int rank = 0; rank < 3; ++rank) {
      const Names& log = logs_[static_cast<std::size_t>(rank)];
      for (int call = 1; call <= static_cast<int>(log.size()); ++call) {
        SCOPED_TRACE("rank " + std::to_string(rank) + " call " + std::to_string(call) + " " +
                     log[static_cast<std::size_t>(call) - 1]);
        attempt(rank, call);
      }
    }
  }

  SlicedCheckpoint before_, after_;
  MemoryFileOps disk_;
  std::vector<Names> logs_;
};
INSTANTIATE_TEST_SUITE_P(Steps, ParallelSave, ::testing::Values(20, 10),
                         [](const auto& chosen) { return chosen.param == 10 ? "Replacement" : "NewStep"; });

TEST_P(ParallelSave, AnyFailedCallOnAnyRankIsTheSameErrorOnAllAndLeavesTheOldCheckpointAndNoDebris) {
  ASSERT_GE(logs_[0].size(), 40U);
  ASSERT_GE(logs_[2].size(), 6U);
  int refused = 0, calls = 0;
  for (const int error : {EIO, ENOSPC}) {
    for_each_call([&](int rank, int call) {
      MemoryFileOps files(disk_);
      const auto outcomes = save_by_ranks(files, run, after_, rank, {Fault::fail, call, error});
      ++calls;
      for (const RankOutcome& outcome : outcomes) {
        EXPECT_EQ(outcome.message, outcomes[0].message);
        EXPECT_EQ(outcome.exit, outcomes[0].exit);
        EXPECT_EQ(outcome.folder, outcomes[0].folder);
      }
      EXPECT_EQ(files.open_files(), 0);
      const std::string found = found_after_restart(files, before_, after_);
      if (outcomes[0].exit) {
        ++refused;
        EXPECT_EQ(*outcomes[0].exit, error == EIO ? Exit::io : Exit::resources) << outcomes[0].message;
        const std::string name = "[rank " + std::to_string(rank) + " ";
        EXPECT_TRUE(outcomes[0].message.starts_with(name)) << outcomes[0].message;
        // The failed fsync after the renames: the new one is there, but a power cut might still take it.
        const bool unsettled = outcomes[0].message.find("after publishing") != std::string::npos;
        EXPECT_EQ(found, unsettled ? "after" : "before") << outcomes[0].message;
      } else {
        EXPECT_EQ(found, "after");
      }
      save_ok(files, after_);  // the fault is over
      EXPECT_EQ(found_after_restart(files, before_, after_), "after");
    });
  }
  EXPECT_GT(refused * 2, calls);
}

TEST_P(ParallelSave, AFailedCallLeavesNoDebrisEvenBeforeARestart) {
  for_each_call([&](int rank, int call) {
    MemoryFileOps files(disk_);
    const auto outcomes = save_by_ranks(files, run, after_, rank, {Fault::fail, call, EIO});
    const bool unsettled = outcomes[0].message.find("after publishing") != std::string::npos && GetParam() == 10;
    if (outcomes[0].exit && !unsettled) {
      EXPECT_EQ(debris(files), Names{}) << outcomes[0].message;
    }
  });
}

TEST_P(ParallelSave, ARankKilledAtAnyCallEndsTheOthersAndLeavesTheOldOrTheNewCheckpoint) {
  int old_ones = 0, new_ones = 0;
  for_each_call([&](int rank, int call) {
    MemoryFileOps files(disk_);
    const auto outcomes = save_by_ranks(files, run, after_, rank, {Fault::kill, call, 0});
    for (int r = 0; r < 3; ++r) {
      const RankOutcome& outcome = outcomes[static_cast<std::size_t>(r)];
      EXPECT_EQ(outcome.killed, r == rank);
      if (r != rank) {
        EXPECT_EQ(outcome.exit, Exit::peer_lost) << outcome.message;
      }
    }
    MemoryFileOps restarted(files);
    const std::string found = found_after_restart(restarted, before_, after_);
    EXPECT_TRUE(found == "before" || found == "after") << found;
    (found == "before" ? old_ones : new_ones) += 1;
    if (rank != 0) {
      EXPECT_EQ(found, "before");  // it did not hand over its file
    }
  });
  EXPECT_GT(old_ones, 0);
  EXPECT_GT(new_ones, 0);
}

TEST_P(ParallelSave, ARankKilledAndThenAPowerCutLeaveTheOldOrTheNewCheckpoint) {
  int outcomes = 0;
  for_each_call([&](int rank, int call) {
    // Around the renames each call is tried.
    const bool last = rank == 0 && call + 8 > static_cast<int>(logs_[0].size());
    if (!last && call % 5 != rank) return;
    MemoryFileOps files(disk_);
    save_by_ranks(files, run, after_, rank, {Fault::kill, call, 0});
    files.for_each_power_cut([&](MemoryFileOps& cut) {
      ++outcomes;
      const std::string found = found_after_restart(cut, before_, after_);
      EXPECT_TRUE(found == "before" || found == "after") << found;
    });
  });
  EXPECT_GT(outcomes, 300);
}

TEST_P(ParallelSave, WhatIsReportedAsSavedSurvivesEveryPowerCut) {
  save_ok(disk_, after_);
  int outcomes = 0;
  disk_.for_each_power_cut([&](MemoryFileOps& cut) {
    ++outcomes;
    EXPECT_EQ(found_after_restart(cut, before_, after_), "after");
  });
  EXPECT_GE(outcomes, 1);
}

TEST(ParallelSaveSpace, RoomForTheFilesOfAllRanksIsAskedForBeforeAByteIsWritten) {
  const SlicedCheckpoint sample(5, 4);
  MemoryFileOps empty;
  make_run(empty);
  MemoryFileOps roomy(empty);
  save_ok(roomy, sample);
  const std::int64_t needed = roomy.capacity - roomy.free_bytes("runs");
  MemoryFileOps full(empty);
  full.capacity = needed - 1;
  for (const RankOutcome& outcome : save_by_ranks(full, run, sample)) {
    EXPECT_EQ(outcome.exit, Exit::resources);
    EXPECT_EQ(outcome.message,
              "[rank 0 this process] " + run + "/checkpoints: no room for a checkpoint: " + std::to_string(needed) +
                  " bytes needed, " + std::to_string(needed - 1) + " bytes free (statvfs: No space left on device)");
    EXPECT_NE(outcome.hint.find("checkpoint.keep_last"), std::string::npos);
    EXPECT_EQ(std::count(outcome.log.begin(), outcome.log.end(), "create"), 0);
  }
  EXPECT_EQ(debris(full), Names{});
  full.capacity = needed;
  save_ok(full, sample);
}

TEST(ParallelSaveFolder, ARankThatSeesAnotherDiskIsNamedWithItsHostAndNothingIsLeftOnEither) {
  const SlicedCheckpoint sample(5, 2);
  MemoryFileOps shared, own;
  make_run(shared);
  make_run(own);
  // A folder that an earlier job left on the other disk is not taken for this one's.
  own.make_folder(run + "/checkpoints");
  own.make_folder(run + "/checkpoints/tmp.step_00000005");
  for (const RankOutcome& outcome : save_by_ranks(shared, run, sample, -1, {}, &own)) {
    EXPECT_EQ(outcome.exit, Exit::usage);
    EXPECT_NE(outcome.message.find("run.directory is not shared between node0 and node1: " + run +
                                   "/checkpoints/tmp.step_00000005."),
              std::string::npos)
        << outcome.message;
    EXPECT_NE(outcome.hint, "");
  }
  EXPECT_EQ(shared.tree(), (Names{"/runs", "/runs/kjv", "/runs/kjv/checkpoints"}));
  EXPECT_EQ(own.tree().size(), 4U);
}

TEST(ParallelSaveFolder, TheStoreOfAnotherRankTouchesNothing) {
  MemoryFileOps files;
  make_run(files);
  save_ok(files, SlicedCheckpoint(1, 1));
  save_ok(files, SlicedCheckpoint(2, 1));
  files.make_folder(run + "/checkpoints/tmp.step_00000003");
  const Names before = files.tree();
  files.plan({});
  CheckpointStore store = CheckpointStore::of_other_rank(files, run + "/");
  EXPECT_EQ(files.calls(), 0);
  EXPECT_EQ(store.prune({1, 0, {}}), Names{});
  EXPECT_EQ(store.newest_intact({}), 2);
  EXPECT_EQ(store.folder(2), run + "/checkpoints/step_00000002");
  EXPECT_EQ(files.tree(), before);
}

TEST(ParallelSaveFiles, EachRankThatHasMomentsWritesOneFileAndTheManifestRecordsTheRanks) {
  MemoryFileOps files;
  make_run(files);
  save_ok(files, SlicedCheckpoint(5, 3));
  const auto contents = files_of(files, run + "/checkpoints/step_00000005");
  Names names;
  for (const auto& [name, bytes] : contents) names.push_back(name);
  EXPECT_EQ(names,
            (Names{"config.json", "manifest.json", "model.safetensors", "optimizer-00000-of-00003.safetensors",
                   "optimizer-00001-of-00003.safetensors", "optimizer-00002-of-00003.safetensors", "state.json"}));
  EXPECT_NE(contents.at("manifest.json").find("\n \"ranks\": 3,\n"), std::string::npos);
  const SafetensorsFile slice(files, run + "/checkpoints/step_00000005/optimizer-00001-of-00003.safetensors");
  for (const auto& [name, entry] : slice.header().tensors) {
    EXPECT_NE(name.find('@'), std::string::npos);
    EXPECT_EQ(entry.shape.size(), 1U);
  }
  EXPECT_EQ(slice.header().metadata.at("m/wte.weight"), "13,8");
  EXPECT_EQ(slice.header().metadata.at("format"), "pt");
}

TEST(ParallelSaveFiles, RanksWithoutMomentsWriteNoFileAndASoleOwnerWritesTheOneOfASingleRank) {
  MemoryFileOps files;
  make_run(files);
  const SlicedCheckpoint whole(5, 1);
  std::mutex mutex;
  // Ranks 1 and 2 have nothing: moments that every rank has are saved by rank 0.
  CheckpointContent nothing;
  nothing.step = 5;
  class Three final : public Ranks {
   public:
    explicit Three(int rank) { world_.rank = rank, world_.size = 3; }
    const World& world() const override { return world_; }
    std::vector<std::string> exchange(const std::string& mine, const char* name) override {
      const bool sizes = std::string(name) == "sizes of a checkpoint";
      return {mine, sizes ? "0\n\nb" : "", sizes ? "0\n\nc" : ""};
    }
    void together(const char*, const std::function<void()>& work) override { work(); }

   private:
    World world_;
  };
  Three ranks(0);
  CheckpointStore store(files, run);
  const std::string folder = store.save(whole.content(0), ranks);
  EXPECT_EQ(whole.difference(files, folder), "");
  EXPECT_TRUE(files_of(files, folder).contains("optimizer.safetensors"));
  EXPECT_EQ(verify_checkpoint(files, folder), Names{});
}

}  // namespace
}  // namespace nll::testing
