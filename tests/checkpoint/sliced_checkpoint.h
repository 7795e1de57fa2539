// A small checkpoint as the ranks of a job hold it: rank 0 has the weights and texts, each rank its parts of the
// moments. Every value follows from its name and place, and from a variant.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "src/checkpoint/checkpoint.h"

namespace nll::testing {

class SlicedCheckpoint {
 public:
  SlicedCheckpoint(std::int64_t step, int ranks, int variant = 0);
  // The same moments, read from a checkpoint by `ranks` ranks, each the elements that it owns.
  SlicedCheckpoint(FileOps& files, const std::string& folder, int ranks, int variant = 0);
  SlicedCheckpoint(const SlicedCheckpoint&) = delete;
  SlicedCheckpoint& operator=(const SlicedCheckpoint&) = delete;

  int ranks() const { return static_cast<int>(contents_.size()); }
  const CheckpointContent& content(int rank) const { return contents_[static_cast<std::size_t>(rank)]; }
  // What the checkpoint in `folder` does not share with this one, down to the bit; empty: nothing.
  std::string difference(FileOps& files, const std::string& folder) const;

 private:
  void describe(std::int64_t step, int variant);
  void cut(int ranks);
  std::map<std::string, std::vector<std::int64_t>> shapes_;
  std::map<std::string, std::vector<float>> values_;  // of whole tensors, weights and moments
  std::vector<CheckpointContent> contents_;
};

// Contents of all files of a folder by name.
std::map<std::string, std::string> files_of(FileOps& files, const std::string& folder);

}  // namespace nll::testing
