#include "src/checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <limits>

#include "tests/checkpoint/memory_file_ops.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/checkpoint/temporary_folder.h"

namespace nll::testing {
namespace {

namespace fs = std::filesystem;
using Steps = std::vector<std::int64_t>;

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  posix_file_ops().list(folder, names);
  return names;
}

TEST(CheckpointStore, WhatIsSavedLoadsByteForByte) {
  const TemporaryFolder run;
  CheckpointStore store(posix_file_ops(), run.path());
  EXPECT_EQ(store.newest_intact({}), std::nullopt);
  EXPECT_EQ(store.steps(), Steps{});
  // The largest tensor crosses the boundary of a written piece.
  const SampleCheckpoint sample(1000, 0, (3 << 20) + 8);
  const std::string folder = store.save(sample.content());
  EXPECT_EQ(folder, run / "checkpoints/step_00001000");
  EXPECT_EQ(store.folder(1000), folder);
  EXPECT_EQ(sample.difference(posix_file_ops(), folder), "");
  EXPECT_EQ(verify_checkpoint(posix_file_ops(), folder), std::vector<std::string>{});
  EXPECT_EQ(names_in(folder), (std::vector<std::string>{"config.json", "empty.txt", "manifest.json",
                                                        "model.safetensors", "optimizer.safetensors", "state.json"}));
}

TEST(CheckpointStore, TheSameContentGivesTheSameBytes) {
  const TemporaryFolder a, b;
  const SampleCheckpoint first(7), second(7);
  const std::string in_a = CheckpointStore(posix_file_ops(), a.path()).save(first.content());
  const std::string in_b = CheckpointStore(posix_file_ops(), b.path() + "/").save(second.content());
  for (const std::string& name : names_in(in_a))
    EXPECT_EQ(read_bytes(in_a + "/" + name), read_bytes(in_b + "/" + name));
}

TEST(CheckpointStore, VerifyTellsItsProgressUpToAllBytes) {
  const TemporaryFolder run;
  const SampleCheckpoint sample(1, 0, 3 << 20);
  const std::string folder = CheckpointStore(posix_file_ops(), run.path()).save(sample.content());
  std::int64_t last = 0, all = 0;
  verify_checkpoint(posix_file_ops(), folder, [&](std::int64_t done, std::int64_t total) {
    EXPECT_GT(done, last);
    last = done;
    all = total;
  });
  std::int64_t expected = 0;
  for (const auto& entry : fs::directory_iterator(folder)) expected += static_cast<std::int64_t>(entry.file_size());
  EXPECT_EQ(last, all);
  EXPECT_EQ(all, expected - static_cast<std::int64_t>(fs::file_size(folder + "/manifest.json")));
}

TEST(CheckpointStore, SavingAStepAgainReplacesIt) {
  const TemporaryFolder run;
  CheckpointStore store(posix_file_ops(), run.path());
  const SampleCheckpoint first(5, 0), second(5, 1);
  store.save(first.content());
  store.save(second.content());
  EXPECT_EQ(second.difference(posix_file_ops(), store.folder(5)), "");
  EXPECT_EQ(names_in(run / "checkpoints"), std::vector<std::string>{"step_00000005"});
}

TEST(CheckpointStore, LeftoversOfAStoppedRunAreRemovedAndNothingElse) {
  const TemporaryFolder run;
  const SampleCheckpoint sample(5);
  CheckpointStore(posix_file_ops(), run.path()).save(sample.content());
  const std::string folder = run / "checkpoints/";
  fs::create_directories(folder + "tmp.step_00000006/deep/er");
  fs::create_directories(folder + "trash.step_00000001");
  fs::create_directories(folder + "trash.replaced.step_00000005");
  fs::create_directories(folder + "my notes");
  write_bytes(folder + "tmp.step_00000006/deep/er/file", "x");
  write_bytes(folder + "trash.step_00000001/model.safetensors", "x");
  write_bytes(folder + "trash.replaced.step_00000005/model.safetensors", "x");
  write_bytes(run / "outside", "stays");
  fs::create_symlink(run.path(), folder + "tmp.link");
  fs::create_symlink(run.path(), folder + "trash.step_00000001/link");
  const CheckpointStore store(posix_file_ops(), run.path());
  EXPECT_EQ(names_in(run / "checkpoints"), (std::vector<std::string>{"my notes", "step_00000005"}));
  EXPECT_EQ(read_bytes(run / "outside"), "stays");
  EXPECT_EQ(sample.difference(posix_file_ops(), store.folder(5)), "");
}

TEST(CheckpointStore, AReplacementThatWasCutShortIsUndone) {
  const TemporaryFolder run;
  const SampleCheckpoint sample(5);
  CheckpointStore(posix_file_ops(), run.path()).save(sample.content());
  const std::string folder = run / "checkpoints/";
  fs::rename(folder + "step_00000005", folder + "trash.replaced.step_00000005");
  fs::create_directories(folder + "tmp.step_00000005");
  const CheckpointStore store(posix_file_ops(), run.path());
  EXPECT_EQ(store.newest_intact({}), 5);
  EXPECT_EQ(sample.difference(posix_file_ops(), store.folder(5)), "");
  EXPECT_EQ(names_in(run / "checkpoints"), std::vector<std::string>{"step_00000005"});
}

TEST(CheckpointStore, OnlyFoldersNamedAsWeNameThemAreCheckpoints) {
  const TemporaryFolder run;
  for (const char* name : {"step_00000010", "step_123456789", "step_1", "step_000000010", "step_-0000001",
                           "step_0000001x", "step_99999999999999999999", "Step_00000010", "step_", "other"}) {
    fs::create_directories(run / "checkpoints/" + name);
  }
  const CheckpointStore store(posix_file_ops(), run.path());
  EXPECT_EQ(store.steps(), (Steps{10, 123456789}));
}

TEST(CheckpointStore, TheNewestIntactIsFoundBehindDamagedOnesAndEachIsReported) {
  const TemporaryFolder run;
  CheckpointStore store(posix_file_ops(), run.path());
  for (const std::int64_t step : {10, 20, 30, 40}) store.save(SampleCheckpoint(step).content());
  fs::remove(store.folder(40) + "/manifest.json");
  fs::resize_file(store.folder(30) + "/model.safetensors", 100);
  std::vector<std::string> refused;
  const auto note = [&](const std::string& folder, const std::string& why) { refused.push_back(folder + ": " + why); };
  EXPECT_EQ(store.newest_intact(note), 20);
  ASSERT_EQ(refused.size(), 2U);
  EXPECT_EQ(refused[0], store.folder(40) + ": manifest.json: no such file");
  EXPECT_EQ(refused[1].substr(0, refused[1].find('(')), store.folder(30) + ": model.safetensors: 100 bytes ");
  EXPECT_EQ(resolve_checkpoint(posix_file_ops(), run.path(), note), store.folder(20));
  for (const std::int64_t step : {10, 20}) fs::remove(store.folder(step) + "/state.json");
  try {
    store.newest_intact({});
    FAIL() << "a run whose checkpoints are all damaged must not start anew";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::no_checkpoint);
    EXPECT_EQ(error.what(), run / "checkpoints: none of 4 checkpoints is intact");
  }
}

TEST(CheckpointStore, AManifestOfAnotherStepIsRefused) {
  const TemporaryFolder run;
  CheckpointStore store(posix_file_ops(), run.path());
  store.save(SampleCheckpoint(10).content());
  fs::rename(store.folder(10), store.folder(99));
  EXPECT_EQ(verify_checkpoint(posix_file_ops(), store.folder(99)),
            std::vector<std::string>{"manifest.json: step: 10 (the folder is step_00000099)"});
}

TEST(CheckpointStore, ReadingARunChangesNothingInIt) {
  const TemporaryFolder run;
  CheckpointStore(posix_file_ops(), run.path()).save(SampleCheckpoint(10).content());
  fs::create_directories(run / "checkpoints/tmp.step_00000011");  // a save in progress
  const std::string folder = resolve_checkpoint(posix_file_ops(), run.path() + "//", {});
  EXPECT_EQ(folder, run / "checkpoints/step_00000010");
  EXPECT_EQ(CheckpointFolder(posix_file_ops(), folder).step(), 10);
  EXPECT_TRUE(fs::exists(run / "checkpoints/tmp.step_00000011"));
}

// ---- pruning
// ---------------------------------------------------------------------------------------------------------

Steps left_after(const KeepRules& rules, const Steps& published) {
  MemoryFileOps files;
  files.make_folder("run");
  CheckpointStore store(files, "run");
  for (const std::int64_t step : published) store.save(SampleCheckpoint(step).content());
  EXPECT_EQ(store.prune(rules), std::vector<std::string>{});
  for (const std::int64_t step : store.steps())
    EXPECT_EQ(SampleCheckpoint(step).difference(files, store.folder(step)), "");
  std::vector<std::string> names;
  files.list("run/checkpoints", names);
  EXPECT_EQ(names.size(), store.steps().size());
  return store.steps();
}

TEST(Prune, KeepsTheLastNEveryMthAndTheBest) {
  const Steps published = {10, 20, 30, 40, 50, 60};
  EXPECT_EQ(left_after({2, 0, {}}, published), (Steps{50, 60}));
  EXPECT_EQ(left_after({2, 30, {}}, published), (Steps{30, 50, 60}));
  EXPECT_EQ(left_after({1, 0, 20}, published), (Steps{20, 60}));
  EXPECT_EQ(left_after({2, 40, 10}, published), (Steps{10, 40, 50, 60}));
  EXPECT_EQ(left_after({2, 0, 999}, published), (Steps{50, 60}));
}

TEST(Prune, NeverRemovesTheNewestAndNeverCountsBelowZero) {
  EXPECT_EQ(left_after({0, 0, {}}, {10, 20}), Steps{20});
  EXPECT_EQ(left_after({-5, 0, {}}, {10, 20}), Steps{20});
  EXPECT_EQ(left_after({5, 0, {}}, {10, 20}), (Steps{10, 20}));
  EXPECT_EQ(left_after({std::numeric_limits<std::int64_t>::max(), 0, {}}, {10, 20}), (Steps{10, 20}));
  EXPECT_EQ(left_after({std::numeric_limits<std::int64_t>::min(), -1, {}}, {10}), Steps{10});
  EXPECT_EQ(left_after({2, 0, {}}, {}), Steps{});
}

TEST(Prune, AFailureOrAPowerCutAtAnyCallNeverLeavesAHalfEmptyCheckpoint) {
  MemoryFileOps disk;
  disk.make_folder("run");
  {
    CheckpointStore store(disk, "run");
    for (const std::int64_t step : {10, 20, 30}) store.save(SampleCheckpoint(step).content());
  }
  MemoryFileOps counted(disk);
  counted.plan({});
  CheckpointStore(counted, "run").prune({1, 0, {}});
  const auto all_published_are_whole = [](MemoryFileOps& files) {
    const CheckpointStore store(files, "run");
    EXPECT_EQ(
        store.newest_intact([](const std::string& folder, const std::string& why) { ADD_FAILURE() << folder << why; }),
        30);
    for (const std::int64_t step : store.steps())
      EXPECT_EQ(SampleCheckpoint(step).difference(files, store.folder(step)), "");
  };
  for (int call = 1; call <= counted.calls(); ++call) {
    SCOPED_TRACE(counted.log()[static_cast<std::size_t>(call) - 1] + " " + std::to_string(call));
    MemoryFileOps failing(disk);
    failing.plan({Fault::fail, call, EIO});
    CheckpointStore(failing, "run").prune({1, 0, {}});
    failing.plan({});
    all_published_are_whole(failing);
    CheckpointStore again(failing, "run");
    EXPECT_EQ(again.prune({1, 0, {}}), std::vector<std::string>{});
    EXPECT_EQ(again.steps(), Steps{30});

    MemoryFileOps killed(disk);
    killed.plan({Fault::kill, call, 0});
    EXPECT_THROW(CheckpointStore(killed, "run").prune({1, 0, {}}), Killed);
    killed.for_each_power_cut(all_published_are_whole);
  }
}

TEST(Prune, WhatCannotBeRemovedIsReported) {
  MemoryFileOps files;
  files.make_folder("run");
  CheckpointStore store(files, "run");
  for (const std::int64_t step : {10, 20}) store.save(SampleCheckpoint(step).content());
  files.plan({Fault::fail, 1, EIO, true});
  EXPECT_EQ(store.prune({1, 0, {}}), std::vector<std::string>{"run/checkpoints: cannot list: Input/output error"});
  files.plan({Fault::fail, 2, EIO, true});
  EXPECT_EQ(store.prune({1, 0, {}}),
            std::vector<std::string>{"run/checkpoints/step_00000010: cannot move to the trash: Input/output error"});
}

}  // namespace
}  // namespace nll::testing
