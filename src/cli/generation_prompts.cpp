#include "src/cli/generation_prompts.h"

#include <fmt/format.h>

#include "kernels/check.h"
#include "src/text/json_document.h"
#include "src/text/line_reader.h"

namespace nll {

namespace {

constexpr std::int64_t longest_line = std::int64_t{1} << 24;

// The name of the field that a record has, of the two.
const char* field_of(const nlohmann::json& record, const std::string& place) {
  if (!record.is_object()) {
    throw Error(Exit::bad_data, fmt::format("{}: is {} (expected an object)", place, json_kind(record)));
  }
  const bool prompt = record.contains("prompt"), text = record.contains("text");
  if (prompt && text) {
    throw Error(Exit::bad_data, place + ": \"text\" stands beside \"prompt\" (expected one of the two)");
  }
  if (!prompt && !text) throw Error(Exit::bad_data, place + ": \"prompt\" is missing (or \"text\")");
  return prompt ? "prompt" : "text";
}

}  // namespace

std::vector<std::vector<std::int32_t>> read_prompts(const std::string& path, const Tokenizer& tokenizer,
                                                    std::int64_t count, std::int64_t tokens) {
  LineReader lines(path, longest_line);
  std::vector<std::vector<std::int32_t>> prompts;
  while (static_cast<std::int64_t>(prompts.size()) < count) {
    const std::optional<Line> line = lines.next();
    if (!line) break;
    const std::string place = fmt::format("{}:{}", path, line->number);
    if (line->too_long) {
      throw Error(Exit::bad_data,
                  fmt::format("{}: has {} bytes (expected at most {})", place, line->bytes, longest_line));
    }
    const nlohmann::json record = parse_json(line->text, place);
    const std::string field = field_of(record, place);
    if (!record[field].is_string()) {
      throw Error(Exit::bad_data,
                  fmt::format("{}: \"{}\" is {} (expected a string)", place, field, json_kind(record[field])));
    }
    std::vector<std::int32_t> ids = tokenizer.encode(record[field].get<std::string>());
    if (field == "text" && static_cast<std::int64_t>(ids.size()) > tokens) ids.resize(static_cast<std::size_t>(tokens));
    if (tokenizer.end_of_text() >= 0) ids.insert(ids.begin(), tokenizer.end_of_text());
    if (ids.empty()) throw Error(Exit::bad_data, fmt::format("{}: \"{}\" is empty", place, field));
    prompts.push_back(std::move(ids));
  }
  if (prompts.empty()) throw Error(Exit::bad_data, path + ": has no prompts");
  return prompts;
}

}  // namespace nll
