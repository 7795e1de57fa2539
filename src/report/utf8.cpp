#include "src/report/utf8.h"

#include <algorithm>
#include <array>

namespace nll {
namespace {

struct Interval {
  char32_t first, last;
};

// Unicode 15: the blocks of combining marks, joiners and variation selectors, by block and not by character.
constexpr std::array<Interval, 12> zero_width = {{{0x0300, 0x036f},
                                                  {0x0483, 0x0489},
                                                  {0x0591, 0x05bd},
                                                  {0x064b, 0x065f},
                                                  {0x0900, 0x0902},
                                                  {0x1ab0, 0x1aff},
                                                  {0x1dc0, 0x1dff},
                                                  {0x200b, 0x200f},
                                                  {0x20d0, 0x20ff},
                                                  {0xfe00, 0xfe0f},
                                                  {0xfe20, 0xfe2f},
                                                  {0xe0100, 0xe01ef}}};

// East Asian Width W and F (UAX 11), by block.
constexpr std::array<Interval, 14> double_width = {{{0x1100, 0x115f},
                                                    {0x231a, 0x231b},
                                                    {0x23e9, 0x23ec},
                                                    {0x2e80, 0x303e},
                                                    {0x3041, 0xa4cf},
                                                    {0xa960, 0xa97c},
                                                    {0xac00, 0xd7a3},
                                                    {0xf900, 0xfaff},
                                                    {0xfe30, 0xfe6f},
                                                    {0xff00, 0xff60},
                                                    {0xffe0, 0xffe6},
                                                    {0x1f300, 0x1f64f},
                                                    {0x1f680, 0x1faff},
                                                    {0x20000, 0x3fffd}}};

template <std::size_t count>
bool inside(const std::array<Interval, count>& intervals, char32_t code) {
  return std::any_of(intervals.begin(), intervals.end(),
                     [&](const Interval& interval) { return code >= interval.first && code <= interval.last; });
}

bool is_control(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

}  // namespace

Character leading_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return {first, 1, true};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return {};
  char32_t code = first & (0x7fU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fU);
  }
  const char32_t least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
  if (code < least || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {code, length, true};
}

std::string valid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Character character = leading_character(text.substr(at));
    valid += character.valid ? text.substr(at, character.length) : "\xef\xbf\xbd";
    at += character.length;
  }
  return valid;
}

int display_columns(char32_t code) {
  if (inside(zero_width, code)) return 0;
  return inside(double_width, code) ? 2 : 1;
}

std::string cut_to_columns(std::string_view text, int columns) {
  constexpr int dots = 3;
  std::string line, head;  // head: what fits when the dots must fit too
  int used = 0;
  for (std::size_t at = 0; at < text.size();) {
    const Character character = leading_character(text.substr(at));
    const bool blank = is_control(character.code);
    const int width = blank ? 1 : display_columns(character.code);
    if (used + width > columns) return columns < dots ? line : head + "...";
    line += blank ? " " : character.valid ? text.substr(at, character.length) : "\xef\xbf\xbd";
    used += width;
    if (used <= columns - dots) head = line;
    at += character.length;
  }
  return line;
}

}  // namespace nll
