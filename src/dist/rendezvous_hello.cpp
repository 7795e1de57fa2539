#include "src/dist/rendezvous_hello.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "kernels/check.h"

namespace nll {
namespace {

constexpr std::string_view magic("\x89NLL\r\n\x1a\n", 8);  // what breaks when a proxy takes it for text
constexpr std::uint32_t version = 1;
constexpr std::size_t prefix = 16;
constexpr int most_ranks = 1 << 20;

template <class T>
void append(std::string& bytes, T value) {
  const auto bits = static_cast<std::uint64_t>(value);
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>(bits >> (8 * i) & 0xff);
}

std::string message_of(const std::string& rest) {
  std::string bytes(magic);
  append(bytes, version);
  append(bytes, static_cast<std::uint32_t>(rest.size()));
  return bytes + rest;
}

// Takes numbers and texts from the front; past the end it takes zeros and remembers.
struct Reader {
  std::span<const std::uint8_t> rest;
  bool short_of = false;

  template <class T>
  T number() {
    std::uint64_t value = 0;
    if (rest.size() < sizeof(T)) {
      short_of = true;
      return 0;
    }
    for (std::size_t i = 0; i < sizeof(T); ++i) value |= std::uint64_t{rest[i]} << (8 * i);
    rest = rest.subspan(sizeof(T));
    return static_cast<T>(value);
  }
  std::string text(std::size_t length) {
    if (rest.size() < length) {
      short_of = true;
      return {};
    }
    std::string result(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(length));
    rest = rest.subspan(length);
    return result;
  }
};

bool printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

bool is_http(std::string_view bytes) {
  for (std::string_view method : {"GET ", "HEAD ", "POST ", "PUT ", "OPTIONS ", "CONNECT ", "HTTP/"}) {
    if (bytes.substr(0, method.size()) == method) return true;
  }
  return false;
}

// The state of the message's prefix, and where it is complete the whole of the rest.
template <class Message>
MessageRead<Message> read_prefix(std::span<const std::uint8_t> bytes, std::size_t longest, Reader& reader) {
  MessageRead<Message> result;
  const auto refuse = [&](std::string reason) {
    result.state = MessageState::refused;
    result.reason = std::move(reason);
    return result;
  };
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.substr(0, magic.size()) != magic.substr(0, text.size())) {
    // The name of a method may still be on its way; what it is does not matter enough to wait for.
    return refuse(is_http(text) ? "HTTP, not a message of nll" : "not a message of nll");
  }
  if (bytes.size() < prefix) return result;
  reader.rest = bytes.subspan(magic.size());
  const auto its_version = reader.number<std::uint32_t>();
  const auto length = reader.number<std::uint32_t>();
  if (its_version != version) {
    return refuse(fmt::format("version {} of the rendezvous (expected {}: the same build of nll on all hosts)",
                              its_version, version));
  }
  if (length > longest - prefix) return refuse(fmt::format("a message of {} bytes", length));
  if (bytes.size() > prefix + length) return refuse("more bytes than its message has");
  if (bytes.size() == prefix + length) result.state = MessageState::complete;
  return result;
}

template <class Message>
MessageRead<Message> refused(std::string reason) {
  return {MessageState::refused, {}, std::move(reason)};
}

}  // namespace

std::size_t longest_verdict(int size) {
  return prefix + std::max(9 + static_cast<std::size_t>(size) * (2 + longest_host_name), 1 + longest_reason);
}

std::uint64_t job_number(const std::string& name, int size) {
  std::uint64_t hash = 0xcbf29ce484222325ull;  // FNV-1a: tells jobs apart, keeps nobody out who wants in
  const auto add = [&](std::uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3ull; };
  for (char c : name) add(static_cast<std::uint8_t>(c));
  for (int i = 0; i < 4; ++i) add(static_cast<std::uint8_t>(size >> (8 * i)));
  return hash;
}

std::string plain_host_name(std::string name) {
  if (name.size() > longest_host_name) name.resize(longest_host_name);
  for (char& c : name) {
    if (c < 0x20 || c >= 0x7f) c = '?';
  }
  return name;
}

std::string make_hello(const Hello& hello) {
  CHECK(hello.world.host.size() <= longest_host_name);
  std::string rest;
  append(rest, hello.job);
  for (int number : {hello.world.rank, hello.world.size, hello.world.local_rank, hello.world.local_size}) {
    append(rest, number);
  }
  append(rest, static_cast<std::uint16_t>(hello.world.host.size()));
  return message_of(rest + hello.world.host);
}

std::string make_verdict(const Verdict& verdict) {
  std::string rest;
  append(rest, static_cast<std::uint8_t>(verdict.exit));
  if (verdict.exit != 0) return message_of(rest + verdict.reason.substr(0, longest_reason));
  append(rest, verdict.run);
  for (const std::string& host : verdict.hosts) {
    CHECK(host.size() <= longest_host_name);
    append(rest, static_cast<std::uint16_t>(host.size()));
    rest += host;
  }
  return message_of(rest);
}

MessageRead<Hello> read_hello(std::span<const std::uint8_t> bytes) {
  Reader reader;
  auto result = read_prefix<Hello>(bytes, longest_hello, reader);
  if (result.state == MessageState::refused || bytes.size() < prefix) return result;
  if (result.state == MessageState::incomplete) return result;
  Hello& hello = result.message;
  hello.job = reader.number<std::uint64_t>();
  World& world = hello.world;
  for (int* number : {&world.rank, &world.size, &world.local_rank, &world.local_size}) {
    *number = reader.number<std::int32_t>();
  }
  world.host = reader.text(reader.number<std::uint16_t>());
  if (reader.short_of || !reader.rest.empty()) return refused<Hello>("a hello whose lengths do not fit together");
  if (world.size < 1 || world.size > most_ranks) return refused<Hello>(fmt::format("world size {}", world.size));
  if (world.rank < 0 || world.rank >= world.size) {
    return refused<Hello>(fmt::format("rank {} of {}", world.rank, world.size));
  }
  if (world.local_size < 1 || world.local_size > world.size || world.local_rank < 0 ||
      world.local_rank >= world.local_size) {
    return refused<Hello>(
        fmt::format("local rank {} of {} in a world of {}", world.local_rank, world.local_size, world.size));
  }
  if (!printable(world.host) || world.host.size() > longest_host_name)
    return refused<Hello>("an unprintable host name");
  return result;
}

MessageRead<Verdict> read_verdict(std::span<const std::uint8_t> bytes, int size) {
  Reader reader;
  auto result = read_prefix<Verdict>(bytes, longest_verdict(size), reader);
  if (result.state != MessageState::complete) return result;
  Verdict& verdict = result.message;
  verdict.exit = reader.number<std::uint8_t>();
  if (verdict.exit != 0) {
    if (verdict.exit != static_cast<int>(Exit::usage) && verdict.exit != static_cast<int>(Exit::peer_lost)) {
      return refused<Verdict>(fmt::format("verdict {}", verdict.exit));
    }
    verdict.reason = reader.text(reader.rest.size());
    if (verdict.reason.empty() || verdict.reason.size() > longest_reason || !printable(verdict.reason)) {
      return refused<Verdict>("a refusal without a printable reason");
    }
    return result;
  }
  verdict.run = reader.number<std::uint64_t>();
  for (int rank = 0; rank < size && !reader.short_of; ++rank) {
    verdict.hosts.push_back(reader.text(reader.number<std::uint16_t>()));
    if (!printable(verdict.hosts.back()) || verdict.hosts.back().size() > longest_host_name) {
      return refused<Verdict>("an unprintable host name");
    }
  }
  if (reader.short_of || !reader.rest.empty()) return refused<Verdict>("a welcome whose lengths do not fit together");
  return result;
}

std::string unfit(const Hello& hello, const Hello& own) {
  if (hello.world.size != own.world.size) {
    return fmt::format("rank {} of {} processes (expected {})", hello.world.rank, hello.world.size, own.world.size);
  }
  if (hello.job != own.job) return fmt::format("rank {} of another job", hello.world.rank);
  if (hello.world.rank == own.world.rank) return fmt::format("a second rank {}", own.world.rank);
  return {};
}

}  // namespace nll
