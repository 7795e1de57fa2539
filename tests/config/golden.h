// Reads and writes bad_configs.golden: named cases of bad input with the exact error of each.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace nll {

struct BadCase {
  std::string name, written;           // written: the case as it stands in the file, up to its error
  std::string config = "{}";           // bytes, escapes resolved
  std::vector<std::string> overrides;  // likewise
  std::int64_t ranks = 1;
  std::string error;  // "exit 2\n<message>\nhint: <hint>\n"
};

struct BadCases {
  std::string head;  // comment before the first case
  std::vector<BadCase> cases;
};

BadCases read_cases(const std::string& path);
void write_cases(const std::string& path, const BadCases& cases);
// "<x1B>" is that byte, "<65*[>" that many of what follows the star; anything else stands for itself.
std::string resolve_escapes(const std::string& text);

}  // namespace nll
