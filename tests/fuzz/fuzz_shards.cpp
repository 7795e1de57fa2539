// Input: the bytes of a token file. The name decides between a shard with a header and nanoGPT's headerless form, so
// the first byte chooses the name. Claim: it is refused as bad data, or every one of its tokens can be read and is
// inside the vocabulary.
#include <algorithm>
#include <string>
#include <vector>

#include "src/text/token_files.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/scratch_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nll;
  static const fuzz::ScratchFolder folder;
  if (size == 0) return 0;
  const std::string path =
      folder.write(data[0] % 2 == 0 ? "shard.bin" : "train.bin", fuzz::text_of(data + 1, size - 1));
  constexpr std::int64_t vocabulary = 50257;
  fuzz::takes_or_refuses({Exit::bad_data}, [&] {
    const TokenFile file(path);
    fuzz::require(file.info().tokens >= 0, "a count of tokens is not negative");
    fuzz::require(file.info().tokens <= static_cast<std::int64_t>(size), "a file holds the tokens it says");
    file.fingerprint();
    std::vector<std::int32_t> tokens(static_cast<std::size_t>(file.info().tokens));
    file.read(0, tokens, vocabulary);
    for (std::int32_t token : tokens) fuzz::require(token >= 0 && token < vocabulary, "a token is in the vocabulary");
  });
  fuzz::takes_or_refuses({Exit::bad_data}, [&] {
    const std::int64_t context = 4;
    const TokenDataset dataset({path}, context, vocabulary);
    std::vector<std::int32_t> window(static_cast<std::size_t>(context) + 1);
    for (std::int64_t i = 0; i < std::min<std::int64_t>(dataset.windows(), 8); ++i) dataset.window(1, 0, i, window);
  });
  return 0;
}
