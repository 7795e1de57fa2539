// TensorBoard's event files, byte for byte as TensorBoard's own writer makes them.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <limits>
#include <numeric>

#include "kernels/check.h"
#include "src/report/crc32c.h"
#include "src/report/event_log.h"
#include "src/report/tensorboard_file.h"
#include "src/report/tensorboard_record.h"
#include "tests/report/temporary_folder.h"

namespace nll {
namespace {

constexpr double seconds = 1700000000.25;

TEST(Crc32c, GivesTheValuesOfRfc3720) {
  std::string rising(32, '\0');
  std::iota(rising.begin(), rising.end(), '\0');
  const std::string falling(rising.rbegin(), rising.rend());
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(crc32c(rising), 0x46dd794eu);
  EXPECT_EQ(crc32c(falling), 0x113fdb5cu);
  // An iSCSI read command.
  const unsigned char command[] = {0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
                                   0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
                                   0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
  EXPECT_EQ(crc32c({reinterpret_cast<const char*>(command), sizeof command}), 0xd9963a56u);
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(""), 0u);
}

TEST(Tensorboard, RecordsAreThoseOfTensorboardsOwnWriter) {
  std::ifstream file(std::string(NLL_SOURCE_DIR) + "/tests/report/fixtures/tensorboard.events", std::ios::binary);
  const std::string theirs{std::istreambuf_iterator<char>(file), {}};
  ASSERT_FALSE(theirs.empty());
  // The same events as in scripts/fixtures/make_tensorboard_fixture.py.
  std::string ours = tensorboard_frame(tensorboard_version(seconds));
  ours += tensorboard_frame(tensorboard_restart(seconds, 201));
  const auto add = [&](const Event& event) { ours += tensorboard_frame(tensorboard_summary(seconds, event)); };
  add({"resume", 200, 0, {{"device", "a processor"}, {"threads", std::int64_t{2}}}});
  add({"train",
       201,
       0,
       {{"loss", 3.25},
        {"learning_rate", 6e-4},
        {"gradient_norm", std::numeric_limits<double>::quiet_NaN()},
        {"tokens_per_second", 12345.678}}});
  add({"validation", 5000000000, 0, {{"loss", 0.0}, {"scored_tokens", std::int64_t{65536}}}});
  add({"sample", 300, 0, {{"text", "one\ntwo \u00e9 </script>"}}});
  ASSERT_EQ(ours.size(), theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) ASSERT_EQ(ours[i], theirs[i]) << "byte " << i;
}

TEST(Tensorboard, WhatIsNoCurveAndNoTextIsLeftOut) {
  EXPECT_EQ(tensorboard_summary(seconds, {"train", 1, 0, {}}), "");
  EXPECT_EQ(tensorboard_summary(seconds, {"checkpoint", 1, 0, {{"folder", "a"}, {"seconds", 0.5}}}), "");
  EXPECT_EQ(tensorboard_summary(seconds, {"validation", 1, 0, {{"calibration_count", std::vector<double>{1, 2}}}}), "");
}

TEST(Tensorboard, BrokenUtf8InATextIsReplaced) {
  const std::string message = tensorboard_summary(seconds, {"sample", 1, 0, {{"text", "a\xff"}}});
  EXPECT_NE(message.find("a\xef\xbf\xbd"), std::string::npos);
}

std::vector<std::string> names(const std::string& folder) {
  std::vector<std::string> list;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    list.push_back(entry.path().filename().string());
  std::sort(list.begin(), list.end());
  return list;
}

TEST(TensorboardFile, EachStartMakesAFileThatSortsBehindTheEarlierAndNothingIsOverwritten) {
  const TemporaryFolder folder;
  const std::string path = folder.path("run/tensorboard");
  // The clock stands still, then goes back.
  for (const double now : {1700000000.0, 1700000000.5, 1500000000.0}) {
    TensorboardFile file(path, 0, [now] { return now; });
    file.append({"train", 1, 0, {{"loss", now}}});
  }
  EXPECT_EQ(names(path),
            (std::vector<std::string>{"events.out.tfevents.1700000000.nll", "events.out.tfevents.1700000001.nll",
                                      "events.out.tfevents.1700000002.nll"}));
}

TEST(TensorboardFile, EachEventIsInTheFileWhenAppendReturns) {
  const TemporaryFolder folder;
  TensorboardFile file(folder.path("tensorboard"), 41, [] { return seconds; });
  const std::string start =
      tensorboard_frame(tensorboard_version(seconds)) + tensorboard_frame(tensorboard_restart(seconds, 42));
  const std::string name = "tensorboard/events.out.tfevents.1700000000.nll";
  EXPECT_EQ(folder.read(name), start);
  const Event event{"train", 42, 0, {{"loss", 2.0}}};
  file.append(event);
  EXPECT_EQ(folder.read(name), start + tensorboard_frame(tensorboard_summary(seconds, event)));
}

TEST(EventLog, WritesBothFiles) {
  const TemporaryFolder folder;
  std::vector<std::string> warnings;
  EventLog log(folder.path("metrics.jsonl"), 0, folder.path("tensorboard"),
               [&](const std::string& line) { warnings.push_back(line); });
  log.append({"train", 1, 10, {{"loss", 2.0}}});
  EXPECT_EQ(read_metrics(folder.path("metrics.jsonl")).size(), 1u);
  EXPECT_EQ(names(folder.path("tensorboard")).size(), 1u);
  EXPECT_TRUE(warnings.empty());
}

TEST(EventLog, WithoutAFolderThereIsNoTensorboardFile) {
  const TemporaryFolder folder;
  EventLog log(folder.path("metrics.jsonl"), 0, "", [](const std::string&) { FAIL(); });
  log.append({"train", 1, 10, {{"loss", 2.0}}});
  EXPECT_EQ(folder.files(), 1u);
}

TEST(EventLog, ATensorboardFileThatCannotBeMadeIsOneWarningAndMetricsGoOn) {
  const TemporaryFolder folder;
  const std::string in_the_way = folder.write("tensorboard", "a file");
  std::vector<std::string> warnings;
  EventLog log(folder.path("metrics.jsonl"), 0, in_the_way, [&](const std::string& line) { warnings.push_back(line); });
  for (std::int64_t step = 1; step <= 5; ++step) log.append({"train", step, step, {{"loss", 2.0}}});
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("tensorboard"), std::string::npos);
  EXPECT_EQ(read_metrics(folder.path("metrics.jsonl")).size(), 5u);
}

TEST(EventLog, ATensorboardFileThatIsFullIsOneWarningAndMetricsGoOn) {
  const TemporaryFolder folder;
  std::vector<std::string> warnings;
  EventLog log(folder.path("metrics.jsonl"), 0, folder.path("tensorboard"),
               [&](const std::string& line) { warnings.push_back(line); });
  log.append({"train", 1, 1, {{"loss", 2.0}}});
  struct rlimit before {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit tight = before;
  // Between the sizes of the two files: TensorBoard's is the longer one by its first two records.
  tight.rlim_cur = 140;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  log.append({"train", 2, 2, {{"loss", 2.0}}});
  setrlimit(RLIMIT_FSIZE, &before);
  log.append({"train", 3, 3, {{"loss", 2.0}}});
  std::signal(SIGXFSZ, SIG_DFL);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("cannot be written"), std::string::npos) << warnings[0];
  EXPECT_EQ(read_metrics(folder.path("metrics.jsonl")).size(), 3u);
}

}  // namespace
}  // namespace nll
