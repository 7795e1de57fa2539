// What the two sides of a rendezvous say to each other, as bytes. Rank 0's port can be reached by anybody, so reading
// is a pure function of bytes that refuses all that is not exactly what an nll process writes.
//
//   message = magic (8 bytes), version (4), length of the rest (4), the rest; numbers are little-endian
//   hello   = job (8), rank, size, local rank, local size (4 each), length of the host's name (2), the host's name
//   verdict = 0 (1), run (8), for each rank: length of its host's name (2), the name        welcome
//           | exit code (1), text                                                          refusal
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "src/dist/world.h"

namespace nll {

struct Hello {
  std::uint64_t job = 0;  // job_number
  World world;
};

struct Verdict {
  int exit = 0;                    // 0: welcome; else what the refused process should end with
  std::string reason;              // of a refusal
  std::uint64_t run = 0;           // drawn by rank 0; every later message of this run carries it
  std::vector<std::string> hosts;  // of all ranks
};

enum class MessageState { incomplete, complete, refused };
template <class Message>
struct MessageRead {
  MessageState state = MessageState::incomplete;
  Message message;     // when complete
  std::string reason;  // when refused: one line of printable text
};

// No hello is longer; more is never kept of a connection that has not said who it is.
inline constexpr std::size_t longest_hello = 16 + 26 + 255;
inline constexpr std::size_t longest_host_name = 255, longest_reason = 1000;
std::size_t longest_verdict(int size);

// The number of the job `name` of `size` processes; processes of another job or size come to another one.
std::uint64_t job_number(const std::string& name, int size);

std::string make_hello(const Hello& hello);
std::string make_verdict(const Verdict& verdict);
// `bytes` is all that was received so far; one message and not a byte more.
MessageRead<Hello> read_hello(std::span<const std::uint8_t> bytes);
MessageRead<Verdict> read_verdict(std::span<const std::uint8_t> bytes, int size);

// Why rank 0, which is `own`, cannot take `hello`; "": it can. That a rank comes twice is not looked at.
std::string unfit(const Hello& hello, const Hello& own);

// The host's name as messages carry it: printable, not too long.
std::string plain_host_name(std::string name);

}  // namespace nll
