#include "src/checkpoint/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/check.h"
#include "src/checkpoint/hash.h"
#include "src/checkpoint/quoted.h"
#include "src/checkpoint/strict_json.h"

namespace nll {
namespace {

using nlohmann::json;

constexpr std::int64_t major_version = 1, minor_version = 1;  // 1.1: ranks
constexpr const char* format_name = "nll-checkpoint";
constexpr std::size_t hash_line_bytes = 5 + 16 + 1;  // "xxh3 ", digits, newline

// What a JSON value is, for "(expected ...)" messages.
std::string found(const json& value) {
  if (value.is_string()) return quoted_text(value.get_ref<const std::string&>());
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  return value.dump();
}

class Reader {
 public:
  explicit Reader(const std::string& place) : place_(place) {}
  [[noreturn]] void fail(const std::string& what) const { throw Error(Exit::no_checkpoint, place_ + ": " + what); }

  const json& member(const json& object, const std::string& where, const char* key) const {
    const auto at = object.find(key);
    if (at == object.end()) fail(fmt::format("{}{} is missing", where, key));
    return *at;
  }
  const std::string& text(const json& object, const std::string& where, const char* key) const {
    const json& value = member(object, where, key);
    if (!value.is_string()) fail(fmt::format("{}{}: {} (expected a string)", where, key, found(value)));
    return value.get_ref<const std::string&>();
  }
  std::int64_t whole_number(const json& object, const std::string& where, const char* key) const {
    const json& value = member(object, where, key);
    const bool whole =
        value.is_number_unsigned() && value.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
    if (!whole) fail(fmt::format("{}{}: {} (expected a whole number from 0 to 2^63-1)", where, key, found(value)));
    return value.get<std::int64_t>();
  }

 private:
  const std::string& place_;
};

void check_version(const Reader& reader, const json& root) {
  const std::string& text = reader.text(root, "", "version");
  std::int64_t major = -1, minor = -1;
  const char* end = text.data() + text.size();
  const auto first = std::from_chars(text.data(), end, major);
  const bool has_dot = first.ec == std::errc() && first.ptr != end && *first.ptr == '.';
  const auto second = has_dot ? std::from_chars(first.ptr + 1, end, minor) : first;
  if (!has_dot || second.ec != std::errc() || second.ptr != end || major < 0 || minor < 0) {
    reader.fail(fmt::format("version: {} (expected MAJOR.MINOR)", quoted_text(text)));
  }
  if (major > major_version) {
    reader.fail(fmt::format("version: {} is newer than this program can read (up to {}.x)", text, major_version));
  }
}

ManifestFile read_file_entry(const Reader& reader, const json& entry, const std::string& where) {
  if (!entry.is_object()) reader.fail(fmt::format("{}: {} (expected an object)", where, found(entry)));
  ManifestFile file;
  file.name = reader.text(entry, where + ".", "name");
  if (!is_plain_file_name(file.name) || file.name == manifest_name) {
    reader.fail(fmt::format("{}.name: {} (expected the plain name of a file beside the manifest)", where,
                            quoted_text(file.name)));
  }
  file.bytes = reader.whole_number(entry, where + ".", "bytes");
  file.xxh3 = reader.text(entry, where + ".", "xxh3");
  const bool hex = file.xxh3.size() == 32 && file.xxh3.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!hex) reader.fail(fmt::format("{}.xxh3: {} (expected 32 hex digits)", where, quoted_text(file.xxh3)));
  return file;
}

}  // namespace

bool is_plain_file_name(std::string_view name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= 255 && name.front() != '.' && std::all_of(name.begin(), name.end(), plain);
}

std::string make_manifest(const Manifest& manifest) {
  nlohmann::ordered_json root;
  root["format"] = format_name;
  root["version"] = fmt::format("{}.{}", major_version, minor_version);
  root["step"] = manifest.step;
  root["ranks"] = manifest.ranks;
  root["facts"] = nlohmann::ordered_json::object();
  for (const auto& [key, value] : manifest.facts) root["facts"][key] = value;
  root["files"] = nlohmann::ordered_json::array();
  for (const ManifestFile& file : manifest.files) {
    root["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"xxh3", file.xxh3}});
  }
  const std::string text = root.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  return text + "xxh3 " + hash_64(text) + "\n";
}

Manifest parse_manifest(std::string_view text, const std::string& place) {
  const Reader reader(place);
  if (text.empty()) reader.fail("empty file");
  const std::string_view body = text.substr(0, text.size() - std::min(text.size(), hash_line_bytes));
  if (text.substr(body.size()) != "xxh3 " + hash_64(body) + "\n") {
    reader.fail("the last line is not the checksum of the lines before it (torn or changed)");
  }
  const json root = parse_strict_json(body, place, Exit::no_checkpoint);
  if (!root.is_object()) reader.fail(fmt::format("{} (expected an object)", found(root)));
  if (const std::string& format = reader.text(root, "", "format"); format != format_name) {
    reader.fail(fmt::format("format: {} (expected \"{}\")", quoted_text(format), format_name));
  }
  check_version(reader, root);

  Manifest manifest;
  manifest.step = reader.whole_number(root, "", "step");
  if (root.contains("ranks")) manifest.ranks = reader.whole_number(root, "", "ranks");
  const json& facts = reader.member(root, "", "facts");
  if (!facts.is_object()) reader.fail(fmt::format("facts: {} (expected an object)", found(facts)));
  for (const auto& [key, value] : facts.items()) {
    if (!value.is_string())
      reader.fail(fmt::format("facts: key {}: {} (expected a string)", quoted_text(key), found(value)));
    manifest.facts[key] = value.get<std::string>();
  }
  const json& files = reader.member(root, "", "files");
  if (!files.is_array()) reader.fail(fmt::format("files: {} (expected a list)", found(files)));
  std::set<std::string> names;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string where = fmt::format("files[{}]", i);
    manifest.files.push_back(read_file_entry(reader, files[i], where));
    if (!names.insert(manifest.files.back().name).second) {
      reader.fail(fmt::format("{}.name: {} appears twice", where, quoted_text(manifest.files.back().name)));
    }
  }
  if (!names.contains("model.safetensors")) reader.fail("files: \"model.safetensors\" is missing");
  return manifest;
}

}  // namespace nll
