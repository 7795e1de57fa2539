// metrics.jsonl: appended, cut on a resume, read strictly.
#include "src/report/metrics_file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <map>

#include "kernels/check.h"
#include "tests/report/temporary_folder.h"

namespace nll {
namespace {

Event train(std::int64_t step) { return {"train", step, step * 100, {{"loss", 4.0 / static_cast<double>(step + 1)}}}; }

std::string lines(std::initializer_list<std::int64_t> steps) {
  std::string text;
  for (const std::int64_t step : steps) text += to_json(train(step)) + "\n";
  return text;
}

TEST(MetricsFile, EachEventIsOnDiskWhenAppendReturns) {
  const TemporaryFolder folder;
  MetricsFile file(folder.path("metrics.jsonl"), std::nullopt);
  file.append(train(1));
  EXPECT_EQ(folder.read("metrics.jsonl"), lines({1}));
  file.append(train(2));
  EXPECT_EQ(folder.read("metrics.jsonl"), lines({1, 2}));
}

TEST(MetricsFile, WhatWasAppendedReadsBack) {
  const TemporaryFolder folder;
  const std::string path = folder.path("metrics.jsonl");
  {
    MetricsFile file(path, std::nullopt);
    for (std::int64_t step = 0; step < 100; ++step) file.append(train(step));
  }
  const std::vector<Event> events = read_metrics(path);
  ASSERT_EQ(events.size(), 100u);
  for (std::int64_t step = 0; step < 100; ++step) {
    EXPECT_EQ(to_json(events[static_cast<std::size_t>(step)]), to_json(train(step)));
  }
}

TEST(MetricsFile, AResumeDropsLaterLinesAndGoesOn) {
  const TemporaryFolder folder;
  const std::string path = folder.write("metrics.jsonl", lines({1, 2, 3, 4}));
  MetricsFile file(path, 2);
  EXPECT_EQ(folder.read("metrics.jsonl"), lines({1, 2}));
  file.append(train(3));
  EXPECT_EQ(folder.read("metrics.jsonl"), lines({1, 2, 3}));
  EXPECT_EQ(folder.files(), 1u) << "a temporary file is left";
}

TEST(MetricsFile, LaterLinesAreDroppedWhereverTheyStand) {
  const TemporaryFolder folder;
  const std::string path = folder.write("metrics.jsonl", lines({1, 2, 3, 4, 3, 2}));
  const MetricsFile file(path, 2);
  EXPECT_EQ(folder.read("metrics.jsonl"), lines({1, 2, 2}));
}

TEST(MetricsFile, ATornLastLineIsDroppedAtEveryLength) {
  const TemporaryFolder folder;
  const std::string whole = lines({1, 2});
  const std::string last = lines({3});
  for (std::size_t size = 1; size < last.size(); ++size) {
    for (const std::optional<std::int64_t> resume : {std::optional<std::int64_t>{9}, std::optional<std::int64_t>{}}) {
      const std::string path = folder.write("metrics.jsonl", whole + last.substr(0, size));
      EXPECT_EQ(read_metrics(path).size(), 2u);
      const MetricsFile file(path, resume);
      EXPECT_EQ(folder.read("metrics.jsonl"), whole) << size;
    }
  }
}

TEST(MetricsFile, TheZerosOfAPowerCutAreATornLine) {
  const TemporaryFolder folder;
  const std::string path = folder.write("metrics.jsonl", lines({1}) + std::string(4096, '\0'));
  MetricsFile file(path, 5);
  file.append(train(2));
  EXPECT_EQ(folder.read("metrics.jsonl"), lines({1, 2}));
}

TEST(MetricsFile, AFileWithNothingToDropIsNotRewritten) {
  const TemporaryFolder folder;
  const std::string path = folder.write("metrics.jsonl", lines({1, 2}));
  struct stat before {
  }, after{};
  ASSERT_EQ(stat(path.c_str(), &before), 0);
  const MetricsFile file(path, 2);
  ASSERT_EQ(stat(path.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST(MetricsFile, AResumeWithoutAFileStartsOne) {
  const TemporaryFolder folder;
  MetricsFile file(folder.path("metrics.jsonl"), 7);
  file.append(train(8));
  EXPECT_EQ(folder.read("metrics.jsonl"), lines({8}));
}

TEST(MetricsFile, ABadLineInsideStopsAResumeAndChangesNothing) {
  const TemporaryFolder folder;
  const std::string content = lines({1}) + "broken\n" + lines({2});
  const std::string path = folder.write("metrics.jsonl", content);
  EXPECT_THROW(MetricsFile(path, 1), Error);
  EXPECT_EQ(folder.read("metrics.jsonl"), content);
}

TEST(MetricsFile, AFullDiskIsAnIoError) {
  MetricsFile file("/dev/full", std::nullopt);
  try {
    file.append(train(1));
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::io);
    EXPECT_STREQ(error.what(), "/dev/full: cannot be written: No space left on device");
    EXPECT_EQ(error.hint(), "free some space on that disk");
  }
}

// A limit on the size of files makes write() write less than it was given, and then nothing.
TEST(MetricsFile, AShortWriteLeavesNoTornLineBehind) {
  const TemporaryFolder folder;
  MetricsFile file(folder.path("metrics.jsonl"), std::nullopt);
  file.append(train(1));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit tight = before;
  tight.rlim_cur = lines({1}).size() + 10;
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  std::string message;
  try {
    file.append(train(2));
  } catch (const Error& error) {
    message = error.what();
  }
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, folder.path("metrics.jsonl") + ": cannot be written: File too large");
  EXPECT_EQ(folder.read("metrics.jsonl"), lines({1}));
  file.append(train(3));
  EXPECT_EQ(folder.read("metrics.jsonl"), lines({1, 3}));
}

TEST(MetricsFile, AFolderOrAMissingFolderIsAnIoErrorThatNamesIt) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder.path("metrics.jsonl"));
  for (const std::string& name : {std::string("metrics.jsonl"), std::string("none/metrics.jsonl")}) {
    try {
      const MetricsFile file(folder.path(name), std::nullopt);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::io);
      EXPECT_EQ(std::string(error.what()).rfind(folder.path(name) + ": cannot be opened for writing: ", 0), 0u)
          << error.what();
    }
  }
}

TEST(ReadMetrics, AMissingFileIsAnIoErrorAndAnEmptyOneHasNoEvents) {
  const TemporaryFolder folder;
  EXPECT_THROW(read_metrics(folder.path("none.jsonl")), Error);
  EXPECT_TRUE(read_metrics(folder.write("empty.jsonl", "")).empty());
}

struct BadLine {
  std::string name, line, error;
};

std::vector<BadLine> read_cases(std::istream& file, std::string& head) {
  std::vector<BadLine> cases;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("=== ", 0) == 0) {
      cases.push_back({line.substr(4), {}, {}});
      std::getline(file, cases.back().line);
    } else if (cases.empty()) {
      head += line + "\n";
    } else if (!line.empty()) {
      cases.back().error += line + "\n";
    }
  }
  return cases;
}

std::string resolved(std::string line) {
  const std::map<std::string, std::string> escapes = {{"<NUL>", std::string(1, '\0')}, {"<BAD>", "\xff"}};
  for (const auto& [name, byte] : escapes) {
    for (std::size_t at = 0; (at = line.find(name, at)) != std::string::npos;) line.replace(at, name.size(), byte);
  }
  return line;
}

TEST(BadMetrics, EachNamedLineGivesItsExactErrorWithFileAndLine) {
  const std::string golden_path = std::string(NLL_SOURCE_DIR) + "/tests/report/bad_metrics.golden";
  std::ifstream golden(golden_path);
  std::string head;
  std::vector<BadLine> cases = read_cases(golden, head);
  ASSERT_GE(cases.size(), 30u);
  const TemporaryFolder folder;
  const bool update = std::getenv("NLL_UPDATE_GOLDEN") != nullptr;
  for (BadLine& bad : cases) {
    const std::string path = folder.write("metrics.jsonl", lines({1}) + resolved(bad.line) + "\n" + lines({2}));
    std::string seen = "no error\n";
    try {
      read_metrics(path);
    } catch (const Error& error) {
      seen = "exit " + std::to_string(static_cast<int>(error.exit())) + ", " +
             std::string(error.what()).substr(folder.path("").size()) + "\nhint: " + error.hint() + "\n";
    }
    if (update) bad.error = seen;
    EXPECT_EQ(seen, bad.error) << bad.name;
    EXPECT_EQ(seen.rfind("exit 4, metrics.jsonl:2: ", 0), 0u) << bad.name;
  }
  if (!update) return;
  std::ofstream written(golden_path, std::ios::trunc);
  written << head;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    written << "=== " << cases[i].name << "\n"
            << cases[i].line << "\n"
            << cases[i].error << (i + 1 < cases.size() ? "\n" : "");
  }
}

}  // namespace
}  // namespace nll
