// The console on a pipe, on a pseudo terminal, and with a clock that the test turns.
#include "src/report/console.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <sstream>

#include "src/report/file.h"
#include "tests/report/temporary_folder.h"

namespace nll {
namespace {

using namespace std::chrono_literals;

// What a descriptor was given: a pipe whose other end never blocks.
class Pipe {
 public:
  Pipe() {
    if (pipe2(ends_.data(), O_NONBLOCK | O_CLOEXEC) != 0) ends_ = {-1, -1};
  }
  ~Pipe() {
    for (const int end : ends_) close(end);
  }
  int writer() const { return ends_[1]; }
  std::string text() const {
    std::string all;
    std::array<char, 4096> buffer;
    for (ssize_t got; (got = read(ends_[0], buffer.data(), buffer.size())) > 0;) {
      all.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return all;
  }

 private:
  std::array<int, 2> ends_;
};

struct HandClock {
  Console::Time time = Console::Time{} + 1h;
  Console::Clock clock() {
    return [this] { return time; };
  }
};

// Whether `text` starts as "2026-11-22 16:40:00  " does.
bool starts_with_time(const std::string& text) {
  const std::string shape = "0000-00-00 00:00:00  ";
  if (text.size() < shape.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i]) return false;
  }
  return true;
}

// The lines of a log without their time; a line that has none stays and fails the comparison by its mark.
std::string without_times(const std::string& log) {
  std::istringstream lines(log);
  std::string bare;
  for (std::string line; std::getline(lines, line);) {
    bare += (starts_with_time(line) ? line.substr(21) : "no time: " + line) + "\n";
  }
  return bare;
}

TEST(Console, LogLinesCarryDateAndTime) {
  const Pipe pipe;
  Console console(false, pipe.writer());
  console.info("reading data/kjv");
  console.warning("slow disk");
  EXPECT_EQ(without_times(pipe.text()), "reading data/kjv\nwarning: slow disk\n");
}

TEST(Console, BracesInALineAreNoFormat) {
  const Pipe pipe;
  Console console(true, pipe.writer());
  console.info("{} {0} %v {");
  EXPECT_EQ(pipe.text(), "{} {0} %v {\n");
}

TEST(Console, ALogGetsALiveLineEveryTenSecondsOnly) {
  const Pipe pipe;
  HandClock hand;
  Console console(false, pipe.writer(), hand.clock());
  for (int second = 0; second < 25; ++second, hand.time += 1s) console.live("step " + std::to_string(second));
  EXPECT_EQ(without_times(pipe.text()), "step 0\nstep 10\nstep 20\n");
  console.live("now", true);
  EXPECT_EQ(without_times(pipe.text()), "now\n");
  hand.time += 1s;
  console.live("last");
  EXPECT_EQ(pipe.text(), "");
  console.finish_live();
  EXPECT_EQ(without_times(pipe.text()), "last\n");
  console.finish_live();
  EXPECT_EQ(pipe.text(), "");
}

TEST(Console, ATerminalRewritesOneLine) {
  const Pipe pipe;
  HandClock hand;
  Console console(true, pipe.writer(), hand.clock());
  console.live("step 1");
  EXPECT_EQ(pipe.text(), "\rstep 1\x1b[K");
  hand.time += 10ms;
  console.live("step 2");
  EXPECT_EQ(pipe.text(), "") << "redrawn too often";
  hand.time += 50ms;
  console.live("step 3");
  EXPECT_EQ(pipe.text(), "\rstep 3\x1b[K");
  console.live("step 4", true);
  EXPECT_EQ(pipe.text(), "\rstep 4\x1b[K");
  console.live("step 5");
  console.finish_live();
  EXPECT_EQ(pipe.text(), "\rstep 5\x1b[K\n");
}

TEST(Console, AMessageGoesAboveTheLiveLine) {
  const Pipe pipe;
  Console console(true, pipe.writer());
  console.live("step 1");
  static_cast<void>(pipe.text());
  console.info("saved");
  EXPECT_EQ(pipe.text(), "\r\x1b[Ksaved\n\rstep 1\x1b[K");
  console.warning("slow");
  EXPECT_EQ(pipe.text(), "\r\x1b[K\x1b[33mwarning:\x1b[0m slow\n\rstep 1\x1b[K");
}

TEST(Console, ItsEndEndsTheLiveLine) {
  const Pipe pipe;
  {
    Console console(true, pipe.writer());
    console.live("step 1");
  }
  EXPECT_EQ(pipe.text(), "\rstep 1\x1b[K\n");
}

TEST(Console, ALiveLineIsCutToTheWidthTheTerminalHasNow) {
  int controller = -1, terminal = -1;
  winsize size{};
  size.ws_row = 24;
  size.ws_col = 20;
  ASSERT_EQ(openpty(&controller, &terminal, nullptr, nullptr, &size), 0);
  {
    Console console(true, terminal);
    EXPECT_EQ(console.columns(), 20);
    const auto drawn = [&] {
      console.live("step 100/2000  loss 3.1416", true);
      std::array<char, 256> buffer;
      const ssize_t got = read(controller, buffer.data(), buffer.size());
      return std::string(buffer.data(), got > 0 ? static_cast<std::size_t>(got) : 0);
    };
    EXPECT_EQ(drawn(), "\rstep 100/2000  l...\x1b[K");
    size.ws_col = 14;
    ASSERT_EQ(ioctl(controller, TIOCSWINSZ, &size), 0);
    EXPECT_EQ(drawn(), "\rstep 100/2...\x1b[K");
    size.ws_col = 100;
    ASSERT_EQ(ioctl(controller, TIOCSWINSZ, &size), 0);
    EXPECT_EQ(drawn(), "\rstep 100/2000  loss 3.1416\x1b[K");
  }
  close(terminal);
  close(controller);
}

TEST(Console, APipeIsEightyColumnsWide) {
  const Pipe pipe;
  EXPECT_EQ(Console(true, pipe.writer()).columns(), 80);
}

TEST(Job, IsSilentForTwoSecondsThenShowsShareRateAndTimeLeft) {
  const Pipe pipe;
  HandClock hand;
  Console console(true, pipe.writer(), hand.clock());
  Job job(console, "tokenizing", "MB");
  hand.time += 1999ms;
  job.update(1'000'000, 40'000'000);
  EXPECT_EQ(pipe.text(), "");
  hand.time += 2001ms;
  job.update(10'000'000, 40'000'000);
  EXPECT_EQ(pipe.text(), "\rtokenizing:  25% of 40.0 MB, 2.5 MB/s, 12s left\x1b[K");
  hand.time += 4s;
  job.update(40'000'000, 40'000'000);
  EXPECT_EQ(pipe.text(), "\rtokenizing: 100% of 40.0 MB, 5.0 MB/s\x1b[K");
  job.finish();
  EXPECT_EQ(pipe.text(), "\rtokenizing: 40.0 MB in 8.0s, 5.0 MB/s\x1b[K\n");
}

TEST(Job, AShortOneLeavesNoTrace) {
  const Pipe pipe;
  HandClock hand;
  Console console(false, pipe.writer(), hand.clock());
  Job job(console, "reading", "tokens");
  hand.time += 1s;
  job.update(5, 10);
  job.finish();
  EXPECT_EQ(pipe.text(), "");
}

TEST(Job, OfUnknownSizeShowsAmountAndRate) {
  const Pipe pipe;
  HandClock hand;
  Console console(false, pipe.writer(), hand.clock());
  Job job(console, "reading", "tokens");
  hand.time += 4s;
  job.update(50'000, 0);
  EXPECT_EQ(without_times(pipe.text()), "reading: 50.0k tokens, 12.5k tokens/s\n");
}

TEST(Job, InALogReportsEveryTenSecondsAndAtItsEnd) {
  const Pipe pipe;
  HandClock hand;
  Console console(false, pipe.writer(), hand.clock());
  Job job(console, "evaluating", "tokens");
  for (int step = 1; step <= 40; ++step) {
    hand.time += 500ms;
    job.update(step * 100, 4000);
  }
  job.finish();
  EXPECT_EQ(without_times(pipe.text()),
            "evaluating:  10% of 4.0k tokens, 200 tokens/s, 18s left\n"
            "evaluating:  60% of 4.0k tokens, 200 tokens/s, 8.0s left\n"
            "evaluating: 4.0k tokens in 20s, 200 tokens/s\n");
}

TEST(RankLog, HoldsLinesWithTheirTimeAndNoProgress) {
  const TemporaryFolder folder;
  const std::string run = folder.path("run");
  std::filesystem::create_directory(run);
  const std::string path = rank_log(run, 3).path();
  EXPECT_EQ(path, folder.path("run/logs/rank_00003.log"));
  {
    Console console(rank_log(run, 3));
    EXPECT_FALSE(console.terminal());
    console.live("step 1");
    console.live("step 2", true);
    console.finish_live();
    EXPECT_FALSE(std::filesystem::exists(path));  // nothing was said
    console.info("data: {} tokens");
    console.warning("slow disk");
    console.error("rank 1 is gone", "start again");
    EXPECT_EQ(without_times(read_file(path)),
              "data: {} tokens\nwarning: slow disk\nerror: rank 1 is gone\nhint: start again\n");
  }
  Console(rank_log(run, 3)).info("resumed");
  EXPECT_TRUE(without_times(read_file(path)).ends_with("hint: start again\nresumed\n"));
}

TEST(RankLog, MakesNoRunAndKeepsWhatWasSaidBeforeThereWasOne) {
  const TemporaryFolder folder;
  const std::string run = folder.path("run");
  {
    Console console(rank_log(run, 1));
    console.error("model.width: 0");
  }
  EXPECT_FALSE(std::filesystem::exists(run));
  Console console(rank_log(run, 1));
  console.info("first");
  std::filesystem::create_directory(run);
  console.info("second");
  EXPECT_EQ(without_times(read_file(rank_log(run, 1).path())), "first\nsecond\n");
}

TEST(RankLog, ThatCannotBeWrittenIsSaidOnceAndIsNoReasonToEnd) {
  const TemporaryFolder folder;
  const std::string run = folder.path("run");
  std::filesystem::create_directory(run);
  replace_file(run + "/logs", "in the way");
  testing::internal::CaptureStderr();
  Console console(rank_log(run, 2));
  console.info("first");
  console.warning("second");
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(said, "warning: " + rank_log(run, 2).path() + ": cannot be written: Not a directory\n");
}

}  // namespace
}  // namespace nll
