// The optimizer's tensors of a checkpoint, whatever ranks wrote them: whole ones, and slices "<name>@<begin>" of which
// "<begin>" is the first element and the file's metadata says the shape of the whole. A reader asks for elements of
// tensors, so a checkpoint of any number of ranks is read by any other.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/checkpoint/safetensors.h"

namespace nll {

class OptimizerMoments {
 public:
  // `names`: the files of `folder` to read. Reads their headers; Error(bad_data) lists up to ten tensors whose slices
  // do not cover all of it exactly once or do not agree on its shape and type.
  OptimizerMoments(FileOps& files, const std::string& folder, const std::vector<std::string>& names);

  const std::map<std::string, std::vector<std::int64_t>>& shapes() const { return shapes_; }  // of whole tensors
  // Elements [begin, begin + n) of a tensor in memory's order into a `destination` of shape (n); reads those bytes
  // only. Types as SafetensorsFile::read.
  void read(const std::string& name, std::int64_t begin, Tensor destination);

 private:
  struct Slice {
    std::int64_t begin = 0, end = 0;
    std::size_t file = 0;
    std::string key;  // its name in the file
    std::string dtype;
  };
  void add(const std::string& key, const SafetensorsEntry& entry, std::size_t file,
           const std::map<std::string, std::string>& metadata, std::vector<std::string>& problems);
  std::string coverage_problem(const std::string& name, std::vector<Slice>& slices) const;
  const SafetensorsFile& open(std::size_t file);

  FileOps* files_;
  std::string folder_;
  std::vector<std::string> names_;
  std::map<std::string, std::vector<std::int64_t>> shapes_;
  std::map<std::string, std::vector<Slice>> slices_;  // ascending
  // One file is open at a time: there may be more of them than a process may open.
  std::optional<SafetensorsFile> open_;
  std::size_t open_file_ = 0;
};

}  // namespace nll
