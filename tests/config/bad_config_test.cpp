// Every named bad config of bad_configs.golden gives exactly the error that stands there.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>

#include "kernels/check.h"
#include "src/config/config.h"
#include "tests/config/golden.h"

namespace nll {
namespace {

const std::string golden_path = std::string(NLL_SOURCE_DIR) + "/tests/config/bad_configs.golden";

std::string error_of(const BadCase& bad) {
  try {
    check_config(parse_config(bad.config, "bad.json", bad.overrides), "bad.json", bad.ranks);
  } catch (const Error& error) {
    std::string text = "exit " + std::to_string(static_cast<int>(error.exit())) + "\n" + error.what() + "\n";
    if (!error.hint().empty()) text += "hint: " + error.hint() + "\n";
    return text;
  }
  return "no error\n";
}

TEST(BadConfig, EachNamedCaseGivesItsExactError) {
  BadCases golden = read_cases(golden_path);
  ASSERT_GE(golden.cases.size(), 150u);
  if (std::getenv("NLL_UPDATE_GOLDEN") != nullptr) {
    for (BadCase& bad : golden.cases) bad.error = error_of(bad);
    write_cases(golden_path, golden);
  }
  std::set<std::string> names;
  for (const BadCase& bad : golden.cases) {
    EXPECT_EQ(error_of(bad), bad.error) << bad.name;
    EXPECT_EQ(bad.error.rfind("exit 2\n", 0), 0u) << bad.name;
    EXPECT_TRUE(names.insert(bad.name).second) << bad.name << " is there twice";
  }
}

TEST(BadConfig, MessagesAreOneLineOfPrintableText) {
  for (const BadCase& bad : read_cases(golden_path).cases) {
    try {
      check_config(parse_config(bad.config, "bad.json", bad.overrides), "bad.json", bad.ranks);
    } catch (const Error& error) {
      for (const char c : error.what() + error.hint()) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << bad.name;
      EXPECT_LT(std::string(error.what()).size(), 400u) << bad.name;
    }
  }
}

// A cheap fuzzer: whatever a byte of a good config becomes, the answer is a config or one Error, and never a crash.
TEST(BadConfig, MutatedConfigsGiveAConfigOrAnError) {
  const std::string good = dump_config(Config{});
  std::mt19937 random(1);
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = good;
    for (int edit = 0; edit < 3; ++edit) {
      const std::size_t at = random() % text.size();
      const char letters[] = "{}[]\",:/*-+.eE0019 \n\\utrn\xff\0";
      switch (random() % 3) {
        case 0:
          text[at] = letters[random() % sizeof letters];
          break;
        case 1:
          text.insert(at, 1, letters[random() % sizeof letters]);
          break;
        default:
          text.erase(at, 1 + random() % 4);
      }
    }
    try {
      parse_config(text, "mutated.json", {});
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::usage);
      ++refused;
    }
  }
  EXPECT_GT(refused, 1000);
}

// Hundreds of thousands of tokens: a step that is not linear in the text would take hours.
TEST(BadConfig, ALargeConfigOfManyTokensIsReadInLinearTime) {
  std::string text = "{\"data\": {\"train\": [\"a\"";
  while (text.size() < (1 << 20) - 10) text += ",\"\"";
  EXPECT_THROW(parse_config(text + "]}}", "many.json", {}), Error);
  EXPECT_THROW(parse_config("[" + std::string(1000000, ' ') + "/*", "blanks.json", {}), Error);
}

TEST(BadConfig, EveryTruncationOfAConfigIsAnError) {
  std::string good = dump_config(Config{});
  good.pop_back();  // the last newline may go
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW(parse_config(good.substr(0, size), "cut.json", {}), Error) << size;
  }
}

}  // namespace
}  // namespace nll
