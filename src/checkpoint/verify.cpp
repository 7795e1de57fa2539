#include <fmt/format.h>

#include <algorithm>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/checkpoint_layout.h"
#include "src/checkpoint/file_io.h"
#include "src/checkpoint/manifest.h"

namespace nll {
namespace {

std::string without_folder(const std::string& message, const std::string& folder) {
  if (message.starts_with(folder + "/")) return message.substr(folder.size() + 1);
  return message.starts_with(folder + ": ") ? message.substr(folder.size() + 2) : message;
}

// A step's manifest copied into another step's folder would load as the wrong step.
void check_step(const std::string& folder, const Manifest& manifest, std::vector<std::string>& findings) {
  const std::string name = folder.substr(folder.rfind('/') + 1);
  const auto step = step_of_folder(name);
  if (step && *step != manifest.step) {
    findings.push_back(fmt::format("{}: step: {} (the folder is {})", manifest_name, manifest.step, name));
  }
}

}  // namespace

std::vector<std::string> verify_checkpoint(FileOps& files, const std::string& folder,
                                           const std::function<void(std::int64_t, std::int64_t)>& progress) {
  std::vector<std::string> findings;
  const auto note = [&](const Error& error) { findings.push_back(without_folder(error.what(), folder)); };
  Manifest manifest;
  try {
    const std::string place = folder + "/" + manifest_name;
    manifest = parse_manifest(read_whole_file(files, place, manifest_max_bytes, Exit::no_checkpoint), place);
  } catch (const Error& error) {
    note(error);
    return findings;
  }
  check_step(folder, manifest, findings);

  // Sizes of all files first: cheap, and the sum that progress needs is then of bytes that exist.
  std::vector<std::pair<const ManifestFile*, OpenFile>> to_hash;
  std::int64_t all = 0, done = 0;
  for (const ManifestFile& entry : manifest.files) {
    OpenedFile opened = open_regular_file(files, folder + "/" + entry.name);
    if (opened.error != 0) {
      findings.push_back(fmt::format("{}: {}", entry.name, open_error_text(opened.error)));
    } else if (opened.bytes != entry.bytes) {
      findings.push_back(fmt::format("{}: {} bytes (the manifest says {})", entry.name, opened.bytes, entry.bytes));
    } else {
      all += entry.bytes;
      to_hash.emplace_back(&entry, std::move(opened.file));
    }
  }
  std::int64_t piece = 0;
  for (const auto& [entry, file] : to_hash) piece = std::max(piece, std::min<std::int64_t>(entry->bytes, 4 << 20));
  std::vector<char> buffer(static_cast<std::size_t>(piece));
  for (const auto& [entry, file] : to_hash) {
    try {
      const std::string digest = hash_file(file, entry->bytes, buffer, [&](std::int64_t bytes) {
        done += bytes;
        if (progress) progress(done, all);
      });
      if (digest != entry->xxh3) {
        findings.push_back(fmt::format("{}: checksum {} (the manifest says {})", entry->name, digest, entry->xxh3));
      } else if (entry->name.ends_with(".safetensors")) {
        const SafetensorsFile parsed(files, file.path());
      }
    } catch (const Error& error) {
      note(error);
    }
  }
  if (!findings.empty()) return findings;
  try {
    std::vector<std::string> names;
    for (const ManifestFile& entry : manifest.files) names.push_back(entry.name);
    const std::vector<std::string> optimizer = optimizer_files(names, folder);
    if (!optimizer.empty()) const OptimizerMoments whole(files, folder, optimizer);
  } catch (const Error& error) {
    note(error);
  }
  return findings;
}

}  // namespace nll
