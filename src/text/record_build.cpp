#include "src/text/record_build.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <optional>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "src/text/line_reader.h"
#include "src/text/record_cache.h"
#include "src/text/thread_team.h"

namespace nll {
namespace {

// What a line became.
struct LineOutcome {
  std::vector<EncodedRecord> records;
  std::optional<RecordFault> fault;
};

class CacheBuilder {
 public:
  CacheBuilder(const RecordOptions& options, const Tokenizer& tokenizer, const std::string& path, std::uint64_t key)
      : options_(options),
        encoder_(tokenizer, options.markers, options.max_length, options.long_records),
        writer_(path, key) {}

  // Encodes lines of one file and writes what they became, in their order.
  void take(const std::vector<Line>& lines, std::size_t file) {
    std::vector<LineOutcome> outcomes(lines.size());
    for_each_item(lines.size(), options_.threads,
                  [&](std::size_t, std::size_t item) { outcomes[item] = encode(lines[item], options_.files[file]); });
    for (std::size_t i = 0; i < lines.size(); ++i) {
      ++summary_.lines;
      if (outcomes[i].fault) {
        if (options_.bad_records == BadRecords::stop) throw *std::move(outcomes[i].fault);
        summary_.add(*outcomes[i].fault);
      }
      for (const EncodedRecord& record : outcomes[i].records) {
        summary_.add(record);
        if (record.fate != EncodedRecord::Fate::kept) continue;
        writer_.append(record, static_cast<std::int64_t>(file), lines[i].number);
      }
    }
  }

  void finish() {
    if (summary_.records == 0) refuse_nothing();
    writer_.finish(summary_);
  }

 private:
  LineOutcome encode(const Line& line, const std::string& file) const {
    LineOutcome outcome;
    const std::string place = fmt::format("{}:{}", file, line.number);
    try {
      if (line.too_long) {
        throw RecordFault(FaultReason::too_long, fmt::format("{}: a line of {} bytes (expected at most {})", place,
                                                             line.bytes, options_.longest_line));
      }
      if (line.text.empty()) throw RecordFault(FaultReason::blank, place + ": is blank (expected an object)");
      for (const Record& record : parse_record(line.text, options_.kind, place)) {
        outcome.records.push_back(encoder_.encode(record));
      }
    } catch (const RecordFault& fault) {
      outcome.fault = fault;
    }
    return outcome;
  }

  [[noreturn]] void refuse_nothing() const {
    const std::string others =
        options_.files.size() > 1 ? fmt::format(" and {} more files", options_.files.size() - 1) : "";
    if (summary_.lines == 0) {
      throw Error(Exit::bad_data,
                  fmt::format("{}{}: no records (expected a JSON object a line)", options_.files.front(), others));
    }
    const bool short_of_room = summary_.too_long > 0 || summary_.nothing_left > 0;
    throw Error(Exit::bad_data,
                fmt::format("{}{}: no record is left: {}", options_.files.front(), others, summary_.text()),
                short_of_room ? fmt::format("a sequence may have {} tokens, its prompt included", options_.max_length)
                              : summary_.faults.front().examples.front());
  }

  const RecordOptions& options_;
  RecordEncoder encoder_;
  RecordCacheWriter writer_;
  RecordSummary summary_;
};

}  // namespace

std::uint64_t record_cache_key(const RecordOptions& options, std::span<const std::uint64_t> file_hashes,
                               const Tokenizer& tokenizer) {
  constexpr int rules = 1;  // to be raised when the same records become other tokens
  std::string all = fmt::format("records {}\n{}\n{:016x}\n{} {} {} {}\n", rules, record_kind_name(options.kind),
                                tokenizer.hash(), options.max_length, static_cast<int>(options.long_records),
                                static_cast<int>(options.bad_records), options.longest_line);
  for (const Role role : {Role::system, Role::user, Role::assistant, Role::tool}) {
    const RoleMarkers& markers = options.markers.of(role);
    // The lengths keep two different pairs from being spelled alike.
    all += fmt::format("{} {}\n{}{}\n", markers.prefix.size(), markers.suffix.size(), markers.prefix, markers.suffix);
  }
  all += options.markers.assistant_only ? "assistant only\n" : "all\n";
  for (const std::uint64_t hash : file_hashes) all += fmt::format("{:016x}\n", hash);
  return XXH3_64bits(all.data(), all.size());
}

void build_record_cache(const RecordOptions& options, std::span<const std::uint64_t> file_hashes,
                        const Tokenizer& tokenizer, const std::string& path, std::uint64_t key,
                        const Progress& progress) {
  // Enough to keep the threads busy, little enough to hold.
  constexpr std::int64_t most_bytes = std::int64_t{4} << 20;
  constexpr std::size_t most_lines = 16384;
  CacheBuilder builder(options, tokenizer, path, key);
  std::int64_t total = 0, before = 0;
  for (const std::string& file : options.files) total += InputFile(file).size();
  for (std::size_t file = 0; file < options.files.size(); ++file) {
    LineReader reader(options.files[file], options.longest_line);
    std::vector<Line> lines;
    std::int64_t bytes = 0;
    const auto flush = [&] {
      builder.take(lines, file);
      lines.clear();
      bytes = 0;
      if (progress) progress(before + reader.bytes_read(), total);
    };
    while (std::optional<Line> line = reader.next()) {
      bytes += static_cast<std::int64_t>(line->text.size());
      lines.push_back(std::move(*line));
      if (bytes >= most_bytes || lines.size() == most_lines) flush();
    }
    flush();
    if (reader.hash() != file_hashes[file]) {
      throw Error(Exit::bad_data, options.files[file] + ": changed while it was being read",
                  "start again when nothing writes to it");
    }
    before += reader.size();
  }
  builder.finish();
}

}  // namespace nll
