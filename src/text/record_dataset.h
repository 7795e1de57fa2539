// The records of .jsonl files as token sequences: tokenized once, kept in a cache file, read one by one.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "src/text/batch.h"
#include "src/text/chat_markers.h"
#include "src/text/record.h"
#include "src/text/record_cache.h"
#include "src/text/record_encoder.h"
#include "src/text/record_summary.h"
#include "src/text/tokenizer.h"

namespace nll {

enum class BadRecords {
  stop,  // at the first one
  skip   // count them and go on
};

struct RecordOptions {
  std::vector<std::string> files;  // .jsonl, read in this order
  RecordKind kind = RecordKind::supervised;
  ChatMarkers markers{};
  std::int64_t max_length = 1024;  // tokens of a sequence, prompt included; at least 2
  LongRecords long_records = LongRecords::cut;
  BadRecords bad_records = BadRecords::stop;
  std::int64_t longest_line = std::int64_t{1} << 24;  // bytes
  // Where the cache is looked for and written; made where it is missing. Ranks that share the folder should not make
  // the cache at once: one first, then the others.
  std::string cache_folder;
  int threads = 1;
};

// A sequence of a record as tokens, and which of them are to be predicted.
struct RecordSequence {
  SequenceInfo info;
  std::vector<std::int32_t> tokens;
  std::vector<TokenSpan> trained;
};

class RecordDataset {
 public:
  // Tokenizes the files, or reads the cache that is there for them. `progress` counts bytes of the files. Throws
  // Error(bad_data) that names file, line and field, and where no record is left; Error(io) or Error(resources) where
  // the cache cannot be written.
  RecordDataset(const RecordOptions& options, const Tokenizer& tokenizer, const Progress& progress = {});

  RecordKind kind() const { return kind_; }
  std::int64_t records() const { return cache_.records(); }
  std::int64_t longest() const { return cache_.summary().longest; }  // tokens of a sequence, at most
  std::int64_t widest() const { return cache_.summary().widest; }    // sequences of a record, at most
  std::int32_t padding() const { return padding_; }                  // the end of text, or 0
  const RecordSummary& summary() const { return cache_.summary(); }
  // What the user should be told of the cache: where it is, whether it was made now, and why.
  const std::vector<std::string>& notices() const { return notices_; }
  // Of all tokens, masks, labels and margins: the same for the same records, however they were read.
  std::uint64_t fingerprint() const;

  // Of record [0, records()), by role. Safe for use by several threads.
  std::vector<RecordSequence> sequences(std::int64_t record) const;
  std::string columns(std::int64_t record) const;  // prompt_only: the record as JSON
  std::string place(std::int64_t record) const;    // "<file>:<line>"

 private:
  RecordCache open_cache(const RecordOptions& options, const Tokenizer& tokenizer, const Progress& progress);

  RecordKind kind_;
  std::int32_t padding_;
  std::vector<std::string> files_, notices_;
  RecordCache cache_;
};

}  // namespace nll
