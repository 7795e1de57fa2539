// GPT-2's one-to-one map from bytes to printable characters, in which vocabularies and merges are written down:
// printable Latin-1 stands for itself, the other 68 bytes are the characters from U+0100 on.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace nll {

// How the bytes are spelled in tokenizer.json and vocab.bpe.
std::string spell_bytes(std::string_view bytes);
// The bytes that a spelling stands for. False when it has a character outside of the alphabet.
bool read_spelling(std::string_view spelling, std::string& bytes);
// The bytes in the order of their characters: token i of a vocabulary that is trained here is the i-th of them.
const std::array<std::uint8_t, 256>& bytes_in_alphabet_order();

}  // namespace nll
