// describe_config: every key with type, default, range, unit and help, as text for a terminal or as docs/config.md.
#include <fmt/format.h>

#include <algorithm>

#include "src/config/config.h"
#include "src/config/key.h"

namespace nll {
namespace {

constexpr const char* markdown_head =
    R"(# Config: every key

<!-- Written by `nll config --markdown` from the declarations in src/config/config.h; a test compares the two. -->

A config is a JSON file; `//` and `/* */` comments are allowed. A key that is left out has its default, an unknown key
is an error. `--set section.key=value` on the command line comes after the file and may be given for many keys, once for
each: `--set model.layers=6 --set data.train='["data/a", "data/b"]'`.
)";

constexpr const char* text_head =
    "Every key of a config with type, default, range and unit. A config is JSON with // and /* */ comments;\n"
    "--set section.key=value overrides the file.\n";

// "1 to 1024 tokens" or what there is of it.
std::string range_and_unit(const Key& key) {
  const std::string range = range_text(key);
  if (key.unit.empty()) return range;
  return range.empty() ? key.unit : range + " " + key.unit;
}

// A pipe would end the cell of a table.
std::string cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, 1, '\\');
  return text;
}

std::string describe_markdown(const std::vector<Key>& keys) {
  std::string text = markdown_head, section = "none yet";
  for (const Key& key : keys) {
    if (key.section != section) {
      section = key.section;
      text += section.empty() ? "\n## outside of sections\n" : fmt::format("\n## {}\n", section);
      text += "\n| key | type | default | range | unit | what it is |\n|---|---|---|---|---|---|\n";
    }
    text += fmt::format("| `{}` | {} | `{}` | {} | {} | {} |\n", key.path, type_name(key), value_text(key),
                        cell(range_text(key)), key.unit, cell(key.help));
  }
  return text;
}

std::string describe_text(const std::vector<Key>& keys) {
  std::size_t path_width = 0, default_width = 0;
  for (const Key& key : keys) {
    path_width = std::max(path_width, key.path.size());
    default_width = std::max(default_width, value_text(key).size());
  }
  std::string text = text_head, section = "none yet";
  for (const Key& key : keys) {
    if (key.section != section) {
      section = key.section;
      text += "\n";
    }
    const std::string range = range_and_unit(key);
    text += fmt::format("{:<{}}  {:<{}}  {}{}\n", key.path, path_width, value_text(key), default_width, type_name(key),
                        range.empty() ? "" : ", " + range);
    text += fmt::format("{:{}}  {}\n", "", path_width, key.help);
  }
  return text;
}

}  // namespace

std::string describe_config(bool markdown) {
  Config defaults;
  const std::vector<Key> keys = keys_of(defaults);
  return markdown ? describe_markdown(keys) : describe_text(keys);
}

}  // namespace nll
