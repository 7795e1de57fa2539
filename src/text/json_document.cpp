#include "src/text/json_document.h"

#include <fmt/format.h>

#include <unordered_set>
#include <vector>

#include "kernels/check.h"
#include "src/config/quote.h"

namespace nll {
namespace {

constexpr int deepest = 32;

}  // namespace

nlohmann::json parse_json(std::string_view text, const std::string& place) {
  using json = nlohmann::json;
  std::vector<std::unordered_set<std::string>> keys;  // of the objects that are open
  int depth = 0;
  const auto watch = [&](int, json::parse_event_t event, json& parsed) {
    if (event == json::parse_event_t::object_start || event == json::parse_event_t::array_start) {
      if (++depth > deepest) {
        throw Error(Exit::bad_data, fmt::format("{}: nested more than {} levels deep", place, deepest));
      }
      if (event == json::parse_event_t::object_start) keys.emplace_back();
    } else if (event == json::parse_event_t::object_end || event == json::parse_event_t::array_end) {
      --depth;
      if (event == json::parse_event_t::object_end) keys.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!keys.back().insert(key).second) {
        throw Error(Exit::bad_data, fmt::format("{}: key {} is there twice", place, in_quotes(key)));
      }
    }
    return true;
  };
  try {
    return json::parse(text, watch);
  } catch (const json::parse_error& error) {
    throw Error(Exit::bad_data, fmt::format("{}: not JSON: wrong at byte {}", place, error.byte));
  } catch (const json::out_of_range&) {
    throw Error(Exit::bad_data, fmt::format("{}: a number is out of range", place));
  }
}

std::string json_kind(const nlohmann::json& value) {
  switch (value.type()) {
    case nlohmann::json::value_t::null:
      return "null";
    case nlohmann::json::value_t::object:
      return "an object";
    case nlohmann::json::value_t::array:
      return "an array";
    case nlohmann::json::value_t::string:
      return "a string";
    case nlohmann::json::value_t::boolean:
      return "a boolean";
    case nlohmann::json::value_t::number_integer:
    case nlohmann::json::value_t::number_unsigned:
    case nlohmann::json::value_t::number_float:
      return "a number";
    default:
      return "missing";
  }
}

}  // namespace nll
