#include "src/config/document.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "kernels/check.h"
#include "src/config/quote.h"
#include "src/config/syntax.h"

namespace nll {
namespace {

constexpr std::size_t max_depth = 64;

// Receives nlohmann's events and builds the tree. Between two events the text holds only blanks, comments, commas and
// colons, so the cursor finds each token by skipping those.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(const Source& source) : source_(source) {}

  bool null() override { return literal(Node::Kind::null); }
  bool boolean(bool) override { return literal(Node::Kind::boolean); }
  bool number_integer(number_integer_t) override { return number(); }
  bool number_unsigned(number_unsigned_t) override { return number(); }
  bool number_float(number_float_t, const string_t&) override { return number(); }
  bool string(string_t& value) override {
    const std::size_t start = next_token();
    cursor_ = string_end(source_.text, start);
    add({Node::Kind::text, value, start, {}, 0, {}});
    return true;
  }
  bool binary(binary_t&) override { return false; }  // JSON text has none

  bool key(string_t& value) override {
    key_offset_ = next_token();
    cursor_ = string_end(source_.text, key_offset_);
    const auto [first, fresh] = open_.back().keys.emplace(value, key_offset_);
    key_ = value;
    has_key_ = true;
    if (!fresh) {
      source_.fail(key_offset_, shown(path()) + ": duplicate key", "the first is at " + source_.at(first->second));
    }
    return true;
  }

  bool start_object(std::size_t) override { return open(Node::Kind::object); }
  bool start_array(std::size_t) override { return open(Node::Kind::list); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& error) override {
    SyntaxState state;
    state.cursor = cursor_;
    state.complete = complete_;
    state.after_key = has_key_;
    state.in_object = !open_.empty() && open_.back().node->kind == Node::Kind::object;
    state.in_list = !open_.empty() && !state.in_object;
    state.has_children = !open_.empty() && !open_.back().node->children.empty();
    state.place = path();
    explain_syntax_error(source_, state, error.what());
  }

  Node root;

 private:
  struct Open {
    Node* node;
    std::unordered_map<std::string, std::size_t> keys;
  };

  std::size_t next_token() {
    cursor_ = skip_blanks(source_.text, cursor_);
    while (cursor_ < source_.text.size() && (source_.text[cursor_] == ',' || source_.text[cursor_] == ':')) {
      cursor_ = skip_blanks(source_.text, cursor_ + 1);
    }
    return cursor_;
  }

  bool literal(Node::Kind kind) {
    const std::size_t start = next_token();
    while (cursor_ < source_.text.size() && source_.text[cursor_] >= 'a' && source_.text[cursor_] <= 'z') ++cursor_;
    add({kind, std::string(source_.text.substr(start, cursor_ - start)), start, {}, 0, {}});
    return true;
  }

  bool number() {
    const std::size_t start = next_token();
    cursor_ += json_number_length(source_.text.substr(start));
    add({Node::Kind::number, std::string(source_.text.substr(start, cursor_ - start)), start, {}, 0, {}});
    return true;
  }

  bool open(Node::Kind kind) {
    const std::size_t start = next_token();
    ++cursor_;
    if (open_.size() == max_depth) source_.fail(start, fmt::format("nested deeper than {} levels", max_depth));
    open_.push_back({&add({kind, {}, start, {}, 0, {}}, false), {}});
    return true;
  }

  bool close() {
    next_token();
    ++cursor_;
    open_.pop_back();
    complete_ = open_.empty();
    return true;
  }

  // Puts a value where it belongs. A node's address holds until its parent closes: only the innermost list grows.
  Node& add(Node node, bool closed = true) {
    if (has_key_) {
      node.key = std::move(key_);
      node.key_offset = key_offset_;
      has_key_ = false;
    }
    if (open_.empty()) {
      root = std::move(node);
      complete_ = closed;
      return root;
    }
    return open_.back().node->children.emplace_back(std::move(node));
  }

  std::string path() const {
    std::string keys;
    for (const Open& level : open_) {
      if (!level.node->key.empty()) keys += (keys.empty() ? "" : ".") + level.node->key;
    }
    if (has_key_) keys += (keys.empty() ? "" : ".") + key_;
    return keys;
  }

  const Source& source_;
  std::size_t cursor_ = 0, key_offset_ = 0;
  std::string key_;
  bool has_key_ = false, complete_ = false;
  std::vector<Open> open_;
};

void check_bytes(const Source& source) {
  const std::string_view text = source.text;
  if (text.substr(0, 2) == "\xff\xfe" || text.substr(0, 2) == "\xfe\xff") {
    throw Error(Exit::usage, source.place + ": is UTF-16 text (expected UTF-8)", "save the file as UTF-8");
  }
  if (text.substr(0, 3) == "\xef\xbb\xbf") {
    throw Error(Exit::usage, source.place + ": starts with a byte order mark (expected plain UTF-8)",
                "save the file as UTF-8 without a byte order mark");
  }
  if (const auto at = invalid_utf8(text)) {
    source.fail(*at, fmt::format("invalid UTF-8: byte {} is 0x{:02x}", *at, static_cast<unsigned char>(text[*at])),
                "save the file as UTF-8");
  }
  // nlohmann/json takes a NUL for the end of the text and would leave what follows unread.
  if (const std::size_t at = text.find('\0'); at != std::string_view::npos) {
    source.fail(at, fmt::format("byte {} is NUL (expected text)", at));
  }
}

}  // namespace

std::string Source::at(std::size_t offset) const {
  if (!has_lines) return place;
  std::size_t line = 1, column = 1;
  for (std::size_t i = 0; i < offset && i < text.size(); ++i) {
    if (text[i] == '\n') {
      ++line;
      column = 1;
    } else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
      ++column;
    }
  }
  return fmt::format("{}:{}:{}", place, line, column);
}

void Source::fail(std::size_t offset, const std::string& message, const std::string& hint) const {
  throw Error(Exit::usage, at(offset) + ": " + message, hint);
}

std::string found(const Node& node) {
  switch (node.kind) {
    case Node::Kind::text:
      return in_quotes(node.text);
    case Node::Kind::list:
      return "a list";
    case Node::Kind::object:
      return "an object";
    default:
      return shown(node.text);
  }
}

Node parse_document(const Source& source) {
  check_bytes(source);
  Builder builder(source);
  const bool complete =
      nlohmann::json::sax_parse(source.text.begin(), source.text.end(), &builder, nlohmann::json::input_format_t::json,
                                /*strict=*/true, /*ignore_comments=*/true);
  CHECK(complete);
  return std::move(builder.root);
}

}  // namespace nll
