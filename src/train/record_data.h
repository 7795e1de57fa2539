// The records of a run: the .jsonl files that its config names, tokenized and checked against its model.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "src/config/config.h"
#include "src/dist/world.h"
#include "src/report/console.h"
#include "src/text/record_batches.h"
#include "src/text/record_dataset.h"
#include "src/text/tokenizer.h"

namespace nll {

// The folder of tokenized records and reference log-probabilities (records.cache), of one process. It is made when
// something is written to it, before a run is sure to begin; so what was made there since is taken back unless keep()
// is called: bad input leaves nothing behind. What was there before stays in any case.
class RecordCacheFolder {
 public:
  // `keeps_all`: never takes anything back; for ranks other than 0.
  explicit RecordCacheFolder(const Config& config, bool keeps_all = false);
  ~RecordCacheFolder();
  RecordCacheFolder(const RecordCacheFolder&) = delete;
  RecordCacheFolder& operator=(const RecordCacheFolder&) = delete;
  const std::string& path() const { return path_; }
  void keep() { kept_ = true; }

 private:
  std::string path_;
  std::vector<std::string> before_;   // names of caches in it
  std::vector<std::string> missing_;  // it and the folders above it that were not there, the innermost first
  bool kept_;
};

struct RecordData {
  std::unique_ptr<RecordDataset> train, validation;                   // validation may be absent
  std::optional<Tokenizer> tokenizer;                                 // always there once it is opened
  std::string tokenizer_place;                                        // where it was read
  std::uint64_t fingerprint() const { return train->fingerprint(); }  // for TrainingState::data_fingerprint
};

// What records of an objective look like.
RecordKind record_kind_of(const ObjectiveConfig& objective);
// How the records in `files` are read. Throws Error(usage) where rollout.max_tokens leaves no room for prompts.
RecordOptions record_options(const Config& config, std::vector<std::string> files, const std::string& cache_folder,
                             int threads);
// The files that data.train or data.validation means: names and globs, in their order, none twice. Throws
// Error(bad_data) that names `key`.
std::vector<std::string> find_record_files(const std::vector<std::string>& patterns, const std::string& key);

// Tokenizes the files or reads the caches, and says on the console what became of their lines. The tokenizer is
// data.tokenizer, else the one beside run.initial_weights, else that of the newest checkpoint of the run. Where ranks
// share the folder rank 0 calls it first, then the others. Throws Error(bad_data) that names file, line and field;
// Error(usage) and Error(bad_data) that name the key.
// `threads` 0: cpu.threads, or one for each core.
RecordData open_record_data(const Config& config, const RecordCacheFolder& cache, Console& console, int threads = 0,
                            const std::function<bool()>& stop_requested = {});

// Once through a dataset in its order: a step is one micro-batch (B,T) of each rank.
RecordBatching in_order(const RecordDataset& dataset, std::int64_t sequences, std::int64_t context, const World& world);

// T of a run's micro-batches: the longest sequence, of training and validation (of rollouts: the longest prompt and
// rollout.max_tokens), rounded up to a multiple of 16, model.context at most.
std::int64_t record_context(const RecordData& data, const Config& config);
// Sequences of a record, at most: the least B (kto: at least 2).
std::int64_t record_width(const RecordData& data, const Config& config);

}  // namespace nll
