// A save by several ranks, each a thread of this process, into one file system in memory.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/checkpoint/rank_file_ops.h"
#include "tests/checkpoint/sliced_checkpoint.h"

namespace nll::testing {

struct RankOutcome {
  std::string folder;  // where it was saved; empty: it was not
  bool killed = false;
  std::optional<Exit> exit;
  std::string message, hint;
  std::vector<std::string> log;  // file calls
};

// `plan` is that of the rank `faulty`. A killed rank leaves the job. `own_disk`: what the last rank sees instead.
std::vector<RankOutcome> save_by_ranks(MemoryFileOps& disk, const std::string& run, const SlicedCheckpoint& sample,
                                       int faulty = -1, const FaultPlan& plan = {}, MemoryFileOps* own_disk = nullptr);

}  // namespace nll::testing
