#include "src/eval/negation_probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "kernels/check.h"
#include "src/eval/record_fields.h"
#include "src/text/line_reader.h"

namespace nll {

namespace {

constexpr std::int64_t longest_line = std::int64_t{1} << 20;

bool white(std::string_view text) { return text.find_first_not_of(" \t\r\n") == std::string_view::npos; }

std::string some_text(const RecordFields& fields, const char* name) {
  std::string text = fields.text(name);
  if (white(text)) fields.refuse(name, "is empty (expected some text)");
  return text;
}

void require_known(const NegationPair& pair, std::int64_t vocabulary) {
  const auto check = [&](const std::vector<std::int32_t>& tokens) {
    for (const std::int32_t token : tokens) {
      if (token >= vocabulary)
        throw Error(Exit::bad_data,
                    fmt::format("{}: token {} of the text (expected below the model's vocabulary of {})",
                                pair.affirm.place, token, vocabulary));
    }
  };
  for (const EncodedQuestion* question : {&pair.affirm, &pair.negate}) {
    check(question->context);
    for (const EncodedEnding& ending : question->endings) check(ending.tokens);
  }
}

}  // namespace

NegationPair parse_negation(std::string_view line, const Tokenizer& tokenizer, const std::string& place) {
  const RecordFields fields(line, place);
  const std::string affirm = some_text(fields, "affirm"), negate = some_text(fields, "negate");
  const auto ending = [&](const char* name) {
    const std::string text = some_text(fields, name);
    return " " + text.substr(text.find_first_not_of(" \t\r\n"));
  };
  const std::vector<std::string> endings = {ending("true"), ending("false")};
  if (affirm == negate) fields.refuse("negate", "equals \"affirm\" (expected its negation)");
  if (endings[0] == endings[1]) fields.refuse("false", "equals \"true\" (expected another ending)");
  return {encode_choice({affirm, endings, 0}, tokenizer, place), encode_choice({negate, endings, 1}, tokenizer, place)};
}

std::vector<NegationPair> read_negations(const std::string& path, const Tokenizer& tokenizer, std::int64_t vocabulary,
                                         const Progress& progress) {
  LineReader lines(path, longest_line);
  std::vector<NegationPair> pairs;
  while (const std::optional<Line> line = lines.next()) {
    const std::string place = fmt::format("{}:{}", path, line->number);
    if (line->too_long)
      throw Error(Exit::bad_data, fmt::format("{}: {} bytes (expected at most {})", place, line->bytes, longest_line));
    pairs.push_back(parse_negation(line->text, tokenizer, place));
    require_known(pairs.back(), vocabulary);
    if (progress) progress(lines.bytes_read(), lines.size());
  }
  if (pairs.empty()) throw Error(Exit::bad_data, path + ": has no record");
  return pairs;
}

std::int64_t NegationResult::affirm_right() const {
  return std::count_if(preferences.begin(), preferences.end(), [](const Preference& p) { return p.affirm > 0; });
}

std::int64_t NegationResult::negate_right() const {
  return std::count_if(preferences.begin(), preferences.end(), [](const Preference& p) { return p.negate < 0; });
}

std::int64_t NegationResult::flips() const {
  return std::count_if(preferences.begin(), preferences.end(),
                       [](const Preference& p) { return p.affirm * p.negate < 0; });
}

NegationResult probe_negation(MultipleChoice& scorer, std::span<const NegationPair> pairs, std::int64_t context,
                              const Progress& progress) {
  NegationResult result;
  std::vector<MultipleChoice::Pair> asked;
  for (const NegationPair& pair : pairs) {
    for (const EncodedQuestion* question : {&pair.affirm, &pair.negate}) {
      for (std::size_t i = 0; i < question->endings.size(); ++i) {
        const std::vector<std::int32_t>& ending = question->endings[i].tokens;
        const std::int64_t tokens = static_cast<std::int64_t>(ending.size());
        if (tokens > context)
          throw Error(Exit::bad_data,
                      fmt::format("{}: \"{}\" has {} tokens (expected at most the model's context of {})",
                                  question->place, i == 0 ? "true" : "false", tokens, context));
        result.cut += static_cast<std::int64_t>(question->context.size()) + tokens - 1 > context;
        asked.push_back({question->context, ending});
      }
    }
  }
  const std::vector<double> logp = scorer.score(asked, progress);
  for (std::size_t i = 0; i < logp.size(); i += 4)
    result.preferences.push_back({logp[i] - logp[i + 1], logp[i + 2] - logp[i + 3]});
  return result;
}

}  // namespace nll
