// ReferenceSums: of each sequence of a dataset, the sum of a reference model's log-probabilities over its completion.
// Computed once before the first step, by all ranks together, and kept in a cache file for later runs.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "src/dist/collective.h"
#include "src/report/console.h"
#include "src/text/record_dataset.h"
#include "src/train/scorer.h"

namespace nll {

// All bytes of a tensor, as 32 hex digits: tells reference models apart. Of FP32 weights as they are in their arena.
std::string hash_of_tensor(Device& device, Tensor tensor);

// What the sums are a function of. `numerics` tells everything that has a say in their rounding.
struct ReferenceKey {
  std::string weights{};        // hash_of_tensor
  std::uint64_t tokenizer = 0;  // Tokenizer::hash()
  std::uint64_t dataset = 0;    // RecordDataset::fingerprint()
  std::int64_t max_length = 0;  // of RecordOptions
  std::int64_t sequences = 0, context = 0;
  std::string numerics{};  // reference_numerics()
  std::uint64_t hash() const;
};
std::string reference_numerics(const Numerics& numerics, const DeviceInfo& device, const HeadConfig& head);

class ReferenceSums {
 public:
  struct Request {
    explicit Request(const RecordDataset& of) : dataset(of) {}
    const RecordDataset& dataset;
    std::int64_t records = 0;                    // of its first so many; 0: all
    std::int64_t sequences = 1, context = 1024;  // of a micro-batch: as in training
    ReferenceKey key{};          // weights, tokenizer, max_length and numerics; the rest is filled in from here
    std::string cache_folder{};  // read and written by rank 0 only
    std::string name = "training records";  // for people
  };
  // All ranks call it and have all sums in the end. None: somebody was asked to stop, which is looked at once a
  // micro-batch. A cache that is damaged or of something else is said and made again. Throws Error(bad_data) that names
  // the record where the model's answer is not finite; Error(io) or Error(resources) where the cache cannot be written.
  static std::optional<ReferenceSums> open(const Request& request, Scorer& scorer, const GptTensors& reference,
                                           Collective& collective, Console& console,
                                           const std::function<bool()>& stop_requested);

  std::int64_t records() const { return static_cast<std::int64_t>(begins_.size()) - 1; }
  // Of the sequence of that role.
  double sum(std::int64_t record, std::int64_t role) const;
  // Of each row of a micro-batch; 0 for fillers.
  std::vector<double> rows(const Batch& batch) const;

 private:
  // A cache file's content without its header: widths (4 bytes each), then sums (8 bytes each), little-endian.
  explicit ReferenceSums(const std::string& content, std::int64_t records);
  std::vector<std::int64_t> begins_;  // of each record among the sums, and the end of the last
  std::vector<double> sums_;
};

// What a request is told by.
ReferenceKey key_of(const ReferenceSums::Request& request);
// The file of a key in a cache folder.
std::string reference_cache_path(const std::string& folder, const ReferenceKey& key, std::int64_t records);

}  // namespace nll
