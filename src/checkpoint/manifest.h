// manifest.json of a checkpoint: which files it has, their sizes and checksums. Written last, so that a folder whose
// manifest is whole is whole. Its last line is "xxh3 <16 hex digits>", the XXH3-64 of all bytes before that line.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace nll {

inline constexpr const char* manifest_name = "manifest.json";
inline constexpr std::int64_t manifest_max_bytes = 16 << 20;

struct ManifestFile {
  std::string name;  // plain, inside the checkpoint's folder
  std::int64_t bytes = 0;
  std::string xxh3;  // Hash128::digest()
};

struct Manifest {
  std::int64_t step = 0;
  std::map<std::string, std::string> facts;  // about the run: build, config hash, dataset, ...
  std::vector<ManifestFile> files;
  std::int64_t ranks = 1;  // that wrote the checkpoint; nothing that they wrote depends on it
};

std::string make_manifest(const Manifest& manifest);
// Error(no_checkpoint) that names `place` and what is wrong. A newer major version is refused, unknown keys are
// ignored.
Manifest parse_manifest(std::string_view text, const std::string& place);

// True for a name that can only mean a file of the same folder: letters, digits, '.', '_', '-', not starting with '.',
// at most 255 bytes.
bool is_plain_file_name(std::string_view name);

}  // namespace nll
