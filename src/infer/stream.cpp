#include "src/infer/stream.h"

#include <algorithm>

#include "kernels/check.h"

namespace nll {

namespace {

constexpr const char* replacement = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

Utf8Stream::Utf8Stream(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty()) throw Error(Exit::usage, "--stop: the text is empty (expected at least one character)");
  }
}

std::string Utf8Stream::push(std::string_view bytes) {
  std::string out;
  if (stopped_) return out;
  for (const char byte : bytes) {
    held_ += byte;
    std::size_t longest = 0;  // of the stop strings that end here, the one that began first
    for (const std::string& stop : stops_) {
      if (held_.ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) {
      decode(std::string_view(held_).substr(0, held_.size() - longest), out);
      held_.clear();
      stopped_ = true;
      return out;
    }
    std::size_t keep = 0;
    for (const std::string& stop : stops_) {
      for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n) {
        if (held_.ends_with(std::string_view(stop).substr(0, n))) keep = n;
      }
    }
    decode(std::string_view(held_).substr(0, held_.size() - keep), out);
    held_.erase(0, held_.size() - keep);
  }
  return out;
}

std::string Utf8Stream::flush() {
  std::string out;
  decode(held_, out);
  held_.clear();
  if (missing_ > 0) out += replacement;
  partial_.clear();
  missing_ = 0;
  return out;
}

// A character's first byte says how many follow and, by Unicode's table 3-7, where the second must lie: that leaves out
// overlong forms, surrogates and everything above U+10FFFF.
void Utf8Stream::decode(std::string_view bytes, std::string& out) {
  for (std::size_t i = 0; i < bytes.size();) {
    const std::uint8_t byte = static_cast<std::uint8_t>(bytes[i]);
    if (missing_ > 0) {
      if (byte < low_ || byte > high_) {  // cut short; this byte begins something new
        out += replacement;
        partial_.clear();
        missing_ = 0;
        continue;
      }
      partial_ += bytes[i++];
      low_ = 0x80;
      high_ = 0xBF;
      if (--missing_ == 0) {
        out += partial_;
        partial_.clear();
      }
      continue;
    }
    ++i;
    if (byte < 0x80) {
      out += static_cast<char>(byte);
      continue;
    }
    if (byte < 0xC2 || byte > 0xF4) {
      out += replacement;
      continue;
    }
    missing_ = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
    low_ = byte == 0xE0 ? 0xA0 : byte == 0xF0 ? 0x90 : 0x80;
    high_ = byte == 0xED ? 0x9F : byte == 0xF4 ? 0x8F : 0xBF;
    partial_ = static_cast<char>(byte);
  }
}

}  // namespace nll
