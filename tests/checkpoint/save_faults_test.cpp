// Every file call of a save, failed in turn, killed in turn, and followed by every power cut the model of
// memory_file_ops.h knows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "src/checkpoint/checkpoint.h"
#include "tests/checkpoint/memory_file_ops.h"
#include "tests/checkpoint/sample_checkpoint.h"

namespace nll::testing {
namespace {

const std::string run = "runs/kjv";

// A disk with a run that holds the checkpoint of step 10, all of it durable.
MemoryFileOps disk_with_step_10(const SampleCheckpoint& old) {
  MemoryFileOps files;
  files.make_folder("runs");
  files.make_folder(run);
  CheckpointStore(files, run).save(old.content());
  return files;
}

// Names in checkpoints/ that are no published checkpoint.
std::vector<std::string> debris(MemoryFileOps& files) {
  std::vector<std::string> names, left;
  files.list(run + "/checkpoints", names);
  for (const std::string& name : names) {
    if (!name.starts_with("step_")) left.push_back(name);
  }
  return left;
}

enum class State { before, after, broken };

// Opens the run as a new process would and says which checkpoint it would go on from.
State state_after_restart(MemoryFileOps& files, const SampleCheckpoint& before, const SampleCheckpoint& after,
                          std::string& why) {
  const CheckpointStore store(files, run);
  if (const auto left = debris(files); !left.empty()) {
    why = "left over: " + left.front();
    return State::broken;
  }
  std::optional<std::int64_t> step;
  try {
    step = store.newest_intact(
        [&](const std::string& folder, const std::string& reason) { why += folder + ": " + reason + "; "; });
  } catch (const Error& error) {
    why += error.what();
  }
  if (!step) return State::broken;
  const std::string with_after = after.difference(files, store.folder(*step));
  if (with_after.empty()) return State::after;
  const std::string with_before = before.difference(files, store.folder(*step));
  if (with_before.empty()) return State::before;
  why += "not the new one: " + with_after + "; not the old one: " + with_before;
  return State::broken;
}

struct Outcome {
  bool saved = false, killed = false;
  std::optional<Exit> exit;
  std::string message;
};

Outcome save(MemoryFileOps& files, const SampleCheckpoint& sample) {
  Outcome outcome;
  try {
    CheckpointStore store(files, run);
    store.save(sample.content());
    outcome.saved = true;
  } catch (const Error& error) {
    outcome.exit = error.exit();
    outcome.message = error.what();
  } catch (const Killed&) {
    outcome.killed = true;
  }
  return outcome;
}

// Old checkpoint of step 10; the new one is of step 20 (a fresh folder) or of step 10 again (a replacement).
class SaveFaults : public ::testing::TestWithParam<std::int64_t> {
 protected:
  SaveFaults() : before_(10, 0), after_(GetParam(), 1), disk_(disk_with_step_10(before_)) {
    MemoryFileOps files(disk_);
    save(files, after_);
    calls_ = files.calls();
    log_ = files.log();
  }
  std::string call_name(int call) const {
    return log_[static_cast<std::size_t>(call) - 1] + " (call " + std::to_string(call) + ")";
  }

  SampleCheckpoint before_, after_;
  MemoryFileOps disk_;
  int calls_ = 0;
  std::vector<std::string> log_;
};
INSTANTIATE_TEST_SUITE_P(Steps, SaveFaults, ::testing::Values(20, 10),
                         [](const auto& chosen) { return chosen.param == 10 ? "Replacement" : "NewStep"; });

TEST_P(SaveFaults, AnyFailedCallLeavesTheOldOrTheNewCheckpointAndNoDebris) {
  ASSERT_GE(calls_, 40);
  int refused = 0;
  for (const int error : {EIO, ENOSPC}) {
    for (int call = 1; call <= calls_; ++call) {
      SCOPED_TRACE(call_name(call) + (error == EIO ? " EIO" : " ENOSPC"));
      MemoryFileOps files(disk_);
      files.plan({Fault::fail, call, error});
      const Outcome outcome = save(files, after_);
      ASSERT_TRUE(files.fired());
      EXPECT_EQ(files.open_files(), 0);
      files.plan({});
      std::string why;
      if (!outcome.saved) {
        ++refused;
        EXPECT_EQ(*outcome.exit, error == EIO ? Exit::io : Exit::resources) << outcome.message;
        // A failed fsync of the folder after a replacement keeps the replaced one until the next start (see publish).
        const bool unsettled = outcome.message.find("after publishing") != std::string::npos && GetParam() == 10;
        if (!unsettled) {
          EXPECT_EQ(debris(files), std::vector<std::string>{}) << outcome.message;
        }
      }
      const State state = state_after_restart(files, before_, after_, why);
      EXPECT_NE(state, State::broken) << why;
      if (outcome.saved) {
        EXPECT_EQ(state, State::after) << why;
      }
      // The fault is over: the next save succeeds, in the same folders.
      EXPECT_TRUE(save(files, after_).saved);
      EXPECT_EQ(state_after_restart(files, before_, after_, why), State::after) << why;
    }
  }
  EXPECT_GT(refused, calls_);  // more than half of the faults are of calls that a save needs
}

TEST_P(SaveFaults, ADiskThatStaysBrokenKeepsTheOldCheckpoint) {
  for (const int error : {EIO, ENOSPC}) {
    for (int call = 1; call <= calls_; ++call) {
      SCOPED_TRACE(call_name(call));
      MemoryFileOps files(disk_);
      files.plan({Fault::fail, call, error, true});
      const Outcome outcome = save(files, after_);
      files.plan({});
      std::string why;
      const State state = state_after_restart(files, before_, after_, why);
      EXPECT_NE(state, State::broken) << why;
      if (outcome.saved) {
        EXPECT_EQ(state, State::after) << why;
      }
    }
  }
}

TEST_P(SaveFaults, InterruptedAndShortCallsAreContinued) {
  int cut_short = 0;
  for (const Fault fault : {Fault::fail, Fault::short_transfer}) {
    for (int call = 1; call <= calls_; ++call) {
      SCOPED_TRACE(call_name(call));
      MemoryFileOps files(disk_);
      files.plan({fault, call, EINTR});
      const Outcome outcome = save(files, after_);
      if (fault == Fault::short_transfer && files.fired()) ++cut_short;
      EXPECT_TRUE(outcome.saved) << outcome.message;
      files.plan({});
      std::string why;
      EXPECT_EQ(state_after_restart(files, before_, after_, why), State::after) << why;
    }
  }
  EXPECT_GE(cut_short, 5);  // a write of each file that is not empty
}

TEST_P(SaveFaults, AProcessKilledAtAnyCallLeavesTheOldOrTheNewCheckpoint) {
  int old_ones = 0, new_ones = 0;
  for (int call = 1; call <= calls_; ++call) {
    SCOPED_TRACE(call_name(call));
    MemoryFileOps files(disk_);
    files.plan({Fault::kill, call, 0});
    EXPECT_TRUE(save(files, after_).killed);
    MemoryFileOps restarted(files);
    std::string why;
    const State state = state_after_restart(restarted, before_, after_, why);
    EXPECT_NE(state, State::broken) << why;
    (state == State::before ? old_ones : new_ones) += 1;
  }
  EXPECT_GT(old_ones, 0);
  EXPECT_GT(new_ones, 0);
}

TEST_P(SaveFaults, APowerCutAtAnyCallLeavesTheOldOrTheNewCheckpoint) {
  int outcomes = 0;
  for (int call = 1; call <= calls_; ++call) {
    SCOPED_TRACE(call_name(call));
    MemoryFileOps files(disk_);
    files.plan({Fault::kill, call, 0});
    EXPECT_TRUE(save(files, after_).killed);
    files.for_each_power_cut([&](MemoryFileOps& disk) {
      ++outcomes;
      std::string why;
      EXPECT_NE(state_after_restart(disk, before_, after_, why), State::broken) << why;
    });
  }
  EXPECT_GT(outcomes, 500);
}

TEST_P(SaveFaults, ACheckpointReportedAsSavedSurvivesEveryPowerCut) {
  // Any single error that the save got over, too: what it then reports must hold.
  for (const int error : {EIO, EINTR}) {
    for (int call = 0; call <= calls_; ++call) {  // 0: no fault
      MemoryFileOps files(disk_);
      files.plan({Fault::fail, call, error});
      const Outcome outcome = save(files, after_);
      files.plan({});
      if (!outcome.saved && call % 4 != 0) continue;  // a cut after a failed save and its cleaning up: some of them
      files.for_each_power_cut([&](MemoryFileOps& disk) {
        std::string why;
        const State state = state_after_restart(disk, before_, after_, why);
        EXPECT_NE(state, State::broken) << why << " call " << call;
        if (outcome.saved) {
          EXPECT_EQ(state, State::after) << why << " call " << call;
        }
      });
    }
  }
}

TEST_P(SaveFaults, ACrashDuringTheRecoveryFromACrashLosesNothing) {
  for (int call = 1; call <= calls_; ++call) {
    // While the files are written one moment is like the other; around the renames each is tried.
    if (call < calls_ - 8 && call % 5 != 0) continue;
    MemoryFileOps files(disk_);
    files.plan({Fault::kill, call, 0});
    save(files, after_);
    for (int second = 1; second <= 12; ++second) {
      MemoryFileOps restarted(files);
      restarted.plan({Fault::kill, second, 0});
      try {
        const CheckpointStore store(restarted, run);
        break;  // recovered in fewer calls
      } catch (const Killed&) {
      }
      restarted.for_each_power_cut([&](MemoryFileOps& disk) {
        std::string why;
        EXPECT_NE(state_after_restart(disk, before_, after_, why), State::broken)
            << why << " " << call_name(call) << ", then call " << second;
      });
    }
  }
}

TEST(SaveFaultsOfANewRun, TheFirstCheckpointReportedAsSavedSurvivesEveryPowerCut) {
  const SampleCheckpoint sample(5);
  MemoryFileOps files;
  files.make_folder("runs");
  files.make_folder(run);
  ASSERT_TRUE(save(files, sample).saved);
  int outcomes = 0;
  files.for_each_power_cut([&](MemoryFileOps& disk) {
    ++outcomes;
    std::string why;
    EXPECT_EQ(state_after_restart(disk, sample, sample, why), State::after) << why;
  });
  EXPECT_GE(outcomes, 1);
}

TEST(SaveFaultsOfANewRun, AFailedFsyncIsNeverRepeatedOnTheSameFile) {
  const SampleCheckpoint sample(5);
  MemoryFileOps files;
  files.make_folder("runs");
  files.make_folder(run);
  MemoryFileOps whole(files);
  ASSERT_TRUE(save(whole, sample).saved);
  int syncs = 0;
  for (int call = 1; call <= static_cast<int>(whole.log().size()); ++call) {
    if (whole.log()[static_cast<std::size_t>(call) - 1] != "sync") continue;
    MemoryFileOps failing(files);
    failing.plan({Fault::fail, call, EIO});
    EXPECT_FALSE(save(failing, sample).saved);
    const auto& log = failing.log();
    EXPECT_EQ(std::count(log.begin() + call, log.end(), "sync"), 0);
    ++syncs;
  }
  EXPECT_EQ(syncs, 6);  // weights, optimizer, three texts, manifest
}

TEST(SaveFaultsOfANewRun, AFileSystemThatCannotSyncFoldersIsTolerated) {
  const SampleCheckpoint sample(5);
  MemoryFileOps files;
  files.make_folder("runs");
  files.make_folder(run);
  files.folders_can_sync = false;
  EXPECT_TRUE(save(files, sample).saved);
  EXPECT_EQ(sample.difference(files, run + "/checkpoints/step_00000005"), "");
}

TEST(SaveFaultsOfANewRun, AFullDiskIsFoundBeforeAnyByteIsWrittenAndNamesNeededAndFreeBytes) {
  const SampleCheckpoint sample(5);
  MemoryFileOps files;
  files.make_folder("runs");
  files.make_folder(run);
  MemoryFileOps roomy(files);
  ASSERT_TRUE(save(roomy, sample).saved);
  const std::int64_t needed = roomy.capacity - roomy.free_bytes("runs");
  for (const std::int64_t capacity : {needed - 1, needed / 2, std::int64_t{0}}) {
    MemoryFileOps full(files);
    full.capacity = capacity;
    const Outcome outcome = save(full, sample);
    EXPECT_EQ(*outcome.exit, Exit::resources);
    EXPECT_EQ(outcome.message, run + "/checkpoints: no room for a checkpoint: " + std::to_string(needed) +
                                   " bytes needed, " + std::to_string(capacity) +
                                   " bytes free (statvfs: No space left on device)");
    EXPECT_EQ(debris(full), std::vector<std::string>{});
    EXPECT_EQ(std::count(full.log().begin(), full.log().end(), "write"), 0);
  }
  MemoryFileOps exact(files);
  exact.capacity = needed;
  EXPECT_TRUE(save(exact, sample).saved);
}

// ---- reading
// ---------------------------------------------------------------------------------------------------------

TEST(ReadFaults, InterruptedAndShortReadsLoadTheSameBytesAndErrorsAreReported) {
  const SampleCheckpoint sample(10);
  const MemoryFileOps disk = disk_with_step_10(sample);
  MemoryFileOps counted(disk);
  counted.plan({});
  const auto load = [&](MemoryFileOps& files) {
    const CheckpointStore store(files, run);
    const auto step = store.newest_intact({});
    return step ? sample.difference(files, store.folder(*step)) : "none";
  };
  ASSERT_EQ(load(counted), "");
  const int calls = counted.calls();
  for (int call = 1; call <= calls; ++call) {
    SCOPED_TRACE(counted.log()[static_cast<std::size_t>(call) - 1] + " " + std::to_string(call));
    for (const Fault fault : {Fault::fail, Fault::short_transfer}) {
      MemoryFileOps files(disk);
      files.plan({fault, call, EINTR});
      EXPECT_EQ(load(files), "");
      EXPECT_EQ(files.open_files(), 0);
    }
    MemoryFileOps files(disk);
    files.plan({Fault::fail, call, EIO});
    std::string result;
    try {
      result = load(files);
    } catch (const Error& error) {
      result = error.what();
    }
    const std::string& name = counted.log()[static_cast<std::size_t>(call) - 1];
    const bool harmless = name == "close" || (name == "list" && call == 1);  // the first: looking for leftovers
    EXPECT_EQ(result.empty(), harmless) << result;
    EXPECT_EQ(files.open_files(), 0);
  }
}

}  // namespace
}  // namespace nll::testing
