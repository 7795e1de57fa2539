// A JSON text as a tree that knows where each of its parts stands. nlohmann/json reads it; the places come from a
// cursor that follows its events through the text.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace nll {

// A text and how places in it are named in messages.
struct Source {
  std::string_view text;
  std::string place;      // file name, or the `--set` argument
  bool has_lines = true;  // false: messages name the place only

  // "configs/x.json:12:9": lines and columns count from 1, columns in characters.
  std::string at(std::size_t offset) const;
  // Throws Error(usage) "<at>: <message>".
  [[noreturn]] void fail(std::size_t offset, const std::string& message, const std::string& hint = {}) const;
};

struct Node {
  enum class Kind { null, boolean, number, text, list, object };
  Kind kind = Kind::null;
  std::string text;            // a text decoded; anything else but lists and objects as it is written
  std::size_t offset = 0;      // of its first byte
  std::string key;             // of a member of an object
  std::size_t key_offset = 0;  // of the quote before the key
  std::vector<Node> children;  // of a list or an object, in the order of the text
};

// How a found value reads in a message: "twelve" in quotes, 3.0 as written, null, a list, an object.
std::string found(const Node& node);
// Reads one JSON value with // and /* */ comments. Throws Error(usage) for whatever is not that: a byte order mark,
// invalid UTF-8, NUL, a duplicate key, nesting deeper than 64, trailing text.
Node parse_document(const Source& source);
// Length of the JSON number at the start of `text`; 0 when there is none.
std::size_t json_number_length(std::string_view text);

}  // namespace nll
