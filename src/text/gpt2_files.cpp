#include "src/text/gpt2_files.h"

#include <fmt/format.h>

#include "kernels/check.h"
#include "src/config/quote.h"
#include "src/text/json_document.h"

namespace nll {

BpeVocabulary read_gpt2_files(std::string_view encoder, const std::string& encoder_place, std::string_view merges,
                              const std::string& merges_place) {
  const nlohmann::json document = parse_json(encoder, encoder_place);
  if (!document.is_object()) {
    throw Error(Exit::bad_data, fmt::format("{}: is {} (expected an object)", encoder_place, json_kind(document)));
  }
  SpelledVocabulary spelled;
  for (const auto& [token, id] : document.items()) {
    if (!id.is_number_integer()) {
      throw Error(Exit::bad_data, fmt::format("{}: the id of {} is {} (expected an integer)", encoder_place,
                                              in_quotes(token), json_kind(id)));
    }
    spelled.tokens.emplace_back(token, id.get<std::int64_t>());
    if (token == "<|endoftext|>") spelled.special.push_back(spelled.tokens.back());
  }
  for (std::int64_t number = 1; !merges.empty(); ++number) {
    std::string_view line = merges.substr(0, merges.find('\n'));
    merges.remove_prefix(std::min(merges.size(), line.size() + 1));
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const std::size_t space = line.find(' ');
    if (space == 0 || space == std::string_view::npos || space + 1 == line.size() ||
        line.find(' ', space + 1) != std::string_view::npos) {
      throw Error(Exit::bad_data, fmt::format("{}:{}: {} (expected two tokens with a space between them)", merges_place,
                                              number, in_quotes(line)));
    }
    spelled.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
  }
  return resolve_vocabulary(spelled, encoder_place, merges_place);
}

}  // namespace nll
