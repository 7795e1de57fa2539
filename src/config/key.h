// Key: one declaration of config.h as a row of a table, with a pointer to its value. Everything that handles keys
// (parsing, dumping, describing, comparing) walks these rows.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "src/config/config.h"
#include "src/config/document.h"

namespace nll {

struct Key {
  std::string path;     // "model.heads"
  std::string section;  // "model"; empty for a key outside of sections
  std::string name;     // "heads"
  std::variant<std::string*, std::vector<std::string>*, std::int64_t*, double*, bool*, AutoInteger*> value;
  Range range;
  std::vector<std::string> allowed;  // of a choice
  std::string unit, help;
};

// All keys in the order of their declaration; the rows point into `config`.
std::vector<Key> keys_of(Config& config);
// The values of a key in words: `a whole number from 1 to 1024`, `one of "auto", "cpu"`, `a list of texts`.
std::string expected(const Key& key);
// The same as a table shows it: type `integer`, range `1 to 1024`.
std::string type_name(const Key& key);
std::string range_text(const Key& key);
// The value as JSON; numbers read back bit for bit.
std::string value_text(const Key& key);
// Takes the value of a node. Throws Error(usage) that names place, key, what was expected and what was found.
void assign(const Key& key, const Node& node, const Source& source);

// The shortest decimal that reads back to the same double, whatever the locale.
std::string number_text(double value);

}  // namespace nll
