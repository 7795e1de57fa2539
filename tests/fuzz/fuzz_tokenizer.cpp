// Input: a tokenizer.json.
// Claim: it is refused as bad data, or what it encodes it decodes, every id is inside its vocabulary, and what it
// writes reads back as the same tokenizer.
#include <string>
#include <vector>

#include "src/text/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/scratch_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nll;
  static const fuzz::ScratchFolder folder;
  const std::string_view input = fuzz::text_of(data, size);
  const std::string path = folder.write("tokenizer.json", input);
  fuzz::takes_or_refuses({Exit::bad_data}, [&] {
    const Tokenizer tokenizer = Tokenizer::load(path);
    const std::string text = std::string(input.substr(0, 512)) + " It's  12\r\n\xC3\xA9\xF0\x9F\x8E\x89\xFF\x80";
    const std::vector<std::int32_t> ids = tokenizer.encode(text);
    for (std::int32_t id : ids) fuzz::require(id >= 0 && id < tokenizer.vocabulary(), "an id is in the vocabulary");
    fuzz::require(tokenizer.decode(ids) == text, "any bytes round-trip");
    const Tokenizer again = Tokenizer::load(folder.write("again.json", tokenizer.json()));
    fuzz::require(again.hash() == tokenizer.hash(), "a tokenizer that was written reads back the same");
    fuzz::require(again.encode(text) == ids, "a tokenizer that was written encodes the same");
  });
  return 0;
}
