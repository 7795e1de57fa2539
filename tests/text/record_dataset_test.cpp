#include "src/text/record_dataset.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <filesystem>

#include "src/text/line_reader.h"
#include "src/text/record_build.h"
#include "tests/text/byte_tokenizer.h"

namespace nll {
namespace {

const Tokenizer& tokenizer() {
  static const Tokenizer made = byte_tokenizer();
  return made;
}

struct RecordDatasetTest : testing::Test {
  TemporaryFolder folder;

  RecordOptions options(const std::string& lines, RecordKind kind = RecordKind::supervised) {
    RecordOptions made;
    made.files = {write_file(folder / "r.jsonl", lines)};
    made.kind = kind;
    made.cache_folder = folder / "cache";
    return made;
  }
  std::string error(const RecordOptions& how) {
    return error_of([&] { RecordDataset(how, tokenizer()); }, folder.path());
  }
  std::string cache_path() {
    std::string found;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "cache")) found = entry.path().string();
    return found;
  }
};

// All there is to know of a dataset's records.
std::string everything(const RecordDataset& data) {
  std::string all;
  for (std::int64_t record = 0; record < data.records(); ++record) {
    all += data.columns(record);
    for (const RecordSequence& sequence : data.sequences(record)) {
      const SequenceInfo& info = sequence.info;
      all += "[" + std::to_string(info.record) + " " + std::to_string(info.role) + (info.label ? " +" : " -") +
             std::to_string(info.margin) + " " + std::to_string(info.prompt_tokens) + "/" +
             std::to_string(info.tokens) + " " + tokenizer().decode(sequence.tokens, true);
      for (const TokenSpan& span : sequence.trained) {
        all += " " + std::to_string(span.begin) + "-" + std::to_string(span.end);
      }
      all += "]";
    }
  }
  return all;
}

std::string many_records(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    const std::string n = std::to_string(i);
    lines += R"({"prompt": "p)" + n + R"(", "chosen": "c)" + n + std::string(static_cast<std::size_t>(i % 7), '!') +
             R"(", "rejected": "r", "margin": )" + n + "}\n";
  }
  return lines;
}

TEST_F(RecordDatasetTest, GivesEachRecordsSequencesByRole) {
  const std::string lines = R"({"prompt": "q", "chosen": "yes", "rejected": "no", "margin": 0.5})"
                            "\n"
                            R"({"prompt": "", "chosen": "1", "rejected": "23"})";
  const RecordDataset data(options(lines, RecordKind::preference), tokenizer());
  EXPECT_EQ(data.records(), 2);
  EXPECT_EQ(data.widest(), 2);
  EXPECT_EQ(data.longest(), 5);
  EXPECT_EQ(data.padding(), end_of_text);
  EXPECT_EQ(everything(data),
            "[0 0 +0.500000 1/5 qyes<|endoftext|> 1-5][0 1 +0.500000 1/4 qno<|endoftext|> 1-4]"
            "[1 0 +0.000000 1/3 <|endoftext|>1<|endoftext|> 1-3][1 1 +0.000000 1/4 <|endoftext|>23<|endoftext|> 1-4]");
  EXPECT_EQ(data.place(1), folder / "r.jsonl:2");
}

TEST_F(RecordDatasetTest, KeepsTheColumnsOfPrompts) {
  const RecordDataset data(options("{\"prompt\": \"q\", \"answer\": 42}\n", RecordKind::prompt_only), tokenizer());
  EXPECT_EQ(everything(data), "{\"answer\":42,\"prompt\":\"q\"}[0 0 +0.000000 1/1 q]");
  EXPECT_EQ(data.summary().trained_tokens, 0);
}

TEST_F(RecordDatasetTest, TakesWindowsLineEndsAByteOrderMarkAndBlankLinesAtTheEnd) {
  const RecordDataset data(options("\xEF\xBB\xBF{\"text\": \"x\"}\r\n{\"text\": \"y\"}\r\n\r\n  \n\n"), tokenizer());
  EXPECT_EQ(data.records(), 2);
  EXPECT_EQ(data.summary().lines, 2);
  EXPECT_EQ(data.place(1), folder / "r.jsonl:2");
}

TEST_F(RecordDatasetTest, StopsAtTheFirstBadLineOfAnyFile) {
  RecordOptions how = options("{\"text\": \"x\"}\n\n{\"text\": \"y\"}\n");
  EXPECT_EQ(error(how), "4: r.jsonl:2: is blank (expected an object)");
  how = options("{\"text\": \"x\"}\n");
  how.files.push_back(write_file(folder / "more.jsonl", "{\"text\": \"x\"}\n{\"text\": 1}\n{\"text\": 2}\n"));
  for (how.threads = 1; how.threads <= 4; ++how.threads) {
    EXPECT_EQ(error(how), "4: more.jsonl:2: \"text\" is a number (expected a string)");
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "cache") && !std::filesystem::is_empty(folder / "cache"));
}

TEST_F(RecordDatasetTest, SkipsAndCountsBadLinesWhereThatIsAskedFor) {
  RecordOptions how = options(
      "{\"text\": \"x\"}\n{\"text\": 1}\nno\n{\"text\": 2}\n{\"text\": 3}\n\n{\"text\": 4}\n{\"text\": \"y\"}\n");
  how.bad_records = BadRecords::skip;
  const RecordDataset data(how, tokenizer());
  const RecordSummary& summary = data.summary();
  EXPECT_EQ(data.records(), 2);
  EXPECT_EQ(data.place(1), folder / "r.jsonl:8");
  EXPECT_EQ(summary.skipped, 6);
  ASSERT_EQ(summary.faults.size(), 3u);
  EXPECT_EQ(summary.faults[0].reason, FaultReason::wrong_type);
  EXPECT_EQ(summary.faults[0].count, 4);
  ASSERT_EQ(summary.faults[0].examples.size(), 3u);
  EXPECT_EQ(summary.faults[0].examples[1], folder / "r.jsonl:4: \"text\" is a number (expected a string)");
  EXPECT_EQ(summary.text(), "2 records of 8 lines; 6 lines skipped (wrong type 4, not JSON 1, blank line 1)");
  // What was skipped is told again by the cache.
  const RecordDataset again(how, tokenizer());
  EXPECT_EQ(again.summary().json(), summary.json());
  // Asked to stop, the same files are an error, cache or not.
  how.bad_records = BadRecords::stop;
  EXPECT_EQ(error(how), "4: r.jsonl:2: \"text\" is a number (expected a string)");
}

TEST_F(RecordDatasetTest, CountsWhatIsCutAndDropped) {
  RecordOptions how = options(R"({"prompt": "12", "completion": "3"})"
                              "\n"
                              R"({"prompt": "12", "completion": "34"})"
                              "\n"
                              R"({"prompt": "1234", "completion": "5"})"
                              "\n");
  how.max_length = 4;
  const RecordDataset data(how, tokenizer());
  EXPECT_EQ(data.summary().text(),
            "2 records of 3 lines; 1 record dropped as nothing of a completion was left; 1 of 2 sequences cut");
  EXPECT_EQ(data.summary().tokens, 8);
  EXPECT_EQ(data.summary().trained_tokens, 4);
  how.long_records = LongRecords::drop;
  const RecordDataset dropped(how, tokenizer());
  EXPECT_EQ(dropped.summary().text(), "1 record of 3 lines; 2 records dropped as too long");
  how.max_length = 2;
  EXPECT_EQ(error(how), "4: r.jsonl: no record is left: 0 records of 3 lines; 3 records dropped as too long");
}

TEST_F(RecordDatasetTest, RefusesFilesThatHoldNoRecords) {
  EXPECT_EQ(error(options("")), "4: r.jsonl: no records (expected a JSON object a line)");
  EXPECT_EQ(error(options("\n\n")), "4: r.jsonl: no records (expected a JSON object a line)");
  EXPECT_EQ(error(options("\x1f\x8b\x08 and so on")), "4: r.jsonl: is compressed (expected JSON, an object a line)");
  RecordOptions how = options("");
  how.files = {folder / "none.jsonl"};
  EXPECT_EQ(error(how), "4: none.jsonl: cannot be opened (No such file or directory)");
  how.files = {};
  EXPECT_EQ(error(how), "2: no record files are named (expected .jsonl files)");
}

TEST_F(RecordDatasetTest, RefusesALineOf300MegabytesWithoutHoldingIt) {
  const std::string path = write_file(folder / "r.jsonl", "{\"text\": \"x\"}\n{\"text\": \"");
  std::filesystem::resize_file(path, 300'000'000);
  RecordOptions how;
  how.files = {path};
  how.cache_folder = folder / "cache";
  const auto most_memory = [] {
    rusage usage{};
    EXPECT_EQ(::getrusage(RUSAGE_SELF, &usage), 0);
    return std::int64_t{usage.ru_maxrss} << 10;
  };
  const std::int64_t before = most_memory();
  EXPECT_EQ(error(how), "4: r.jsonl:2: a line of 299999986 bytes (expected at most 16777216)");
  // What is kept of a line grows to the limit by doubling, and the old half may not have been given back.
  EXPECT_LT(most_memory() - before, 5 * how.longest_line);
}

TEST_F(RecordDatasetTest, TakesLinesUpToTheLimitAndNoLonger) {
  const std::string line = "{\"text\": \"" + std::string(100, 'x') + "\"}";
  for (const char* end : {"", "\n", "\r\n", "\r\n\n"}) {
    RecordOptions how = options(line + end);
    how.longest_line = static_cast<std::int64_t>(line.size());
    EXPECT_EQ(RecordDataset(how, tokenizer()).records(), 1);
    --how.longest_line;
    EXPECT_EQ(error(how), "4: r.jsonl:1: a line of 112 bytes (expected at most 111)");
  }
}

TEST_F(RecordDatasetTest, MakesTheSameCacheAtAnyNumberOfThreads) {
  RecordOptions how = options(many_records(500), RecordKind::preference);
  std::string expected;
  for (how.threads = 1; how.threads <= 4; ++how.threads) {
    how.cache_folder = folder / ("cache" + std::to_string(how.threads));
    const RecordDataset data(how, tokenizer());
    EXPECT_EQ(data.records(), 500);
    std::string bytes;
    for (const auto& entry : std::filesystem::directory_iterator(how.cache_folder)) {
      bytes += read_file(entry.path().string());
    }
    if (expected.empty()) expected = bytes;
    EXPECT_TRUE(bytes == expected);
  }
}

TEST_F(RecordDatasetTest, ReadsTheCacheInsteadOfTokenizingAgain) {
  const RecordOptions how = options(many_records(20), RecordKind::preference);
  const RecordDataset made(how, tokenizer());
  ASSERT_EQ(made.notices().size(), 1u);
  EXPECT_TRUE(made.notices()[0].ends_with(": tokenized records for later runs"));
  int reports = 0;
  const RecordDataset read(how, tokenizer(), [&](std::int64_t, std::int64_t) { ++reports; });
  EXPECT_EQ(reports, 0);
  ASSERT_EQ(read.notices().size(), 1u);
  EXPECT_EQ(read.notices()[0], cache_path() + ": tokenized records from an earlier run");
  EXPECT_EQ(everything(read), everything(made));
  EXPECT_EQ(read.fingerprint(), made.fingerprint());
  EXPECT_EQ(read.summary().json(), made.summary().json());
}

TEST_F(RecordDatasetTest, ReportsBytesAsItReads) {
  const RecordOptions how = options(many_records(20), RecordKind::preference);
  std::int64_t done = 0, total = 0;
  const RecordDataset data(how, tokenizer(), [&](std::int64_t read, std::int64_t all) { done = read, total = all; });
  EXPECT_EQ(total, static_cast<std::int64_t>(std::filesystem::file_size(how.files[0])));
  EXPECT_EQ(done, total);
}

TEST_F(RecordDatasetTest, AnotherSettingOrAnotherByteIsAnotherCache) {
  const RecordOptions plain = options(many_records(3), RecordKind::preference);
  const auto key = [&](const RecordOptions& how, std::uint64_t hash = 1) {
    return record_cache_key(how, std::span(&hash, 1), tokenizer());
  };
  std::vector<std::uint64_t> keys = {key(plain), key(plain, 2)};
  RecordOptions how = plain;
  how.kind = RecordKind::unpaired;
  keys.push_back(key(how));
  how = plain;
  how.max_length = 1023;
  keys.push_back(key(how));
  how = plain;
  how.long_records = LongRecords::drop;
  keys.push_back(key(how));
  how = plain;
  how.bad_records = BadRecords::skip;
  keys.push_back(key(how));
  how = plain;
  how.markers.assistant_only = true;
  keys.push_back(key(how));
  how = plain;
  how.markers.user = {"<|user|>", "\n\n"};  // the same characters, parted elsewhere
  keys.push_back(key(how));
  const std::uint64_t hash = 1;
  keys.push_back(record_cache_key(plain, std::span(&hash, 1), byte_tokenizer(false)));
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(keys[i], keys[j]) << i << " " << j;
  }
  how = plain;
  how.threads = 3;
  EXPECT_EQ(key(how), key(plain));
}

TEST_F(RecordDatasetTest, FingerprintTellsOfAnyChangeOfTheRecords) {
  const std::string line = R"({"prompt": "p", "chosen": "c", "rejected": "r", "margin": 1})";
  std::vector<std::uint64_t> prints;
  for (const std::string& lines :
       {line, line + "\n" + line, std::string(R"({"prompt": "p", "chosen": "r", "rejected": "c", "margin": 1})"),
        std::string(R"({"prompt": "p", "chosen": "c", "rejected": "r", "margin": 2})")}) {
    prints.push_back(RecordDataset(options(lines, RecordKind::preference), tokenizer()).fingerprint());
  }
  for (std::size_t i = 0; i < prints.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(prints[i], prints[j]);
  }
}

TEST_F(RecordDatasetTest, MakesADamagedCacheAgainAndSaysSo) {
  const RecordOptions how = options(many_records(3), RecordKind::preference);
  const std::string expected = everything(RecordDataset(how, tokenizer()));
  const std::string path = cache_path(), sound = read_file(path);
  const auto said = [&](const std::string& bytes) {
    write_file(path, bytes);
    const RecordDataset data(how, tokenizer());
    EXPECT_EQ(everything(data), expected);
    EXPECT_TRUE(read_file(path) == sound);
    EXPECT_EQ(data.notices().size(), 2u);
    return data.notices().front().substr(path.size() + 2);
  };
  std::string bytes = sound;
  bytes[200] = static_cast<char>(bytes[200] ^ 1);
  EXPECT_EQ(said(bytes), "is damaged: its records do not have their checksum: made again");
  EXPECT_EQ(said("something else"), "is no record cache: made again");
  EXPECT_EQ(said(sound + "x"), "is damaged: it has " + std::to_string(sound.size() + 1) +
                                   " bytes, which is not what its header gives: made again");
}

TEST_F(RecordDatasetTest, FindsDamageAnywhereInACache) {
  const RecordOptions how = options(many_records(3), RecordKind::preference);
  const RecordDataset data(how, tokenizer());
  const std::uint64_t hash = hash_of_file(how.files[0]), key = record_cache_key(how, std::span(&hash, 1), tokenizer());
  const std::string path = cache_path(), sound = read_file(path);
  const auto refused = [&] {
    return error_of([&] { RecordCache(path, key, tokenizer().vocabulary()); }).starts_with("4: " + path);
  };
  const auto put = [&](std::size_t at,
                       int flip) {  // in its place: a file that is written anew is synced by some systems
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(sound[at] ^ flip));
  };
  EXPECT_FALSE(refused());
  for (std::size_t at = 0; at < sound.size(); ++at) {
    put(at, 0x10);
    EXPECT_TRUE(refused()) << at;
    put(at, 0);
  }
  EXPECT_FALSE(refused());
  for (std::size_t size = sound.size(); size-- > 0;) {
    std::filesystem::resize_file(path, size);
    EXPECT_TRUE(refused()) << size;
  }
}

TEST_F(RecordDatasetTest, TakesNoCacheOfOtherRecordsForItsOwn) {
  RecordOptions how = options(many_records(3), RecordKind::preference);
  const std::string expected = everything(RecordDataset(how, tokenizer()));
  const std::string path = cache_path();
  RecordOptions other = how;
  other.max_length = 3;
  other.cache_folder = folder / "other";
  const RecordDataset foreign(other, tokenizer());
  std::filesystem::copy_file(foreign.notices()[0].substr(0, foreign.notices()[0].find(": ")), path,
                             std::filesystem::copy_options::overwrite_existing);
  const RecordDataset data(how, tokenizer());
  EXPECT_EQ(data.notices().front(), path + ": was made from other files, or with other settings: made again");
  EXPECT_EQ(everything(data), expected);
}

TEST_F(RecordDatasetTest, NoticesWhatHappensToTheCacheWhileItIsInUse) {
  const RecordOptions how = options(many_records(3), RecordKind::preference);
  const RecordDataset data(how, tokenizer());
  const std::string path = cache_path();
  std::string bytes = read_file(path);
  bytes[150] = static_cast<char>(bytes[150] ^ 1);
  write_file(path, bytes);
  EXPECT_EQ(error_of([&] { data.sequences(0); }, folder / "cache"),
            "4: " + path.substr((folder / "cache").size() + 1) + ": record 0 was damaged while the file was in use");
  EXPECT_EQ(data.sequences(1).size(), 2u);
  std::filesystem::resize_file(path, 10);
  EXPECT_TRUE(error_of([&] { data.sequences(1); }).ends_with("record 1 was damaged while the file was in use"));
}

}  // namespace
}  // namespace nll
