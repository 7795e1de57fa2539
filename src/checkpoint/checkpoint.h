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
#include "src/checkpoint/optimizer_moments.h"
#include "src/checkpoint/ranks.h"
#include "src/checkpoint/safetensors.h"

namespace nll {

class Collective;

// What is saved: model.safetensors, optimizer.safetensors and text files (config.json, tokenizer.json, state.json,
// ...). Of ranks other than 0 only `step` and `optimizer` are looked at.
struct CheckpointContent {
  std::int64_t step = 0;
  std::vector<NamedTensor> weights;             // Hugging Face names, host memory
  std::vector<NamedTensor> optimizer;           // "m/<name>", "v/<name>", or slices of them: "m/<name>@<begin>"
  std::map<std::string, std::string> texts;     // file name -> content
  std::map<std::string, std::string> manifest;  // extra facts for manifest.json: build, config hash, dataset, ...
};

struct KeepRules {
  std::int64_t keep_last = 2, keep_every = 0;
  std::optional<std::int64_t> best_step;  // kept as well
};

class CheckpointStore {
 public:
  // `run` is the run's folder. Removes leftovers (tmp.*, trash.*) of an interrupted save, and puts back a checkpoint
  // whose replacement was cut short: the caller holds the run's lock.
  CheckpointStore(FileOps& files, std::string run);
  // The store of a rank other than 0: changes nothing by itself; leaves cleaning, publishing and pruning to rank 0.
  static CheckpointStore of_other_rank(FileOps& files, std::string run);
  // Writes and publishes; returns its folder. On any failure the partial folder is removed, older checkpoints stay, and
  // Error(io) or Error(resources) (needed and free bytes) is thrown. A checkpoint of the same step is replaced.
  std::string save(const CheckpointContent& content);
  // The same by all ranks of a job, each with its part of the optimizer's tensors in a file of its own. All ranks
  // return or all throw the same Error, unless a rank is lost on the way: Error(peer_lost).
  std::string save(const CheckpointContent& content, Ranks& ranks);
  std::string save(const CheckpointContent& content, Collective& collective);
  // Removes what the rules do not keep; never the newest. Returns one line for each that could not be removed: worth a
  // warning, no reason to stop, and tried again at the next call. On ranks other than 0: nothing.
  std::vector<std::string> prune(const KeepRules& rules);
  std::vector<std::int64_t> steps() const;  // published, ascending, verified or not
  std::string folder(std::int64_t step) const;

  // The newest checkpoint that verifies; refused(folder, why) is told of each newer one that does not. Nothing when
  // there is no checkpoint at all; Error(no_checkpoint) when there are some and none is usable.
  std::optional<std::int64_t> newest_intact(
      const std::function<void(const std::string& folder, const std::string& why)>& refused) const;

 private:
  enum class Role { first, other };
  CheckpointStore(FileOps& files, std::string run, Role role);
  void make_checkpoints_folder();
  void publish(const std::string& partial, const std::string& name);
  FileOps* files_;
  std::string run_;
  Role role_;
  bool folder_is_durable_ = false;  // RUN/checkpoints and the folders above it are on the disk
};

// A folder opened for reading: a checkpoint of ours (the manifest and the sizes are checked; checksums are
// verify_checkpoint's and resolve_checkpoint's) or any Hugging Face folder.
class CheckpointFolder {
 public:
  CheckpointFolder(FileOps& files, const std::string& path);  // Error(no_checkpoint)
  const std::string& path() const { return path_; }
  bool has_manifest() const { return has_manifest_; }
  std::int64_t step() const { return step_; }  // the manifest's; -1 without one
  // Content of a text file, at most 256 MiB; Error(no_checkpoint) names the file.
  std::string text(const std::string& name) const;
  // With a manifest: it lists `name`. Without: the folder holds it.
  bool has(const std::string& name) const;
  // model.safetensors, or the shards that model.safetensors.index.json names, as one.
  SafetensorsFile weights() const;
  OptimizerMoments optimizer() const;  // whatever ranks wrote it
  // Extra facts given at the save.
  const std::map<std::string, std::string>& manifest() const { return manifest_; }

 private:
  FileOps* files_;
  std::string path_;
  std::map<std::string, std::string> manifest_;
  std::vector<std::string> names_;
  std::int64_t step_ = -1;
  bool has_manifest_ = false;
};

// Reads every byte of a checkpoint and compares sizes and xxh3 checksums with its manifest. Returns what is wrong, one
// line a finding; empty: intact. `progress` is told bytes done and in all.
std::vector<std::string> verify_checkpoint(FileOps& files, const std::string& folder,
                                           const std::function<void(std::int64_t, std::int64_t)>& progress = {});

// RUN or a checkpoint folder or a Hugging Face folder -> the folder to read: for a run its newest intact checkpoint.
// A checkpoint is verified, changes nothing on the disk. Error(no_checkpoint) says what was looked for where.
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
