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

// Of the file with number `index` of the `count` that hold optimizer tensors, one a rank that has some:
// "optimizer.safetensors" of one, else "optimizer-00000-of-00004.safetensors", ...
std::string optimizer_file_name(std::int64_t index, std::int64_t count);
bool is_optimizer_file(std::string_view name);
// Those of `names` that are optimizer files, in order. Error(bad_data) "<place>: ... is missing" unless they are one
// file or a whole series.
std::vector<std::string> optimizer_files(const std::vector<std::string>& names, const std::string& place);

// A tensor's shape as the metadata of its slices says it: "768,3072"; and back, nothing for any other text.
std::string shape_text(const std::vector<std::int64_t>& shape);
std::optional<std::vector<std::int64_t>> parse_shape(std::string_view text);

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
