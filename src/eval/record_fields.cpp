#include "src/eval/record_fields.h"

#include <fmt/format.h>

#include <charconv>

#include "kernels/check.h"
#include "src/text/json_document.h"

namespace nll {

using nlohmann::json;

RecordFields::RecordFields(std::string_view line, const std::string& place)
    : place_(place), record_(parse_json(line, place)) {
  if (!record_.is_object()) throw Error(Exit::bad_data, place + ": is " + json_kind(record_) + " (expected an object)");
}

void RecordFields::refuse(const std::string& field, const std::string& what) const {
  throw Error(Exit::bad_data, fmt::format("{}: \"{}\" {}", place_, field, what));
}

const char* RecordFields::either(const char* first, const char* second) const {
  if (has(first) && has(second)) refuse(second, fmt::format("stands beside \"{}\" (expected one of the two)", first));
  if (!has(first) && !has(second)) refuse(first, fmt::format("is missing (or \"{}\")", second));
  return has(first) ? first : second;
}

std::string RecordFields::text(const char* name) const {
  const json& value = at(name);
  if (!value.is_string()) refuse(name, "is " + json_kind(value) + " (expected a string)");
  return value.get<std::string>();
}

std::vector<std::string> RecordFields::texts(const char* name) const {
  const json& value = at(name);
  if (!value.is_array()) refuse(name, "is " + json_kind(value) + " (expected an array of strings)");
  if (value.size() < 2) refuse(name, fmt::format("has {} (expected at least 2 strings)", value.size()));
  std::vector<std::string> list;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (!value[i].is_string())
      refuse(fmt::format("{}[{}]", name, i), "is " + json_kind(value[i]) + " (expected a string)");
    list.push_back(value[i].get<std::string>());
  }
  return list;
}

std::size_t RecordFields::index(const char* name, std::size_t count) const {
  const json& value = at(name);
  const std::string wanted = fmt::format("(expected 0 to {})", count - 1);
  if (!value.is_number_integer() && !value.is_string()) refuse(name, "is " + json_kind(value) + " " + wanted);
  const std::string digits = value.is_string() ? value.get<std::string>() : value.dump();
  std::size_t found = count;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), found);
  if (error != std::errc{} || end != digits.data() + digits.size() || found >= count)
    refuse(name, "is " + value.dump() + " " + wanted);
  return found;
}

const json& RecordFields::at(const char* name) const {
  const auto found = record_.find(name);
  if (found == record_.end()) refuse(name, "is missing");
  return *found;
}

}  // namespace nll
