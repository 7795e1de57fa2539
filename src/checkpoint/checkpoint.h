// Checkpoints of a run: RUN/checkpoints/step_00001000/, each a Hugging Face folder plus the training state and a
// manifest. A checkpoint appears by one rename and is complete from then on; what is torn or corrupt is never loaded.
// Protocol and layout: docs/checkpoints.md.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "src/checkpoint/file_ops.h"
#include "src/checkpoint/safetensors.h"

namespace nll {

// What is saved: model.safetensors, optimizer.safetensors and text files (config.json, tokenizer.json, state.json,
// ...).
struct CheckpointContent {
  std::int64_t step = 0;
  std::vector<NamedTensor> weights;             // Hugging Face names, host memory
  std::vector<NamedTensor> optimizer;           // "m/<name>", "v/<name>"
  std::map<std::string, std::string> texts;     // file name -> content
  std::map<std::string, std::string> manifest;  // extra facts for manifest.json: build, config hash, dataset, ...
};

struct KeepRules {
  std::int64_t keep_last = 2, keep_every = 0;
  std::optional<std::int64_t> best_step;  // kept as well
};

class CheckpointStore {
 public:
  // `run` is the run's folder. Removes leftovers (tmp.*, trash.*) of an interrupted save: the caller holds the run's
  // lock.
  CheckpointStore(FileOps& files, std::string run);
  // Writes and publishes; returns its folder. On any failure the partial folder is removed, older checkpoints stay, and
  // Error(io) or Error(resources) (needed and free bytes) is thrown.
  std::string save(const CheckpointContent& content);
  // Removes what the rules do not keep; never the newest.
  void prune(const KeepRules& rules);
  std::vector<std::int64_t> steps() const;  // published, ascending, verified or not
  std::string folder(std::int64_t step) const;

  // The newest checkpoint that verifies; refused(folder, why) is told of each newer one that does not. Nothing when
  // there is no checkpoint at all; Error(no_checkpoint) when there are some and none is usable.
  std::optional<std::int64_t> newest_intact(
      const std::function<void(const std::string& folder, const std::string& why)>& refused) const;

 private:
  FileOps* files_;
  std::string run_;
};

// A folder opened for reading: a checkpoint of ours (the manifest's sizes are checked) or any Hugging Face folder.
class CheckpointFolder {
 public:
  CheckpointFolder(FileOps& files, const std::string& path);
  bool has_manifest() const;
  std::string text(const std::string& name) const;  // content of a text file; Error names the file
  bool has(const std::string& name) const;
  SafetensorsFile weights() const;                             // model.safetensors
  SafetensorsFile optimizer() const;                           // optimizer.safetensors
  const std::map<std::string, std::string>& manifest() const;  // extra facts given at the save

 private:
  FileOps* files_;
  std::string path_;
  std::map<std::string, std::string> manifest_;
  bool has_manifest_ = false;
};

// Reads every byte of a checkpoint and compares sizes and xxh3 checksums with its manifest. Returns what is wrong, one
// line a finding; empty: intact. `progress` is told bytes done and in all.
std::vector<std::string> verify_checkpoint(FileOps& files, const std::string& folder,
                                           const std::function<void(std::int64_t, std::int64_t)>& progress = {});

// RUN or a checkpoint folder or a Hugging Face folder -> the folder to read: for a run its newest intact checkpoint.
// Throws Error(no_checkpoint) that says what was looked for where.
std::string resolve_checkpoint(FileOps& files, const std::string& path,
                               const std::function<void(const std::string& folder, const std::string& why)>& refused);

// Exclusive hold of a run folder (flock on RUN/run.lock, holder's host, pid and start time inside), released when
// destroyed.
class RunLock {
 public:
  explicit RunLock(const std::string& run);  // Error(usage) that names the holder
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace nll
