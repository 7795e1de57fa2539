#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "kernels/check.h"
#include "src/config/quote.h"
#include "src/text/path_patterns.h"
#include "src/text/token_files.h"

namespace nll {
namespace {

// The shards of a split in a folder: of `nll tokenize` (train_00000.bin), of nanoGPT (train.bin, val.bin) or of llm.c
// (fineweb_train_000001.bin, fineweb_val_000000.bin). The first of these ways of naming that finds any decides.
std::vector<std::string> shards_in_folder(const std::string& folder, const std::string& split) {
  const std::string short_name = split == "validation" ? "val" : split;
  const std::vector<std::string> names = names_in_folder(folder);
  const auto with = [&](const auto& belongs) {
    std::vector<std::string> paths;
    for (const std::string& name : names) {
      if (name.ends_with(".bin") && belongs(name)) paths.push_back((std::filesystem::path(folder) / name).string());
    }
    return paths;
  };
  std::vector<std::string> paths = with([&](const std::string& name) { return name.starts_with(split + "_"); });
  if (paths.empty()) {
    paths = with([&](const std::string& name) { return name == split + ".bin" || name == short_name + ".bin"; });
  }
  if (paths.empty()) {
    paths = with([&](const std::string& name) { return name.find("_" + short_name + "_") != std::string::npos; });
  }
  if (paths.empty()) {
    throw Error(Exit::bad_data,
                fmt::format("{}: no {} shards in this folder (expected {}_00000.bin and so on)", folder, split, split));
  }
  return paths;
}

}  // namespace

std::vector<std::string> find_token_files(const std::vector<std::string>& patterns, const std::string& split) {
  const bool known = split == "train" || split == "validation";
  CHECK(known);
  std::vector<std::string> found;
  for (const std::string& pattern : patterns) {
    const std::vector<std::string> matches = matching_paths(pattern);
    if (matches.empty()) {
      throw Error(Exit::bad_data,
                  fmt::format("{}: no such file or folder, and no glob that matches any", in_quotes(pattern)),
                  "make shards from text with: nll tokenize TEXT --output FOLDER");
    }
    for (const std::string& path : matches) {
      if (!is_folder(path)) {
        found.push_back(path);
        continue;
      }
      const std::vector<std::string> shards = shards_in_folder(path, split);
      found.insert(found.end(), shards.begin(), shards.end());
    }
  }
  std::sort(found.begin(), found.end());
  // The same file under two names ("a.bin", "./a.bin", a link) is one file.
  std::set<std::string> seen;
  std::erase_if(found, [&](const std::string& path) {
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(path, error);
    return !seen.insert(error ? path : real.string()).second;
  });
  return found;
}

}  // namespace nll
