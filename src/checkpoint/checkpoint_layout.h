// Where the checkpoints of a run are and which of them are published. Reads only: safe beside a run that is saving.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/checkpoint/file_ops.h"

namespace nll {

inline constexpr const char* weights_file = "model.safetensors";
inline constexpr const char* weights_index_file = "model.safetensors.index.json";
inline constexpr const char* optimizer_file = "optimizer.safetensors";

std::string checkpoints_folder(const std::string& run);             // RUN/checkpoints
std::string step_folder_name(std::int64_t step);                    // step_00001000
std::optional<std::int64_t> step_of_folder(std::string_view name);  // nothing for any other name

// Ascending; empty when there is no checkpoints folder. Error(io) when it cannot be listed.
std::vector<std::int64_t> published_steps(FileOps& files, const std::string& run);

// As CheckpointStore::newest_intact.
std::optional<std::int64_t> newest_intact_step(
    FileOps& files, const std::string& run,
    const std::function<void(const std::string& folder, const std::string& why)>& refused);

}  // namespace nll
