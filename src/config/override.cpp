#include "src/config/override.h"

#include "kernels/check.h"
#include "src/config/quote.h"

namespace nll {

Override parse_override(const std::string& argument) {
  const std::string place = "--set " + (argument.empty() ? "\"\"" : shown(argument));
  if (invalid_utf8(argument)) throw Error(Exit::usage, place + ": invalid UTF-8");
  const std::size_t equals = argument.find('=');
  if (equals == std::string::npos) {
    throw Error(Exit::usage, place + ": expected key=value, found no \"=\"", "for example --set schedule.steps=1000");
  }
  if (equals == 0) throw Error(Exit::usage, place + ": expected key=value, found no key before \"=\"");
  Override result{argument.substr(0, equals), argument.substr(equals + 1), {}};
  result.source = {std::string_view(argument).substr(equals + 1), place, false};
  return result;
}

Node override_node(const Override& override, const Key& key) {
  const std::string& value = override.value;
  const bool list = std::holds_alternative<std::vector<std::string>*>(key.value);
  // A shell takes quotes away, so a plain text is a text; one that starts with a quote is JSON.
  if ((!value.empty() && value[0] == '"') || (list && !value.empty() && value[0] == '[')) {
    return parse_document(override.source);
  }
  Node node;
  node.text = value;
  const bool takes_text = list || std::holds_alternative<std::string*>(key.value);
  if (takes_text) {
    node.kind = Node::Kind::text;
  } else if (value.empty()) {
    override.source.fail(0, key.path + ": expected " + expected(key) + ", found nothing behind \"=\"");
  } else if (value == "true" || value == "false") {
    node.kind = Node::Kind::boolean;
  } else if (value == "null") {
    node.kind = Node::Kind::null;
  } else {
    node.kind = json_number_length(value) == value.size() ? Node::Kind::number : Node::Kind::text;
  }
  return node;
}

}  // namespace nll
