// What became of the lines of record files.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/record.h"
#include "src/text/record_encoder.h"

namespace nll {

struct FaultCount {
  static constexpr std::size_t most_examples = 3;
  FaultReason reason = FaultReason::blank;
  std::int64_t count = 0;
  std::vector<std::string> examples{};  // the messages of the first few
};

struct RecordSummary {
  std::int64_t lines = 0;           // blank ones at the end of a file left out
  std::int64_t skipped = 0;         // lines that are no record
  std::int64_t nothing_left = 0;    // records dropped: of a sequence no token to be predicted was left
  std::int64_t too_long = 0;        // records dropped: longer than allowed
  std::int64_t records = 0;         // kept
  std::int64_t sequences = 0;       // of those
  std::int64_t truncated = 0;       // sequences of those that were cut at their end
  std::int64_t tokens = 0;          // prompts included
  std::int64_t trained_tokens = 0;  // to be predicted
  std::int64_t longest = 0;         // tokens of a sequence, at most
  std::int64_t widest = 0;          // sequences of a record, at most
  std::vector<FaultCount> faults;   // in the order of their first lines

  void add(const EncodedRecord& record);
  void add(const RecordFault& fault);
  // One line for people: "1204 records of 1210 lines: 4 lines skipped (missing field 3, not JSON 1), ...".
  std::string text() const;
  // What a cache keeps.
  std::string json() const;
  static std::optional<RecordSummary> from_json(std::string_view text);  // none where it is not what json() gives
};

}  // namespace nll
