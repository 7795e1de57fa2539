#include "src/rewards/reward_command.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "kernels/check.h"
#include "tests/rewards/requests.h"

namespace nll::test {
namespace {

std::vector<RewardRequest> requests(std::size_t count) {
  std::vector<RewardRequest> made;
  for (std::size_t i = 0; i < count; ++i) made.push_back(request(std::to_string(i), R"({"answer": "4"})"));
  return made;
}

RewardCommand shell(const std::string& script, int seconds = 20) {
  return RewardCommand({"/bin/sh", "-c", script}, std::chrono::seconds(seconds));
}

// Answers each line with how many it has answered.
constexpr const char* counting = "n=0; while read -r line; do n=$((n+1)); echo \"{\\\"reward\\\": $n}\"; done";

std::string failure(const std::string& script, std::size_t count, int seconds = 20) {
  RewardCommand command = shell(script, seconds);
  try {
    command(requests(count));
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::io);
    return error.what();
  }
  return "none";
}

TEST(RewardCommand, OneProgramAnswersAllBatchesInTheirOrder) {
  RewardCommand command = shell(counting);
  EXPECT_EQ(command(requests(3)), (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(command({}), std::vector<double>{});
  EXPECT_EQ(command(requests(2)), (std::vector<double>{4, 5}));
}

TEST(RewardCommand, IsSentPromptCompletionAndRecord) {
  EXPECT_EQ(reward_command_line(request("four\n", R"({"prompt": "2 + 2 = ", "answer": 4})")),
            "{\"prompt\":\"2 + 2 = \",\"completion\":\"four\\n\",\"record\":{\"prompt\":\"2 + 2 = \",\"answer\":4}}\n");
  RewardRequest gold = request("\xff");
  gold.gold = "four";
  EXPECT_EQ(reward_command_line(gold),
            "{\"prompt\":\"2 + 2 = \",\"completion\":\"\xEF\xBF\xBD\",\"record\":{\"prompt\":\"2 + 2 = \","
            "\"completion\":\"four\"}}\n");
}

TEST(RewardCommand, MoreThanAPipeHoldsGoesBothWays) {
  RewardCommand command({"/bin/sed", "-u", "s/.*/{\"reward\": 0.5, \"note\": \"&\"}/;s/\"note.*//;s/, $/}/"},
                        std::chrono::seconds(30));
  std::vector<RewardRequest> long_ones = requests(300);
  for (RewardRequest& r : long_ones) r.completion.assign(2000, 'x');
  EXPECT_EQ(command(long_ones), std::vector<double>(300, 0.5));
}

TEST(RewardCommand, NullIsACompletionThatCannotBeScored) {
  RewardCommand command = shell("while read -r line; do echo '{\"reward\": null}'; done");
  EXPECT_TRUE(std::isnan(command(requests(1))[0]));
}

TEST(RewardCommand, ASilentOrSlowProgramMeetsTheDeadline) {
  EXPECT_EQ(failure("read -r line; echo '{\"reward\": 1}'; exec sleep 60", 2, 1),
            "reward.command /bin/sh: 1 of 2 answers after 1 seconds");
}

TEST(RewardCommand, AProgramThatEndsIsNamedWithItsCodeAndItsLastWords) {
  EXPECT_EQ(failure("read -r line; echo '{\"reward\": 1}'; echo no such table >&2; exit 3", 2),
            "reward.command /bin/sh: it ended with exit code 3 after 1 of 2 answers; it wrote: no such table");
  EXPECT_EQ(failure("read -r line; kill -9 $$", 2),
            "reward.command /bin/sh: it was ended by signal 9 (Killed) after 0 of 2 answers");
  const std::string closed = failure("exit 0", 20000);
  EXPECT_NE(closed.find("it ended with exit code 0"), std::string::npos) << closed;
}

TEST(RewardCommand, AnswersThatAreNoRewardsAreNamedByTheirPlace) {
  const auto answer = [](const std::string& line) {
    return failure("read -r line; echo '{\"reward\": 1}'; read -r line; echo '" + line + "'; cat > /dev/null", 2);
  };
  const std::string expected = " (expected {\"reward\": NUMBER} or {\"reward\": null})";
  const std::string place = "reward.command /bin/sh: completion 2 of 2: it answered ";
  EXPECT_EQ(answer("good"), place + "good" + expected);
  EXPECT_EQ(answer(""), place + "an empty line" + expected);
  EXPECT_EQ(answer("{\"reward\": \"1\"}"), place + "{\"reward\": \"1\"}" + expected);
  EXPECT_EQ(answer("{\"reward\": NaN}"), place + "{\"reward\": NaN}" + expected);
  EXPECT_EQ(answer("{\"reward\": 1e999}"), place + "{\"reward\": 1e999}" + expected);
  EXPECT_EQ(answer("{\"score\": 1}"), place + "{\"score\": 1}" + expected);
}

TEST(RewardCommand, MoreLinesThanWereAskedForAreAnError) {
  EXPECT_EQ(failure("read -r line; printf '{\"reward\": 1}\\n{\"reward\": 2}\\n'; cat > /dev/null", 1),
            "reward.command /bin/sh: it wrote more lines than it was asked for");
}

TEST(RewardCommand, AProgramThatIsNotThereIsAnError) {
  RewardCommand command({"/no/such/program"}, std::chrono::seconds(1));
  EXPECT_THROW(
      {
        try {
          command(requests(1));
        } catch (const Error& error) {
          EXPECT_EQ(std::string(error.what()),
                    "reward.command /no/such/program: it cannot be started: No such file or directory");
          throw;
        }
      },
      Error);
}

TEST(RewardCommand, AfterAFailureTheNextCallStartsItAgain) {
  RewardCommand command = shell("read -r line; echo '{\"reward\": 7}'; read -r line; exit 1");
  EXPECT_THROW(command(requests(2)), Error);
  EXPECT_EQ(command(requests(1)), std::vector<double>{7});
}

// Whether a process is still there and no zombie.
bool runs(int pid) {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string number, name, state;
  return static_cast<bool>(stat >> number >> name >> state) && state != "Z";
}

TEST(RewardCommand, ItsWholeProcessGroupEndsWithIt) {
  std::string folder = (std::filesystem::temp_directory_path() / "nll_group_XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  {
    RewardCommand command =
        shell("sleep 60 & echo $! > " + folder + "/pid; read -r line; echo '{\"reward\": 1}'; wait");
    EXPECT_EQ(command(requests(1)).size(), 1u);
  }
  int pid = 0;
  ASSERT_TRUE(static_cast<bool>(std::ifstream(folder + "/pid") >> pid));
  for (int i = 0; i < 400 && runs(pid); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_FALSE(runs(pid));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace nll::test
