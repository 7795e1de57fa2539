// model.safetensors.index.json of a sharded Hugging Face folder: which file holds which tensor.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace nll {

struct ShardIndex {
  std::map<std::string, std::string> weight_map;  // tensor -> file, a plain name
  std::vector<std::string> files() const;         // sorted, each once
};
ShardIndex parse_shard_index(std::string_view text, const std::string& place);  // Error(bad_data)

}  // namespace nll
