// What all fuzz targets share: a parser may take its input or refuse it with an Error of the right kind and a message
// of one line. Any other exception, a crash or a sanitizer's report is a finding.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>

#include "kernels/check.h"

namespace nll::fuzz {

[[noreturn]] inline void finding(const std::string& what) {
  std::fprintf(stderr, "finding: %s\n", what.c_str());
  std::abort();
}

inline void require(bool claim, const char* what) {
  if (!claim) finding(what);
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Runs `parse`. True when it took the input; false when it refused it as it should.
template <class Parse>
bool takes_or_refuses(std::initializer_list<Exit> allowed, const Parse& parse) {
  try {
    parse();
    return true;
  } catch (const Error& error) {
    bool as_documented = false;
    for (Exit exit : allowed) as_documented = as_documented || error.exit() == exit;
    if (!as_documented) finding("exit code " + std::to_string(static_cast<int>(error.exit())) + ": " + error.what());
    const std::string message = error.what();
    require(!message.empty(), "a refusal says why");
    for (char c : message) require(static_cast<unsigned char>(c) >= 0x20, "a refusal is one line of printable text");
    require(message.size() < 2000, "a refusal is short");
    return false;
  }
}

}  // namespace nll::fuzz
