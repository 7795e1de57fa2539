// Input: a byte that says which message, then what came through the port so far. Claim: a hello or a verdict is taken,
// refused with one short line, or incomplete; incomplete ones stay within their bounds; one that is taken is written
// back to the same bytes, and every beginning of it is incomplete.
#include <cstdint>
#include <span>
#include <string>

#include "src/dist/rendezvous_hello.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

using Bytes = std::span<const std::uint8_t>;

template <class Read, class Write>
void try_message(Bytes bytes, std::size_t longest, const Read& read, const Write& write) {
  using nll::MessageState;
  using nll::fuzz::require;
  const auto result = read(bytes);
  switch (result.state) {
    case MessageState::incomplete:
      require(bytes.size() < longest, "a message as long as any can be is complete or refused");
      require(result.reason.empty(), "only a refusal has a reason");
      break;
    case MessageState::refused:
      require(!result.reason.empty() && result.reason.size() < 500, "a refusal says why, shortly");
      for (char c : result.reason) require(c >= 0x20 && c < 0x7f, "a refusal is one line of printable text");
      break;
    case MessageState::complete:
      require(write(result.message) == std::string(bytes.begin(), bytes.end()), "a message is written back the same");
      for (std::size_t length = 0; length < bytes.size(); ++length) {
        require(read(bytes.first(length)).state == MessageState::incomplete,
                "the beginning of a message is incomplete");
      }
      break;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nll;
  if (size == 0) return 0;
  const Bytes bytes(data + 1, size - 1);
  const int ranks = 1 + data[0] / 2 % 4;
  if (data[0] % 2 == 0) {
    try_message(bytes, longest_hello, read_hello, make_hello);
    const auto read = read_hello(bytes);
    const Hello own{job_number("job", ranks), {0, ranks, 0, 1, "node0"}};
    if (read.state == MessageState::complete && unfit(read.message, own).empty()) {
      fuzz::require(read.message.world.rank > 0 && read.message.world.rank < ranks,
                    "a rank that fits has its own place");
    }
  } else {
    try_message(
        bytes, longest_verdict(ranks), [&](Bytes some) { return read_verdict(some, ranks); }, make_verdict);
  }
  return 0;
}
