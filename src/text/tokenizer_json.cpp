#include "src/text/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/check.h"
#include "src/config/quote.h"
#include "src/text/byte_alphabet.h"
#include "src/text/json_document.h"

namespace nll {
namespace {

using nlohmann::json;

[[noreturn]] void refuse(const std::string& place, const std::string& what) {
  throw Error(Exit::bad_data, place + ": " + what);
}

// A member of an object, or null where it is absent: Hugging Face writes either for "none".
const json& member(const json& object, const char* key) {
  static const json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

// The "type" of a part such as the pre-tokenizer; parts of other types are not understood.
std::string type_of(const json& part, const std::string& place, const char* key) {
  if (!part.is_object()) refuse(place, fmt::format("{} is {} (expected an object)", key, json_kind(part)));
  const json& type = member(part, "type");
  if (!type.is_string()) refuse(place, fmt::format("{}.type is {} (expected a string)", key, json_kind(type)));
  return type.get<std::string>();
}

void require_absent(const json& object, const std::string& place, const char* where, const char* key) {
  const json& value = member(object, key);
  if (value.is_null() || value == false || value == "" || (value.is_number() && value == 0)) return;
  refuse(place, fmt::format("{}{} is {} (only byte-level BPE without it is read)", where, key,
                            value.is_structured() ? json_kind(value) : shown(value.dump())));
}

void check_pre_tokenizer(const json& part, const std::string& place) {
  if (part.is_null()) refuse(place, "pre_tokenizer is null (expected ByteLevel)");
  const std::string type = type_of(part, place, "pre_tokenizer");
  if (type != "ByteLevel")
    refuse(place, fmt::format("pre_tokenizer.type is {} (expected \"ByteLevel\")", in_quotes(type)));
  if (member(part, "add_prefix_space") == true) {
    refuse(place, "pre_tokenizer.add_prefix_space is true (expected false: text is encoded as it is)");
  }
  if (member(part, "use_regex") == false) {
    refuse(place, "pre_tokenizer.use_regex is false (expected true: GPT-2's pattern)");
  }
}

// A template is fine as long as it adds nothing: transformers writes one that is the bare sequence.
void check_post_processor(const json& part, const std::string& place) {
  if (part.is_null()) return;
  const std::string type = type_of(part, place, "post_processor");
  if (type == "ByteLevel") return;
  if (type != "TemplateProcessing") {
    refuse(place, fmt::format("post_processor.type is {} (expected \"ByteLevel\")", in_quotes(type)));
  }
  const json& single = member(part, "single");
  const bool bare = single.is_array() && single.size() == 1 && single[0].is_object() && single[0].contains("Sequence");
  if (!bare) refuse(place, "post_processor adds tokens to the text (expected none: text is encoded as it is)");
}

void check_parts(const json& document, const std::string& place) {
  if (!document.is_object()) refuse(place, fmt::format("is {} (expected an object)", json_kind(document)));
  const json& model = member(document, "model");
  if (!model.is_object()) refuse(place, fmt::format("model is {} (expected an object)", json_kind(model)));
  // Files of the first versions have no model.type; they are told by their merges.
  if (model.contains("type") || !model.contains("merges")) {
    const std::string type = type_of(model, place, "model");
    if (type != "BPE") refuse(place, fmt::format("model.type is {} (expected \"BPE\")", in_quotes(type)));
  }
  for (const char* key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"}) {
    require_absent(model, place, "model.", key);
  }
  const json& normalizer = member(document, "normalizer");
  if (!normalizer.is_null()) {
    refuse(place, fmt::format("normalizer.type is {} (expected no normalizer)",
                              in_quotes(type_of(normalizer, place, "normalizer"))));
  }
  check_pre_tokenizer(member(document, "pre_tokenizer"), place);
  const json& decoder = member(document, "decoder");
  if (!decoder.is_null()) {
    const std::string type = type_of(decoder, place, "decoder");
    if (type != "ByteLevel") refuse(place, fmt::format("decoder.type is {} (expected \"ByteLevel\")", in_quotes(type)));
  }
  check_post_processor(member(document, "post_processor"), place);
}

std::int64_t id_of(const json& value, const std::string& place, const std::string& token) {
  if (value.is_number_integer()) return value.get<std::int64_t>();
  refuse(place, fmt::format("the id of {} is {} (expected an integer)", in_quotes(token), json_kind(value)));
}

void read_merges(const json& merges, const std::string& place, SpelledVocabulary& spelled) {
  if (!merges.is_array()) refuse(place, fmt::format("model.merges is {} (expected an array)", json_kind(merges)));
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const json& merge = merges[rank];
    if (merge.is_string()) {
      const auto& both = merge.get_ref<const std::string&>();
      const std::size_t space = both.find(' ');
      if (space != std::string::npos && both.find(' ', space + 1) == std::string::npos) {
        spelled.merges.emplace_back(both.substr(0, space), both.substr(space + 1));
        continue;
      }
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      spelled.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
      continue;
    }
    refuse(place, fmt::format("merge {} is {} (expected \"left right\" or [\"left\", \"right\"])", rank,
                              merge.is_string() ? in_quotes(merge.get_ref<const std::string&>()) : json_kind(merge)));
  }
}

void read_added_tokens(const json& added, const std::string& place, SpelledVocabulary& spelled) {
  if (added.is_null()) return;
  if (!added.is_array()) refuse(place, fmt::format("added_tokens is {} (expected an array)", json_kind(added)));
  for (std::size_t i = 0; i < added.size(); ++i) {
    const json& content = added[i].is_object() ? member(added[i], "content") : added[i];
    if (!added[i].is_object() || !content.is_string()) {
      refuse(place, fmt::format("added_tokens[{}] has no content (expected an object with id and content)", i));
    }
    const auto& name = content.get_ref<const std::string&>();
    if (member(added[i], "special") != true) {
      refuse(place, fmt::format("added token {} is not special (only special ones are read)", in_quotes(name)));
    }
    spelled.special.emplace_back(name, id_of(member(added[i], "id"), place, name));
  }
}

}  // namespace

BpeVocabulary read_tokenizer_json(std::string_view text, const std::string& place) {
  const json document = parse_json(text, place);
  check_parts(document, place);
  const json& model = document["model"];
  SpelledVocabulary spelled;
  const json& vocab = member(model, "vocab");
  if (!vocab.is_object()) refuse(place, fmt::format("model.vocab is {} (expected an object)", json_kind(vocab)));
  for (const auto& [token, id] : vocab.items()) spelled.tokens.emplace_back(token, id_of(id, place, token));
  read_merges(member(model, "merges"), place, spelled);
  read_added_tokens(member(document, "added_tokens"), place, spelled);
  return resolve_vocabulary(spelled, place, place);
}

std::string write_tokenizer_json(const BpeVocabulary& vocabulary) {
  // Written by hand: the order of the vocabulary is that of the ids, and a line a token keeps it readable.
  const auto text = [](const std::string& value) { return json(value).dump(); };
  std::string added, tokens, merges;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const bool special = vocabulary.special[id];
    const std::string name = text(special ? vocabulary.tokens[id] : spell_bytes(vocabulary.tokens[id]));
    tokens += fmt::format("{}\n      {}: {}", tokens.empty() ? "" : ",", name, id);
    if (!special) continue;
    added += fmt::format(
        "{}\n    {{\n      \"id\": {},\n      \"content\": {},\n      \"single_word\": false,\n      \"lstrip\": "
        "false,\n"
        "      \"rstrip\": false,\n      \"normalized\": false,\n      \"special\": true\n    }}",
        added.empty() ? "" : ",", id, name);
  }
  for (const BpeMerge& merge : vocabulary.merges) {
    const auto spelling = [&](std::int32_t id) { return spell_bytes(vocabulary.tokens[static_cast<std::size_t>(id)]); };
    merges += fmt::format("{}\n      {}", merges.empty() ? "" : ",",
                          text(spelling(merge.left) + " " + spelling(merge.right)));
  }
  const char* const byte_level =
      "{\n    \"type\": \"ByteLevel\",\n    \"add_prefix_space\": false,\n    \"trim_offsets\": true,\n"
      "    \"use_regex\": true\n  }";
  return fmt::format(
      "{{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [{}{}],\n"
      "  \"normalizer\": null,\n  \"pre_tokenizer\": {},\n  \"post_processor\": null,\n  \"decoder\": {},\n"
      "  \"model\": {{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n"
      "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n    \"fuse_unk\": false,\n"
      "    \"byte_fallback\": false,\n    \"ignore_merges\": false,\n    \"vocab\": {{{}\n    }},\n"
      "    \"merges\": [{}{}]\n  }}\n}}\n",
      added, added.empty() ? "" : "\n  ", byte_level, byte_level, tokens, merges, merges.empty() ? "" : "\n    ");
}

}  // namespace nll
