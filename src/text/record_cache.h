// Tokenized records in one file, so that a run starts at once and never holds all of them: docs/records.md.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/text/input_file.h"
#include "src/text/record_encoder.h"
#include "src/text/record_summary.h"

namespace nll {

// One record as it is kept.
struct StoredRecord {
  std::int64_t file = 0, line = 0;  // where it came from: index among the files, line from 1
  bool label = true;
  double margin = 0;
  std::vector<EncodedSequence> sequences;
  std::string columns;
};

// Writes under a temporary name; the file has its own only after finish().
class RecordCacheWriter {
 public:
  RecordCacheWriter(const std::string& path, std::uint64_t key);
  ~RecordCacheWriter();
  void append(const EncodedRecord& record, std::int64_t file, std::int64_t line);
  void finish(const RecordSummary& summary);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

class RecordCache {
 public:
  // Reads the whole file once and checks it. Throws Error(bad_data) with what is wrong with it: no such file, made from
  // something else (`key`), damaged.
  RecordCache(const std::string& path, std::uint64_t key, std::int64_t vocabulary);
  std::int64_t records() const { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  const RecordSummary& summary() const { return summary_; }
  std::uint64_t hash() const { return hash_; }  // of all records
  // Safe for use by several threads. Throws Error(bad_data) when the file was damaged since.
  StoredRecord read(std::int64_t record) const;

 private:
  [[noreturn]] void refuse(const std::string& what) const;
  InputFile file_;
  std::int64_t vocabulary_;
  std::vector<std::uint64_t> offsets_;  // of each record in the file, and the end of the last
  RecordSummary summary_;
  std::uint64_t hash_ = 0;
};

}  // namespace nll
