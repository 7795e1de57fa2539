// From record files to a record cache.
#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "src/text/record_dataset.h"
#include "src/text/tokenizer.h"

namespace nll {

// What the cache of these files and settings is told by: the bytes of the files, tokenizer, markers and every other
// setting that has a say in what is kept.
std::uint64_t record_cache_key(const RecordOptions& options, std::span<const std::uint64_t> file_hashes,
                               const Tokenizer& tokenizer);

// Reads, checks and tokenizes the records on options.threads threads and writes the cache `path`. The same bytes at any
// number of threads. Throws as RecordDataset does, also where a file's hash is no longer the one given.
void build_record_cache(const RecordOptions& options, std::span<const std::uint64_t> file_hashes,
                        const Tokenizer& tokenizer, const std::string& path, std::uint64_t key,
                        const Progress& progress);

}  // namespace nll
