// One rank's part in the writing of a checkpoint. Rank 0 writes the weights, the texts and, at last, the manifest;
// every rank that has optimizer tensors writes them to a file of its own.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "src/checkpoint/checkpoint.h"
#include "src/dist/world.h"

namespace nll {

class CheckpointWriter {
 public:
  // Plans the files. `content` stays as it is while this lives.
  CheckpointWriter(FileOps& files, const CheckpointContent& content, const World& world);
  ~CheckpointWriter();
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;

  // Size of this rank's file of optimizer tensors; 0: it has none.
  std::int64_t optimizer_bytes() const;
  // Names the optimizer files by the sizes on all ranks.
  void settle(const std::vector<std::int64_t>& optimizer_bytes);
  // Rank 0: there is room for the files of all ranks, and makes `folder`, which must not exist. Then, on every rank:
  // creates its files there and reserves their space. Error(resources) names needed and free bytes, Error(io) the file.
  void reserve(const std::string& folder);
  // All but the manifest, durably.
  void write();
  std::string optimizer_digest() const;  // of this rank's file; empty: it has none
  // Rank 0: the files of the others are there; writes the manifest and makes the folder's entries durable.
  void write_manifest(const std::vector<std::string>& optimizer_digests);
  // Takes back the files of this rank, as far as that is possible.
  void remove();

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace nll
