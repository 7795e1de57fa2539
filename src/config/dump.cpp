// dump_config and differences: a config as text that reads back to the same values.
#include "src/config/config.h"
#include "src/config/key.h"

namespace nll {

std::string dump_config(const Config& config) {
  Config copy = config;
  std::string text = "{", section;
  bool first = true;
  for (const Key& key : keys_of(copy)) {
    if (key.section != section) {
      if (!section.empty()) text += "\n  }";
      section = key.section;
      if (!section.empty()) {
        text += (first ? "\n  \"" : ",\n  \"") + section + "\": {";
        first = true;
      }
    }
    text += first ? "\n" : ",\n";
    text += (section.empty() ? "  \"" : "    \"") + key.name + "\": " + value_text(key);
    first = false;
  }
  if (!section.empty()) text += "\n  }";
  return text + "\n}\n";
}

std::vector<std::string> differences(const Config& before, const Config& after) {
  Config one = before, other = after;
  const std::vector<Key> old_keys = keys_of(one), new_keys = keys_of(other);
  std::vector<std::string> list;
  for (std::size_t i = 0; i < old_keys.size(); ++i) {
    const std::string from = value_text(old_keys[i]), to = value_text(new_keys[i]);
    if (from != to) list.push_back(old_keys[i].path + ": " + from + " -> " + to);
  }
  return list;
}

}  // namespace nll
