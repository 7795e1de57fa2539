// Input: JSON text, then overrides "a.b=c", each after a NUL byte.
// Claim: it is refused with a usage error of one line, or taken and then written and read back to equal values.
#include <string>
#include <vector>

#include "src/config/config.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nll;
  std::vector<std::string> pieces(1);
  for (char c : fuzz::text_of(data, size)) {
    if (c == '\0') {
      pieces.emplace_back();
    } else {
      pieces.back() += c;
    }
  }
  const std::vector<std::string> overrides(pieces.begin() + 1, pieces.end());
  Config config;
  if (fuzz::takes_or_refuses({Exit::usage}, [&] { config = parse_config(pieces[0], "fuzz.json", overrides); })) {
    const Config again = parse_config(dump_config(config), "dump.json", {});
    fuzz::require(differences(config, again).empty(), "a config that was taken reads back equal");
  }
  return 0;
}
