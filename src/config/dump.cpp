// dump_config and differences: a config as text that reads back to the same values.
#include <algorithm>

#include "src/config/config.h"
#include "src/config/key.h"

namespace nll {

namespace {

// "objective.dpo" -> {"objective", "dpo"}
std::vector<std::string> parts_of(const std::string& section) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < section.size();) {
    const std::size_t end = std::min(section.find('.', at), section.size());
    parts.push_back(section.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

// JSON objects within each other, opened and closed as keys come by.
class Writer {
 public:
  void add(const Key& key) {
    const std::vector<std::string> parts = parts_of(key.section);
    const auto apart = std::mismatch(open_.begin(), open_.end(), parts.begin(), parts.end());
    const auto shared = static_cast<std::size_t>(apart.first - open_.begin());
    while (open_.size() > shared) {
      open_.pop_back();
      line("}", false);
      first_ = false;
    }
    for (auto part = apart.second; part != parts.end(); ++part) {
      line("\"" + *part + "\": {", true);
      open_.push_back(*part);
      first_ = true;
    }
    line("\"" + key.name + "\": " + value_text(key), true);
    first_ = false;
  }
  std::string finish() {
    while (!open_.empty()) {
      open_.pop_back();
      line("}", false);
    }
    return text_ + "\n}\n";
  }

 private:
  void line(const std::string& text, bool member) {
    text_ += (member && !first_ ? ",\n" : "\n") + std::string(2 * open_.size() + 2, ' ') + text;
  }
  std::string text_ = "{";
  std::vector<std::string> open_;
  bool first_ = true;
};

}  // namespace

std::string dump_config(const Config& config) {
  Config copy = config;
  Writer writer;
  for (const Key& key : keys_of(copy)) writer.add(key);
  return writer.finish();
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
