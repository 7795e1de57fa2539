#include <fmt/format.h>

#include <algorithm>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/checkpoint_layout.h"
#include "src/checkpoint/file_io.h"
#include "src/checkpoint/manifest.h"
#include "src/checkpoint/quoted.h"
#include "src/checkpoint/shard_index.h"

namespace nll {

CheckpointFolder::CheckpointFolder(FileOps& files, const std::string& path) : files_(&files), path_(path) {
  std::vector<std::string> listed;
  const int result = retry_interrupted([&] { return files.list(path, listed); });
  if (result < 0) throw Error(Exit::no_checkpoint, path + ": " + folder_error_text(result));
  has_manifest_ = std::find(listed.begin(), listed.end(), manifest_name) != listed.end();
  if (!has_manifest_) {
    names_ = std::move(listed);
    return;
  }
  const std::string place = path + "/" + manifest_name;
  Manifest manifest = parse_manifest(read_whole_file(files, place, manifest_max_bytes, Exit::no_checkpoint), place);
  step_ = manifest.step;
  manifest_ = std::move(manifest.facts);
  names_.emplace_back(manifest_name);
  for (const ManifestFile& entry : manifest.files) {
    const std::string file = path + "/" + entry.name;
    const OpenedFile opened = open_regular_file(files, file);
    if (opened.error != 0) throw Error(Exit::no_checkpoint, fmt::format("{}: {}", file, open_error_text(opened.error)));
    if (opened.bytes != entry.bytes) {
      throw Error(Exit::no_checkpoint,
                  fmt::format("{}: {} bytes (the manifest says {})", file, opened.bytes, entry.bytes));
    }
    names_.push_back(entry.name);
  }
}

bool CheckpointFolder::has(const std::string& name) const {
  return std::find(names_.begin(), names_.end(), name) != names_.end();
}

std::string CheckpointFolder::text(const std::string& name) const {
  CHECK(is_plain_file_name(name) == true);
  const std::string file = path_ + "/" + name;
  if (!has(name)) throw Error(Exit::no_checkpoint, file + (has_manifest_ ? ": not in the manifest" : ": no such file"));
  constexpr std::int64_t largest = 256 << 20;
  return read_whole_file(*files_, file, largest, Exit::no_checkpoint);
}

SafetensorsFile CheckpointFolder::weights() const {
  if (has(weights_file)) return {*files_, path_ + "/" + weights_file};
  if (!has(weights_index_file)) {
    throw Error(Exit::no_checkpoint,
                fmt::format("{}: no weights (looked for {} and {})", path_, weights_file, weights_index_file));
  }
  const std::string place = path_ + "/" + weights_index_file;
  const ShardIndex index = parse_shard_index(text(weights_index_file), place);
  const std::vector<std::string> shards = index.files();
  std::vector<std::string> paths;
  for (const std::string& shard : shards) paths.push_back(path_ + "/" + shard);
  SafetensorsFile weights(*files_, paths);
  for (const auto& [tensor, shard] : index.weight_map) {
    const auto found = weights.header().tensors.find(tensor);
    if (found == weights.header().tensors.end() || shards[static_cast<std::size_t>(found->second.part)] != shard) {
      throw Error(Exit::bad_data,
                  fmt::format("{}: weight_map: tensor {} is not in {}", place, quoted_text(tensor), shard));
    }
  }
  return weights;
}

OptimizerMoments CheckpointFolder::optimizer() const {
  const std::vector<std::string> found = optimizer_files(names_, path_);
  if (found.empty()) {
    throw Error(Exit::no_checkpoint,
                path_ + "/" + optimizer_file + (has_manifest_ ? ": not in the manifest" : ": no such file"));
  }
  return {*files_, path_, found};
}

}  // namespace nll
