#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "src/checkpoint/checkpoint.h"
#include "tests/checkpoint/temporary_folder.h"

namespace nll::testing {
namespace {

TEST(RunLock, ASecondProcessIsRefusedWithTheHoldersHostPidAndStartAndADeadOneHoldsNothing) {
  const TemporaryFolder run;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    try {
      const RunLock lock(run.path());
      if (::write(ready[1], "x", 1) != 1) ::_exit(2);
      for (;;) ::pause();
    } catch (...) {
      ::_exit(1);
    }
  }
  ::close(ready[1]);
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::close(ready[0]);
  try {
    const RunLock second(run.path());
    ADD_FAILURE() << "two holders";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
    std::array<char, 256> host{};
    ASSERT_EQ(::gethostname(host.data(), host.size() - 1), 0);
    const std::string expected = run.path() + ": the run is in use by another process (host " + host.data() + ", pid " +
                                 std::to_string(child) + ", started ";
    const std::string message = error.what();
    EXPECT_EQ(message.substr(0, expected.size()), expected);
    std::string time = message.substr(std::min(expected.size(), message.size()));
    for (char& c : time) c = c >= '0' && c <= '9' ? '0' : c;
    EXPECT_EQ(time, "0000-00-00T00:00:00Z)") << message;
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(std::filesystem::exists(run / "run.lock"));  // the dead process's file
  EXPECT_NO_THROW(RunLock(run.path()));
}

TEST(RunLock, IsExclusiveInOneProcessTooAndReleasedWhenDestroyed) {
  const TemporaryFolder run;
  std::optional<RunLock> first(std::in_place, run.path());
  EXPECT_THROW(RunLock(run.path()), Error);
  first.reset();
  EXPECT_NO_THROW(RunLock(run.path()));
}

TEST(RunLock, AFolderThatIsMissingOrALinkInPlaceOfTheFileIsAnError) {
  const TemporaryFolder run;
  EXPECT_THROW(RunLock(run / "missing"), Error);
  write_bytes(run / "victim", "stays");
  std::filesystem::create_symlink(run / "victim", run / "run.lock");
  EXPECT_THROW(RunLock(run.path()), Error);
  EXPECT_EQ(read_bytes(run / "victim"), "stays");
}

}  // namespace
}  // namespace nll::testing
