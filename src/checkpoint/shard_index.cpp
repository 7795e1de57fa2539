#include "src/checkpoint/shard_index.h"

#include <fmt/format.h>

#include <set>

#include "src/checkpoint/manifest.h"
#include "src/checkpoint/quoted.h"
#include "src/checkpoint/strict_json.h"

namespace nll {

std::vector<std::string> ShardIndex::files() const {
  std::set<std::string> files;
  for (const auto& [tensor, file] : weight_map) files.insert(file);
  return {files.begin(), files.end()};
}

ShardIndex parse_shard_index(std::string_view text, const std::string& place) {
  const auto fail = [&](const std::string& what) { throw Error(Exit::bad_data, place + ": " + what); };
  const nlohmann::json root = parse_strict_json(text, place, Exit::bad_data);
  if (!root.is_object()) fail("not an object");
  const auto map = root.find("weight_map");
  if (map == root.end() || !map->is_object() || map->empty())
    fail("weight_map is missing or empty (expected tensor: file)");
  ShardIndex index;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string())
      fail(fmt::format("weight_map: tensor {}: not a string (expected a file name)", quoted_text(tensor)));
    const auto& name = file.get_ref<const std::string&>();
    if (!is_plain_file_name(name)) {
      fail(fmt::format("weight_map: tensor {}: {} (expected the plain name of a file beside the index)",
                       quoted_text(tensor), quoted_text(name)));
    }
    index.weight_map[tensor] = name;
  }
  return index;
}

}  // namespace nll
