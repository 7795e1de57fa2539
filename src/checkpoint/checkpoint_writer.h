// Writes all files of a checkpoint into a new folder, durably: space first, then bytes and checksums, then the
// manifest.
#pragma once
#include <string>

#include "src/checkpoint/checkpoint.h"

namespace nll {

// `folder` must not exist. When this returns, every file and the folder's entries are on the disk. Error(resources)
// names needed and free bytes, Error(io) the file; the folder is then left for the caller to remove.
void write_checkpoint(FileOps& files, const std::string& folder, const CheckpointContent& content);

}  // namespace nll
