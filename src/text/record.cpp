#include "src/text/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "src/config/quote.h"
#include "src/text/json_document.h"
#include "src/text/utf8.h"

namespace nll {
namespace {

using nlohmann::json;

class RecordParser {
 public:
  RecordParser(const json& object, const std::string& place) : object_(object), place_(place) {}

  std::vector<Record> supervised() const {
    Record record;
    if (object_.contains("messages")) {
      record.form = Record::Form::whole;
      const json& value = object_["messages"];
      if (!value.is_array()) wrong_type("\"messages\"", value, "a list of messages");
      record.completions.push_back(passage(value, "\"messages\""));
    } else if (object_.contains("completion")) {
      record.prompt = passage(field("prompt"), "\"prompt\"");
      record.completions.push_back(completion(field("completion"), "\"completion\"", record.prompt));
    } else if (object_.contains("text")) {
      record.form = Record::Form::whole;
      const json& value = object_["text"];
      if (!value.is_string()) wrong_type("\"text\"", value, "a string");
      record.completions.push_back({filled(value, "\"text\""), {}, false});
    } else if (object_.contains("prompt")) {
      field("completion");
    } else {
      fault(FaultReason::missing_field,
            "has no \"messages\", no \"completion\" and no \"text\" (expected one of them)");
    }
    return {std::move(record)};
  }

  std::vector<Record> preference() const {
    Record record;
    const json& chosen = field("chosen");
    const json& rejected = field("rejected");
    if (object_.contains("prompt")) {
      record.prompt = passage(object_["prompt"], "\"prompt\"");
      record.completions.push_back(completion(chosen, "\"chosen\"", record.prompt));
      record.completions.push_back(completion(rejected, "\"rejected\"", record.prompt));
    } else {
      split_shared_start(record, passage(chosen, "\"chosen\""), passage(rejected, "\"rejected\""));
    }
    if (object_.contains("margin")) {
      const json& margin = object_["margin"];
      if (!margin.is_number()) wrong_type("\"margin\"", margin, "a number");
      record.margin = margin.get<double>();
    }
    return {std::move(record)};
  }

  std::vector<Record> unpaired() const {
    if (!object_.contains("completion") && object_.contains("chosen")) {
      Record pair = std::move(preference().front());
      Record rejected = pair;
      rejected.completions.erase(rejected.completions.begin());
      rejected.label = false;
      rejected.margin = pair.margin = 0;
      pair.completions.pop_back();
      return {std::move(pair), std::move(rejected)};
    }
    Record record;
    record.prompt = passage(field("prompt"), "\"prompt\"");
    record.completions.push_back(completion(field("completion"), "\"completion\"", record.prompt));
    const json& label = field("label", "true or false");
    if (!label.is_boolean()) wrong_type("\"label\"", label, "true or false");
    record.label = label.get<bool>();
    return {std::move(record)};
  }

  std::vector<Record> prompt_only() const {
    Record record;
    record.form = Record::Form::prompt;
    record.prompt = passage(field("prompt"), "\"prompt\"");
    record.columns = object_.dump();
    return {std::move(record)};
  }

  std::vector<Record> contrastive() const {
    Record record;
    record.prompt = passage(field("prompt"), "\"prompt\"");
    record.completions.push_back(completion(field("positive"), "\"positive\"", record.prompt));
    const json& negatives = field("negatives", "a list of completions");
    if (!negatives.is_array()) wrong_type("\"negatives\"", negatives, "a list of completions");
    if (negatives.empty()) {
      fault(FaultReason::empty, "\"negatives\" is an empty list (expected at least one completion)");
    }
    for (std::size_t i = 0; i < negatives.size(); ++i) {
      record.completions.push_back(completion(negatives[i], fmt::format("\"negatives\"[{}]", i), record.prompt));
    }
    return {std::move(record)};
  }

 private:
  [[noreturn]] void fault(FaultReason reason, const std::string& what) const {
    throw RecordFault(reason, fmt::format("{}: {}", place_, what));
  }
  [[noreturn]] void wrong_type(const std::string& name, const json& value, const char* expected) const {
    fault(FaultReason::wrong_type, fmt::format("{} is {} (expected {})", name, json_kind(value), expected));
  }

  const json& field(const char* name, const char* expected = "a string or a list of messages") const {
    const auto found = object_.find(name);
    if (found == object_.end()) {
      fault(FaultReason::missing_field, fmt::format("has no \"{}\" (expected {})", name, expected));
    }
    return *found;
  }

  std::string text(const json& value, const std::string& name) const {
    const auto& found = value.get_ref<const std::string&>();
    if (const std::size_t at = found.find('\0'); at != std::string::npos) {
      fault(FaultReason::nul_character,
            fmt::format("{} has a NUL character at byte {} (expected text without them)", name, at));
    }
    return found;
  }

  std::string filled(const json& value, const std::string& name) const {
    std::string found = text(value, name);
    if (found.empty()) fault(FaultReason::empty, name + " is empty (expected at least one character)");
    return found;
  }

  Message message(const json& value, const std::string& name) const {
    if (!value.is_object()) wrong_type(name, value, "an object with \"role\" and \"content\"");
    for (const char* key : {"role", "content"}) {
      const auto found = value.find(key);
      if (found == value.end()) {
        fault(FaultReason::missing_field, fmt::format("{} has no \"{}\" (expected a string)", name, key));
      }
      if (!found->is_string()) wrong_type(fmt::format("{}.\"{}\"", name, key), *found, "a string");
    }
    const auto& spelled = value["role"].get_ref<const std::string&>();
    const std::optional<Role> role = role_named(spelled);
    if (!role) {
      fault(FaultReason::unknown_role,
            fmt::format("{}.\"role\" is {} (expected system, user, assistant or tool)", name, in_quotes(spelled)));
    }
    const std::string content = name + ".\"content\"";
    return {*role, *role == Role::assistant ? filled(value["content"], content) : text(value["content"], content)};
  }

  Passage passage(const json& value, const std::string& name) const {
    Passage passage;
    if (value.is_string()) {
      passage.text = text(value, name);
      return passage;
    }
    if (!value.is_array()) wrong_type(name, value, "a string or a list of messages");
    if (value.empty()) fault(FaultReason::empty, name + " is an empty list (expected at least one message)");
    passage.conversation = true;
    for (std::size_t i = 0; i < value.size(); ++i) {
      passage.messages.push_back(message(value[i], fmt::format("{}[{}]", name, i)));
    }
    return passage;
  }

  Passage completion(const json& value, const std::string& name, const Passage& prompt) const {
    if (value.is_string() && value.get_ref<const std::string&>().empty()) {
      fault(FaultReason::empty, name + " is empty (expected at least one character)");
    }
    Passage found = passage(value, name);
    if (found.conversation != prompt.conversation) {
      fault(FaultReason::wrong_type, fmt::format("{} is {} (expected {}, as \"prompt\" is)", name,
                                                 found.conversation ? "a list of messages" : "a string",
                                                 prompt.conversation ? "a list of messages" : "a string"));
    }
    check_first_turn(found, name, 0);
    return found;
  }

  void check_first_turn(const Passage& completion, const std::string& name, std::size_t first) const {
    if (!completion.conversation || completion.messages[first].role == Role::assistant) return;
    fault(FaultReason::wrong_turn,
          fmt::format("{}[{}].\"role\" is \"{}\" (expected a completion to begin with \"assistant\")", name, first,
                      role_name(completion.messages[first].role)));
  }

  // What chosen and rejected begin with alike is their prompt; a blank at its end belongs to the completions, as words
  // are tokenized with the blank before them. Each keeps at least a character, or a message.
  void split_shared_start(Record& record, Passage chosen, Passage rejected) const {
    if (chosen.conversation != rejected.conversation) {
      fault(FaultReason::wrong_type, fmt::format("\"rejected\" is {} (expected {}, as \"chosen\" is)",
                                                 rejected.conversation ? "a list of messages" : "a string",
                                                 chosen.conversation ? "a list of messages" : "a string"));
    }
    record.prompt.conversation = chosen.conversation;
    const auto alike = [](const auto& left, const auto& right, const auto& equal) {
      const std::size_t limit = std::min(left.size(), right.size()) - 1;
      std::size_t count = 0;
      while (count < limit && equal(left[count], right[count])) ++count;
      return static_cast<std::ptrdiff_t>(count);
    };
    if (chosen.conversation) {
      const std::ptrdiff_t shared =
          alike(chosen.messages, rejected.messages, [](const Message& left, const Message& right) {
            return left.role == right.role && left.content == right.content;
          });
      check_first_turn(chosen, "\"chosen\"", static_cast<std::size_t>(shared));
      check_first_turn(rejected, "\"rejected\"", static_cast<std::size_t>(shared));
      record.prompt.messages.assign(chosen.messages.begin(), chosen.messages.begin() + shared);
      for (Passage* passage : {&chosen, &rejected}) {
        passage->messages.erase(passage->messages.begin(), passage->messages.begin() + shared);
      }
    } else {
      for (const auto& [passage, name] : {std::pair(&chosen, "\"chosen\""), std::pair(&rejected, "\"rejected\"")}) {
        if (passage->text.empty()) {
          fault(FaultReason::empty, fmt::format("{} is empty (expected at least one character)", name));
        }
      }
      auto shared = static_cast<std::size_t>(alike(chosen.text, rejected.text, std::equal_to<char>()));
      const auto inside_character = [&](const std::string& text) {
        return (static_cast<unsigned char>(text[shared]) & 0xC0) == 0x80;
      };
      while (shared > 0 && (inside_character(chosen.text) || inside_character(rejected.text))) --shared;
      if (shared > 0 && chosen.text[shared - 1] == ' ') --shared;
      record.prompt.text = chosen.text.substr(0, shared);
      chosen.text.erase(0, shared);
      rejected.text.erase(0, shared);
    }
    record.completions.push_back(std::move(chosen));
    record.completions.push_back(std::move(rejected));
  }

  const json& object_;
  const std::string& place_;
};

json parse_object(std::string_view line, const std::string& place) {
  const auto fault = [&](FaultReason reason, const std::string& what) {
    throw RecordFault(reason, fmt::format("{}: {}", place, what));
  };
  if (const std::size_t valid = valid_prefix(line); valid < line.size()) {
    fault(FaultReason::not_utf8,
          fmt::format("is not UTF-8: 0x{:02X} at byte {} of the line", static_cast<unsigned char>(line[valid]), valid));
  }
  if (const std::size_t at = line.find('\0'); at != std::string_view::npos) {
    fault(FaultReason::nul_character, fmt::format("has a NUL byte at byte {} of the line (expected text)", at));
  }
  json object;
  try {
    object = parse_json(line, place);
  } catch (const Error& error) {
    throw RecordFault(FaultReason::not_json, error.what());
  }
  if (!object.is_object()) {
    fault(FaultReason::not_json, fmt::format("is {} (expected an object)", json_kind(object)));
  }
  return object;
}

}  // namespace

std::vector<Record> parse_record(std::string_view line, RecordKind kind, const std::string& place) {
  const json object = parse_object(line, place);
  const RecordParser parser(object, place);
  switch (kind) {
    case RecordKind::supervised:
      return parser.supervised();
    case RecordKind::preference:
      return parser.preference();
    case RecordKind::unpaired:
      return parser.unpaired();
    case RecordKind::prompt_only:
      return parser.prompt_only();
    case RecordKind::contrastive:
      break;
  }
  return parser.contrastive();
}

}  // namespace nll
