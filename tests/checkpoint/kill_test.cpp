// Saves on the real disk in a child process that is killed, or that meets a limit on the size of its files.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <thread>

#include "src/checkpoint/checkpoint.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/checkpoint/temporary_folder.h"

namespace nll::testing {
namespace {

constexpr std::int64_t elements = 1 << 17;  // three tensors, 2 MiB a checkpoint

// Saves step after step and reports each through the pipe once save() has returned. Ends by being killed.
[[noreturn]] void save_forever(const std::string& run, std::int64_t first, int report) {
  try {
    CheckpointStore store(posix_file_ops(), run);
    for (std::int64_t step = first;; ++step) {
      store.save(SampleCheckpoint(step, 0, elements).content());
      if (::write(report, &step, sizeof step) != sizeof step) ::_exit(2);
      store.prune({2, 0, {}});
    }
  } catch (...) {
    ::_exit(1);
  }
}

class Kill : public ::testing::TestWithParam<int> {};
// The number of kills; the long form goes over the whole program and is driven by a script.
INSTANTIATE_TEST_SUITE_P(Short, Kill, ::testing::Values(20));

TEST_P(Kill, ASaveKilledAtARandomMomentLosesNoReportedCheckpoint) {
  const TemporaryFolder run;
  std::mt19937 random(20);
  std::int64_t reported = 0;
  int kills = 0;
  while (kills < GetParam()) {
    int report[2];
    ASSERT_EQ(::pipe(report), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) save_forever(run.path(), reported + 1, report[1]);
    ::close(report[1]);
    // Wait for one report, so that the child is known to save, then strike at a random moment of the saves after it.
    std::int64_t step = 0;
    if (::read(report[0], &step, sizeof step) == sizeof step) reported = step;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself: " << status;
    while (::read(report[0], &step, sizeof step) == sizeof step) reported = step;
    ::close(report[0]);
    ++kills;

    const CheckpointStore store(posix_file_ops(), run.path());
    const auto newest = store.newest_intact(
        [](const std::string& folder, const std::string& why) { ADD_FAILURE() << folder << ": " << why; });
    ASSERT_TRUE(newest.has_value());
    // One more than reported when the kill came between the rename and the report.
    EXPECT_TRUE(*newest == reported || *newest == reported + 1) << *newest << " after " << reported;
    EXPECT_EQ(SampleCheckpoint(*newest, 0, elements).difference(posix_file_ops(), store.folder(*newest)), "");
    std::vector<std::string> names;
    posix_file_ops().list(run / "checkpoints", names);
    EXPECT_EQ(names.size(), store.steps().size());
    reported = *newest;
  }
}

TEST(FileSizeLimit, ASaveThatMeetsItKeepsTheOldCheckpointAndLeavesNothing) {
  const TemporaryFolder run;
  const SampleCheckpoint small(1, 0, 96), large(2, 0, elements);
  CheckpointStore(posix_file_ops(), run.path()).save(small.content());
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{64 << 10, 64 << 10};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(9);
    try {
      CheckpointStore(posix_file_ops(), run.path()).save(large.content());
    } catch (const Error& error) {
      const std::string message = error.what();
      const bool told =
          message.find("bytes needed") != std::string::npos && message.find("File too large") != std::string::npos;
      ::_exit(error.exit() == Exit::resources && told ? 0 : 1);
    }
    ::_exit(2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  std::vector<std::string> names;
  posix_file_ops().list(run / "checkpoints", names);
  EXPECT_EQ(names, std::vector<std::string>{"step_00000001"});
  EXPECT_EQ(small.difference(posix_file_ops(), run / "checkpoints/step_00000001"), "");
}

}  // namespace
}  // namespace nll::testing
