// A vocabulary that can be read off a text: a byte's id is the byte; one merge, "ab" = 256; end of text = 257.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "src/text/byte_alphabet.h"
#include "src/text/tokenizer.h"
#include "tests/text/temporary_folder.h"

namespace nll {

using Ids = std::vector<std::int32_t>;

inline constexpr std::int32_t ab = 256, end_of_text = 257, begin_turn = 258, end_turn = 259;

inline std::string byte_tokenizer_json(bool with_special = true) {
  nlohmann::json vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    vocabulary[spell_bytes({&c, 1})] = byte;
  }
  vocabulary["ab"] = ab;
  nlohmann::json document;
  document["model"] = {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", nlohmann::json::array({"a b"})}};
  document["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  document["decoder"] = {{"type", "ByteLevel"}};
  if (with_special) {
    document["added_tokens"] = {{{"id", end_of_text}, {"content", "<|endoftext|>"}, {"special", true}},
                                {{"id", begin_turn}, {"content", "<|im_start|>"}, {"special", true}},
                                {{"id", end_turn}, {"content", "<|im_end|>"}, {"special", true}}};
  }
  return document.dump();
}

inline Tokenizer byte_tokenizer(bool with_special = true) {
  const TemporaryFolder folder;
  return Tokenizer::load(write_file(folder / "tokenizer.json", byte_tokenizer_json(with_special)));
}

// The ids of a text without "ab".
inline Ids bytes_of(std::string_view text) {
  Ids ids;
  for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

inline Ids joined(std::initializer_list<Ids> parts) {
  Ids all;
  for (const Ids& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace nll
