// TrainData: where a run's text or records come from, opened and checked against its config.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "src/config/config.h"
#include "src/eval/evaluate.h"
#include "src/text/loader.h"
#include "src/text/tokenizer.h"
#include "src/train/record_data.h"

namespace nll {

struct TrainData {
  std::unique_ptr<TokenDataset> train, validation;  // plain text; validation may be absent
  std::unique_ptr<RecordData> records;              // everything else
  std::optional<Tokenizer> tokenizer;               // may be absent: then there are no bits per byte and no samples
  TokenLengths lengths;
  std::uint64_t fingerprint() const;
};
// What a trainer begins with.
struct TrainInputs {
  TrainData data;
  std::string initial_weights, reference;  // folders of models; empty: none
  std::string cache_folder;                // of records and of what a reference says of them
};
// Plain text.
TrainData open_train_data(const Config& config);

}  // namespace nll
