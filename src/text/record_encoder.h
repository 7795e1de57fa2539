// Records to token sequences: prompt and completion are tokenized apart and put together, as generation sees them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "src/text/chat_markers.h"
#include "src/text/record.h"
#include "src/text/tokenizer.h"

namespace nll {

// Tokens [begin, end) of a sequence.
struct TokenSpan {
  std::int32_t begin = 0, end = 0;
  bool operator==(const TokenSpan&) const = default;
};

struct EncodedSequence {
  std::vector<std::int32_t> tokens;
  std::int64_t prompt_tokens = 0;  // leading tokens that are given; at least 1
  std::vector<TokenSpan> trained;  // what is to be predicted: ascending, apart, inside [prompt_tokens, tokens)
  bool truncated = false;
};

enum class LongRecords {
  cut,  // each sequence at its end, to the length allowed
  drop  // the whole record
};

struct EncodedRecord {
  enum class Fate {
    kept,
    nothing_left,  // a sequence has no token to be predicted
    too_long
  };
  Fate fate = Fate::kept;
  std::vector<EncodedSequence> sequences;  // by SequenceInfo::role; empty unless kept
  bool label = true;
  double margin = 0;
  std::string columns;
};

// Safe for use by several threads. The tokenizer must live as long.
class RecordEncoder {
 public:
  // `max_length`: tokens of a sequence, prompt included.
  RecordEncoder(const Tokenizer& tokenizer, ChatMarkers markers, std::int64_t max_length, LongRecords long_records);
  EncodedRecord encode(const Record& record) const;

 private:
  class Row;
  EncodedSequence encode_whole(const Passage& passage) const;
  EncodedSequence encode_completion(const std::vector<std::int32_t>& prompt, const Passage& completion,
                                    bool continued) const;
  std::vector<std::int32_t> encode_prompt(const Passage& prompt) const;
  std::vector<std::int32_t> marker(std::string_view text) const;
  void finish(EncodedRecord& record) const;

  const Tokenizer& tokenizer_;
  ChatMarkers markers_;
  std::int64_t max_length_;
  LongRecords long_records_;
  std::vector<std::pair<std::string, std::int32_t>> special_;  // names, the longest first
};

}  // namespace nll
