#include "src/config/key.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/config/suggest.h"
#include "src/config/syntax.h"

namespace nll {
namespace {

class Collector : public Visitor {
 public:
  void text(const char* key, std::string& value, const char* help) override { add(key, &value, {}, {}, "", help); }
  void texts(const char* key, std::vector<std::string>& value, const char* help) override {
    add(key, &value, {}, {}, "", help);
  }
  void integer(const char* key, std::int64_t& value, Range range, const char* unit, const char* help) override {
    add(key, &value, range, {}, unit, help);
  }
  void real(const char* key, double& value, Range range, const char* unit, const char* help) override {
    add(key, &value, range, {}, unit, help);
  }
  void boolean(const char* key, bool& value, const char* help) override { add(key, &value, {}, {}, "", help); }
  void automatic(const char* key, AutoInteger& value, Range range, const char* unit, const char* help) override {
    add(key, &value, range, {}, unit, help);
  }
  void choice(const char* key, std::string& value, const std::vector<std::string>& allowed, const char* help) override {
    add(key, &value, {}, allowed, "", help);
  }

  std::vector<Key> keys;

 protected:
  void enter(const char* key) override { section_ += (section_.empty() ? "" : ".") + std::string(key); }
  void leave() override { section_.resize(section_.find('.') == std::string::npos ? 0 : section_.rfind('.')); }

 private:
  template <class Value>
  void add(const char* name, Value* value, Range range, const std::vector<std::string>& allowed, const char* unit,
           const char* help) {
    const std::string path = section_.empty() ? name : section_ + "." + name;
    keys.push_back({path, section_, name, value, range, allowed, unit, help});
  }

  std::string section_;
};

bool whole(const Key& key) {
  return std::holds_alternative<std::int64_t*>(key.value) || std::holds_alternative<AutoInteger*>(key.value);
}

std::string bound_text(const Key& key, double bound) {
  return whole(key) ? fmt::format("{}", static_cast<std::int64_t>(bound)) : number_text(bound);
}

// An integer that is written as a real ("3.0", "1e3") can be named; empty when it is none.
std::string as_integer(const std::string& number, Range range) {
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc{} || end != number.data() + number.size()) return {};
  if (value != std::floor(value) || std::abs(value) > 0x1p53 || !range.contains(value)) return {};
  return fmt::format("{}", static_cast<std::int64_t>(value));
}

[[noreturn]] void refuse(const Key& key, const Node& node, const Source& source, const std::string& remark = {},
                         std::string hint = {}) {
  const bool wants_number = whole(key) || std::holds_alternative<double*>(key.value);
  if (hint.empty() && node.kind == Node::Kind::null) {
    hint = fmt::format("remove the key to get its default, {}", value_text(key));
  } else if (hint.empty() && node.kind == Node::Kind::text && json_number_length(node.text) == node.text.size() &&
             wants_number && !node.text.empty()) {
    hint = "write the number without quotes";
  } else if (hint.empty() && wants_number && node.kind == Node::Kind::text && is_not_finite(node.text)) {
    hint = "a number must be finite";
  } else if (hint.empty() && node.kind == Node::Kind::text && (node.text == "true" || node.text == "false") &&
             std::holds_alternative<bool*>(key.value)) {
    hint = "write " + node.text + " without quotes";
  } else if (hint.empty() && node.kind == Node::Kind::number && whole(key)) {
    if (const std::string integer = as_integer(node.text, key.range); !integer.empty()) hint = "write " + integer;
  } else if (hint.empty() && node.kind == Node::Kind::text && !key.allowed.empty()) {
    if (const std::string guess = nearest(node.text, key.allowed); !guess.empty()) {
      hint = fmt::format("did you mean \"{}\"?", guess);
    }
  }
  source.fail(
      node.offset,
      key.path + ": expected " + expected(key) + ", found " + found(node) + (remark.empty() ? "" : " " + remark), hint);
}

// Parses into `value`; says why not, or returns an empty text. A value outside of the type is told from a malformed
// one.
template <class Number>
std::string parse_number(const std::string& text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::result_out_of_range) return "(beyond 64 bits)";
  return error == std::errc{} && end == text.data() + text.size() ? "" : "malformed";
}

std::int64_t integer_of(const Key& key, const Node& node, const Source& source) {
  if (node.kind != Node::Kind::number) refuse(key, node, source);
  std::int64_t value = 0;
  const bool real = node.text.find_first_of(".eE") != std::string::npos;
  const std::string problem = real ? "malformed" : parse_number(node.text, value);
  if (!problem.empty()) refuse(key, node, source, problem == "malformed" ? "" : problem);
  if (!key.range.contains(static_cast<double>(value))) refuse(key, node, source);
  return value;
}

std::string text_of(const std::string& what, const Node& node, const Source& source) {
  if (node.text.find('\0') != std::string::npos) {
    source.fail(node.offset, what + ": expected a text without NUL, found " + found(node));
  }
  return node.text;
}

std::vector<std::string> texts_of(const Key& key, const Node& node, const Source& source) {
  if (node.kind == Node::Kind::text) {
    if (node.text.empty()) return {};
    return {text_of(key.path, node, source)};
  }
  if (node.kind != Node::Kind::list) refuse(key, node, source);
  std::vector<std::string> texts;
  for (const Node& item : node.children) {
    const std::string what = fmt::format("{}[{}]", key.path, texts.size());
    if (item.kind != Node::Kind::text || item.text.empty()) {
      source.fail(item.offset, what + ": expected a text that is not empty, found " + found(item));
    }
    texts.push_back(text_of(what, item, source));
  }
  return texts;
}

std::string quoted_list(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "\"" : ", \"") + name + "\"";
  return list;
}

}  // namespace

std::vector<Key> keys_of(Config& config) {
  Collector collector;
  config.fields(collector);
  return std::move(collector.keys);
}

std::string number_text(double value) {
  // fmt's shortest form knows no locale, as std::to_chars, and prefers 0.0006 to 6e-04.
  return fmt::format("{}", value);
}

std::string range_text(const Key& key) {
  if (!key.allowed.empty()) return quoted_list(key.allowed);
  const bool low = std::isfinite(key.range.low), high = std::isfinite(key.range.high);
  const std::string from = low ? bound_text(key, key.range.low) : "", to = high ? bound_text(key, key.range.high) : "";
  if (low && high) {
    if (key.range.low_open)
      return fmt::format("above {}{}{}", from, key.range.high_open ? " and below " : " up to ", to);
    return fmt::format("{} to {}{}", from, key.range.high_open ? "below " : "", to);
  }
  if (low) return (key.range.low_open ? "above " : "at least ") + from;
  if (high) return (key.range.high_open ? "below " : "at most ") + to;
  return "";
}

std::string expected(const Key& key) {
  if (!key.allowed.empty()) return (key.allowed.size() > 1 ? "one of " : "") + quoted_list(key.allowed);
  if (std::holds_alternative<std::string*>(key.value)) return "a text";
  if (std::holds_alternative<std::vector<std::string>*>(key.value)) return "a text or a list of texts";
  if (std::holds_alternative<bool*>(key.value)) return "true or false";
  std::string range = range_text(key);
  const bool bounded = std::isfinite(key.range.low) && std::isfinite(key.range.high);
  if (bounded && !key.range.low_open) range = "from " + range;
  if (range.rfind("at ", 0) == 0) range = "of " + range;
  if (!range.empty()) range = " " + range;
  const std::string number = (whole(key) ? "a whole number" : "a number") + range;
  return std::holds_alternative<AutoInteger*>(key.value) ? number + " or \"auto\"" : number;
}

std::string type_name(const Key& key) {
  if (!key.allowed.empty()) return "choice";
  if (std::holds_alternative<std::string*>(key.value)) return "text";
  if (std::holds_alternative<std::vector<std::string>*>(key.value)) return "text or list";
  if (std::holds_alternative<bool*>(key.value)) return "boolean";
  if (std::holds_alternative<double*>(key.value)) return "number";
  return std::holds_alternative<AutoInteger*>(key.value) ? "integer or \"auto\"" : "integer";
}

std::string value_text(const Key& key) {
  const auto json_text = [](const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  };
  struct Write {
    const decltype(json_text)& text;
    std::string operator()(const std::string* value) const { return text(*value); }
    std::string operator()(const std::vector<std::string>* value) const {
      std::string list = "[";
      for (const std::string& item : *value) list += (list.size() > 1 ? ", " : "") + text(item);
      return list + "]";
    }
    std::string operator()(const std::int64_t* value) const { return fmt::format("{}", *value); }
    std::string operator()(const double* value) const { return number_text(*value); }
    std::string operator()(const bool* value) const { return *value ? "true" : "false"; }
    std::string operator()(const AutoInteger* value) const {
      return value->has_value() ? fmt::format("{}", **value) : "\"auto\"";
    }
  };
  return std::visit(Write{json_text}, key.value);
}

void assign(const Key& key, const Node& node, const Source& source) {
  struct Take {
    const Key& key;
    const Node& node;
    const Source& source;
    void operator()(std::string* value) const {
      if (node.kind != Node::Kind::text) refuse(key, node, source);
      if (!key.allowed.empty()) {
        bool known = false;
        for (const std::string& name : key.allowed) known = known || name == node.text;
        if (!known) refuse(key, node, source);
      }
      *value = text_of(key.path, node, source);
    }
    void operator()(std::vector<std::string>* value) const { *value = texts_of(key, node, source); }
    void operator()(std::int64_t* value) const { *value = integer_of(key, node, source); }
    void operator()(double* value) const {
      if (node.kind != Node::Kind::number) refuse(key, node, source);
      double number = 0;
      const std::string problem = parse_number(node.text, number);
      if (!problem.empty()) refuse(key, node, source, problem);
      if (!key.range.contains(number)) refuse(key, node, source);
      *value = number;
    }
    void operator()(bool* value) const {
      if (node.kind != Node::Kind::boolean) refuse(key, node, source);
      *value = node.text == "true";
    }
    void operator()(AutoInteger* value) const {
      if (node.kind == Node::Kind::text && node.text == "auto") {
        value->reset();
      } else {
        *value = integer_of(key, node, source);
      }
    }
  };
  std::visit(Take{key, node, source}, key.value);
}

}  // namespace nll
