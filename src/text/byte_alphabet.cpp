#include "src/text/byte_alphabet.h"

#include <algorithm>

#include "src/text/utf8.h"

namespace nll {
namespace {

struct Alphabet {
  std::array<std::uint32_t, 256> character;  // of each byte
  std::array<std::int16_t, 512> byte;        // of each character, -1 where there is none
  std::array<std::uint8_t, 256> order;       // bytes by their characters

  Alphabet() {
    byte.fill(-1);
    std::uint32_t next = 256;
    for (std::uint32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      character[b] = printable ? b : next++;
      byte[character[b]] = static_cast<std::int16_t>(b);
      order[b] = static_cast<std::uint8_t>(b);
    }
    std::sort(order.begin(), order.end(),
              [this](std::uint8_t left, std::uint8_t right) { return character[left] < character[right]; });
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

std::string spell_bytes(std::string_view bytes) {
  std::string spelling;
  for (const char c : bytes) append_utf8(spelling, alphabet().character[static_cast<std::uint8_t>(c)]);
  return spelling;
}

bool read_spelling(std::string_view spelling, std::string& bytes) {
  bytes.clear();
  while (!spelling.empty()) {
    const Utf8Character character = first_character(spelling);
    if (character.length == 0 || character.code_point >= alphabet().byte.size()) return false;
    const std::int16_t byte = alphabet().byte[character.code_point];
    if (byte < 0) return false;
    bytes.push_back(static_cast<char>(byte));
    spelling.remove_prefix(character.length);
  }
  return true;
}

const std::array<std::uint8_t, 256>& bytes_in_alphabet_order() { return alphabet().order; }

}  // namespace nll
