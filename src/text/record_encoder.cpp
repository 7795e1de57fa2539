#include "src/text/record_encoder.h"

#include <algorithm>
#include <array>

#include "kernels/check.h"

namespace nll {

// A sequence as it grows.
class RecordEncoder::Row {
 public:
  void add(const std::vector<std::int32_t>& ids, bool trained) {
    const auto begin = static_cast<std::int32_t>(row_.tokens.size());
    row_.tokens.insert(row_.tokens.end(), ids.begin(), ids.end());
    const auto end = static_cast<std::int32_t>(row_.tokens.size());
    if (!trained || begin == end) return;
    if (!row_.trained.empty() && row_.trained.back().end == begin) {
      row_.trained.back().end = end;
    } else {
      row_.trained.push_back({begin, end});
    }
  }
  // Ends the text with `id`, where the tokenizer has one and it is not there yet.
  void end_with(std::int32_t id, bool trained) {
    if (id >= 0 && (row_.tokens.empty() || row_.tokens.back() != id)) add({id}, trained);
  }
  // The sequence. Its first token has nothing that it could be predicted from.
  EncodedSequence take(std::size_t prompt_tokens) {
    row_.prompt_tokens = static_cast<std::int64_t>(std::max<std::size_t>(prompt_tokens, 1));
    for (TokenSpan& span : row_.trained) span.begin = std::max(span.begin, 1);
    std::erase_if(row_.trained, [](const TokenSpan& span) { return span.begin >= span.end; });
    return std::move(row_);
  }

 private:
  EncodedSequence row_;
};

RecordEncoder::RecordEncoder(const Tokenizer& tokenizer, ChatMarkers markers, std::int64_t max_length,
                             LongRecords long_records)
    : tokenizer_(tokenizer), markers_(std::move(markers)), max_length_(max_length), long_records_(long_records) {
  CHECK(max_length >= 2);
  for (std::int32_t id = 0; id < tokenizer.vocabulary(); ++id) {
    if (tokenizer.special(id)) special_.emplace_back(tokenizer.decode(std::array{id}, true), id);
  }
  std::stable_sort(special_.begin(), special_.end(),
                   [](const auto& left, const auto& right) { return left.first.size() > right.first.size(); });
}

std::vector<std::int32_t> RecordEncoder::marker(std::string_view text) const {
  std::vector<std::int32_t> ids;
  const auto append = [&](std::string_view ordinary) {
    const std::vector<std::int32_t> more = tokenizer_.encode(ordinary);
    ids.insert(ids.end(), more.begin(), more.end());
  };
  while (!text.empty()) {
    std::size_t first = text.size();
    const std::pair<std::string, std::int32_t>* which = nullptr;
    for (const auto& special : special_) {
      if (special.first.empty()) continue;
      if (const std::size_t at = text.find(special.first); at < first) first = at, which = &special;
    }
    append(text.substr(0, first));
    if (which == nullptr) break;
    ids.push_back(which->second);
    text.remove_prefix(first + which->first.size());
  }
  return ids;
}

std::vector<std::int32_t> RecordEncoder::encode_prompt(const Passage& prompt) const {
  std::vector<std::int32_t> ids;
  const auto add = [&](const std::vector<std::int32_t>& more) { ids.insert(ids.end(), more.begin(), more.end()); };
  if (!prompt.conversation) add(tokenizer_.encode(prompt.text));
  for (const Message& message : prompt.messages) {
    add(marker(markers_.of(message.role).prefix));
    add(tokenizer_.encode(message.content));
    // The assistant's last words in a prompt are gone on with.
    if (message.role != Role::assistant || &message != &prompt.messages.back()) {
      add(marker(markers_.of(message.role).suffix));
    }
  }
  if (prompt.conversation && (prompt.messages.empty() || prompt.messages.back().role != Role::assistant)) {
    add(marker(markers_.assistant.prefix));
  }
  if (ids.empty() && tokenizer_.end_of_text() >= 0) ids.push_back(tokenizer_.end_of_text());
  return ids;
}

EncodedSequence RecordEncoder::encode_completion(const std::vector<std::int32_t>& prompt, const Passage& completion,
                                                 bool continued) const {
  Row row;
  row.add(prompt, false);
  bool trained = true;
  if (!completion.conversation) {
    std::string_view text = completion.text;
    // A completion may spell its end, as text made for other programs does.
    const std::int32_t end = tokenizer_.end_of_text();
    const std::string name = end >= 0 ? tokenizer_.decode(std::array{end}, true) : std::string();
    if (!name.empty() && text.ends_with(name)) text.remove_suffix(name.size());
    row.add(tokenizer_.encode(text), true);
  }
  for (const Message& message : completion.messages) {
    trained = message.role == Role::assistant || !markers_.assistant_only;
    const RoleMarkers& markers = markers_.of(message.role);
    // The first prefix is the end of the prompt.
    const bool prefix = !continued || &message != &completion.messages.front();
    if (prefix) row.add(marker(markers.prefix), !markers_.assistant_only);
    row.add(tokenizer_.encode(message.content), trained);
    row.add(marker(markers.suffix), trained);
  }
  row.end_with(tokenizer_.end_of_text(), trained);
  return row.take(prompt.size());
}

EncodedSequence RecordEncoder::encode_whole(const Passage& passage) const {
  // A conversation begins with its first marker, here and when it is continued by generation.
  if (!passage.conversation) return encode_completion(encode_prompt({}), passage, false);
  EncodedSequence sequence = encode_completion({}, passage, false);
  if (!sequence.trained.empty()) sequence.prompt_tokens = sequence.trained.front().begin;
  return sequence;
}

void RecordEncoder::finish(EncodedRecord& record) const {
  for (EncodedSequence& sequence : record.sequences) {
    if (static_cast<std::int64_t>(sequence.tokens.size()) > max_length_) {
      if (long_records_ == LongRecords::drop) {
        record.fate = EncodedRecord::Fate::too_long;
        break;
      }
      sequence.tokens.resize(static_cast<std::size_t>(max_length_));
      sequence.truncated = true;
      const auto end = static_cast<std::int32_t>(max_length_);
      for (TokenSpan& span : sequence.trained) span.end = std::min(span.end, end);
      std::erase_if(sequence.trained, [](const TokenSpan& span) { return span.begin >= span.end; });
    }
    if (sequence.trained.empty()) {
      record.fate = EncodedRecord::Fate::nothing_left;
      break;
    }
  }
  if (record.fate != EncodedRecord::Fate::kept) record.sequences.clear();
}

EncodedRecord RecordEncoder::encode(const Record& record) const {
  EncodedRecord encoded;
  encoded.label = record.label;
  encoded.margin = record.margin;
  encoded.columns = record.columns;
  if (record.form == Record::Form::whole) {
    encoded.sequences.push_back(encode_whole(record.completions.front()));
    finish(encoded);
    return encoded;
  }
  const std::vector<std::int32_t> prompt = encode_prompt(record.prompt);
  if (record.form == Record::Form::prompt) {
    // Of a prompt that is cut the question is gone.
    const auto tokens = static_cast<std::int64_t>(prompt.size());
    if (tokens == 0) encoded.fate = EncodedRecord::Fate::nothing_left;
    if (tokens > max_length_) encoded.fate = EncodedRecord::Fate::too_long;
    if (encoded.fate == EncodedRecord::Fate::kept) encoded.sequences.push_back({prompt, tokens, {}, false});
    return encoded;
  }
  for (const Passage& completion : record.completions) {
    encoded.sequences.push_back(encode_completion(prompt, completion, true));
  }
  finish(encoded);
  return encoded;
}

}  // namespace nll
