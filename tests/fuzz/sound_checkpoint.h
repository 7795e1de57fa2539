// The files of a small sound checkpoint, and its manifest without the checksum line at the end.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "src/checkpoint/hash.h"
#include "src/checkpoint/manifest.h"
#include "src/checkpoint/safetensors.h"

namespace nll::fuzz {

inline std::map<std::string, std::string> sound_files() {
  const std::string header = make_safetensors_header({}, {{"format", "pt"}});
  std::string weights(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) weights[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  weights += header;
  return {{"config.json", "{}"}, {"model.safetensors", weights}, {"optimizer.safetensors", weights}};
}

inline std::string checksum_line(const std::string& body) { return "xxh3 " + hash_64(body) + "\n"; }

inline std::string sound_manifest_body() {
  Manifest manifest;
  manifest.step = 10;
  manifest.facts = {{"build", "0"}, {"config", "1"}};
  for (const auto& [name, content] : sound_files()) {
    Hash128 hash;
    hash.update(content.data(), static_cast<std::int64_t>(content.size()));
    manifest.files.push_back({name, static_cast<std::int64_t>(content.size()), hash.digest()});
  }
  const std::string text = make_manifest(manifest);
  return text.substr(0, text.rfind("xxh3 "));
}

}  // namespace nll::fuzz
