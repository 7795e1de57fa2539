#include <fmt/format.h>

#include <cstdio>

#include "src/cli/verbs.h"

namespace nll {

void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error(Exit::io, "standard output: cannot be written");
  }
}

std::function<void(const std::string& folder, const std::string& why)> warn_of_refused(Console& console) {
  return [&console](const std::string& folder, const std::string& why) {
    console.warning(fmt::format("{}: skipped: {}", folder, why));
  };
}

}  // namespace nll
