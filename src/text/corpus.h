// From text to a folder of token shards: what `nll tokenize` does.
// Folder: tokenizer.json, train_00000.bin ..., validation_00000.bin ... It is made under a temporary name beside its
// own and renamed when all of it is on disk, so a folder of that name is always complete.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace nll {

struct CorpusOptions {
  std::vector<std::string> inputs;  // files, folders, globs: plain text (a document a file), .jsonl (a document a line)
  std::string output;               // a folder that does not exist yet, or is empty
  std::int64_t vocabulary = 0;      // size of a tokenizer to train on the training part; 0 where `tokenizer` is given
  std::string tokenizer;            // path as Tokenizer::load takes it; empty where one is trained
  // The part of the input, by bytes and at its end, that becomes validation: 0 for none. Where a document begins near
  // enough (so that between half and twice of this is held out) the parts are cut there, else at the end of a line.
  double validation_fraction = 0.05;
  std::int64_t shard_tokens = 100'000'000;
  std::int64_t training_bytes = std::int64_t{1} << 30;  // of text that a tokenizer is trained on: evenly spaced parts
  int threads = 1;
};

struct CorpusSplit {
  std::int64_t documents = 0;   // a document parted between the splits counts in both
  std::int64_t bytes = 0;       // of text
  std::int64_t characters = 0;  // code points
  std::int64_t tokens = 0;      // with one <|endoftext|> a document, where the tokenizer has it
  std::int64_t shards = 0;
};

struct CorpusSummary {
  CorpusSplit train, validation;
  std::int64_t vocabulary = 0;
  std::uint64_t tokenizer_hash = 0;
  double bytes_per_token() const;  // over both splits
};

// What is being done ("reading", "training the tokenizer", "tokenizing") and how far it is, in bytes. May throw to
// stop: the output folder then does not exist.
using CorpusProgress = std::function<void(std::string_view phase, std::int64_t done, std::int64_t total)>;

// Throws Error(usage) on options that contradict each other or an output folder that is not empty, Error(bad_data) on
// bad input, Error(io) or Error(resources) when writing fails.
CorpusSummary tokenize_corpus(const CorpusOptions& options, const CorpusProgress& progress = {});

}  // namespace nll
