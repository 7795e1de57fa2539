#include "src/eval/choice_question.h"

#include <fmt/format.h>

#include "kernels/check.h"
#include "src/eval/choice_shard.h"
#include "src/eval/record_fields.h"
#include "src/text/line_reader.h"
#include "src/text/utf8.h"

namespace nll {

namespace {

constexpr std::int64_t longest_line = std::int64_t{1} << 24;

std::size_t white_space_at_end(std::string_view text) {
  std::size_t length = 0;
  while (length < text.size()) {
    const Utf8Character last = last_character(text.substr(0, text.size() - length));
    if (last.length == 0 || !is_white_space(last.code_point)) break;
    length += last.length;
  }
  return length;
}

std::string_view without_white_space_before(std::string_view text) {
  while (!text.empty()) {
    const Utf8Character first = first_character(text);
    if (first.length == 0 || !is_white_space(first.code_point)) break;
    text.remove_prefix(first.length);
  }
  return text;
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

// WikiHow's marks out of a text: the header's become full stops, all others go.
std::string cleaned(const std::string& raw) {
  std::string_view stripped = without_white_space_before(raw);
  stripped.remove_suffix(white_space_at_end(stripped));
  std::string text = replaced(std::string(stripped), " [title]", ". ");
  for (std::size_t open = text.find('['); open != std::string::npos; open = text.find('[', open)) {
    const std::size_t close = text.find_first_of("]\n", open);
    if (close == std::string::npos) break;
    if (text[close] == ']') {
      text.erase(open, close + 1 - open);
    } else {
      ++open;
    }
  }
  return replaced(std::move(text), "  ", " ");
}

// The first letter large, all others small. ASCII only.
std::string capitalized(std::string text) {
  for (char& c : text) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

}  // namespace

ChoiceQuestion parse_choice(std::string_view line, HellaSwagForm form, const std::string& place) {
  const RecordFields fields(line, place);
  ChoiceQuestion question;
  const bool hellaswag = fields.has("ctx") || fields.has("ctx_a");
  const char *endings = "endings", *label = "label";
  if (hellaswag && form == HellaSwagForm::llmc) {
    question.context = fields.text("ctx");
  } else if (hellaswag) {
    std::string text = fields.text("activity_label") + ": ";
    text += fields.text("ctx_a") + " ";
    text += capitalized(fields.text("ctx_b"));
    question.context = cleaned(text);
  } else {
    question.context = fields.text(fields.either("query", "context"));
    endings = fields.either("choices", "endings");
    label = fields.either("label", "answer");
  }
  for (const std::string& ending : fields.texts(endings)) {
    const std::string name = fmt::format("{}[{}]", endings, question.endings.size());
    std::string text = hellaswag && form == HellaSwagForm::lm_eval ? cleaned(ending) : ending;
    if (!hellaswag) text = without_white_space_before(text);
    if (text.empty()) fields.refuse(name, "is empty (expected some text)");
    question.endings.push_back(" " + text);
  }
  question.label = fields.index(label, question.endings.size());
  return question;
}

EncodedQuestion encode_choice(const ChoiceQuestion& question, const Tokenizer& tokenizer, const std::string& place) {
  EncodedQuestion encoded{place, {}, {}, question.label};
  const std::size_t body = question.context.size() - white_space_at_end(question.context);
  encoded.context = tokenizer.encode(std::string_view(question.context).substr(0, body));
  if (encoded.context.empty()) {
    if (tokenizer.end_of_text() < 0)
      throw Error(Exit::bad_data, place + ": has no context, and the tokenizer has no end-of-text to stand for it");
    encoded.context.push_back(tokenizer.end_of_text());
  }
  const std::string space = question.context.substr(body);
  for (const std::string& ending : question.endings) {
    encoded.endings.push_back({tokenizer.encode(space + ending), static_cast<std::int64_t>(ending.size()),
                               count_characters(ending) - (ending.starts_with(' ') ? 1 : 0)});
  }
  return encoded;
}

namespace {

// A tokenizer may have more ids than its model.
void require_known(const EncodedQuestion& question, std::int64_t vocabulary) {
  const auto check = [&](const std::vector<std::int32_t>& tokens) {
    for (const std::int32_t token : tokens) {
      if (token >= vocabulary)
        throw Error(Exit::bad_data,
                    fmt::format("{}: token {} of the text (expected below the model's vocabulary of {})",
                                question.place, token, vocabulary));
    }
  };
  check(question.context);
  for (const EncodedEnding& ending : question.endings) check(ending.tokens);
}

}  // namespace

std::vector<EncodedQuestion> read_choices(const std::string& path, HellaSwagForm form, const Tokenizer* tokenizer,
                                          std::int64_t vocabulary, const Progress& progress) {
  if (path.ends_with(".bin")) return read_choice_shard(path, tokenizer, vocabulary);
  if (tokenizer == nullptr)
    throw Error(Exit::bad_data, path + ": the model has no tokenizer to read text with (expected an evaluation shard)");
  LineReader lines(path, longest_line);
  std::vector<EncodedQuestion> questions;
  while (const std::optional<Line> line = lines.next()) {
    const std::string place = fmt::format("{}:{}", path, line->number);
    if (line->too_long)
      throw Error(Exit::bad_data, fmt::format("{}: {} bytes (expected at most {})", place, line->bytes, longest_line));
    questions.push_back(encode_choice(parse_choice(line->text, form, place), *tokenizer, place));
    require_known(questions.back(), vocabulary);
    if (progress) progress(lines.bytes_read(), lines.size());
  }
  if (questions.empty()) throw Error(Exit::bad_data, path + ": has no question");
  return questions;
}

}  // namespace nll
