// The side of the rendezvous that connects.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>
#include <thread>

#include "src/dist/rendezvous.h"
#include "src/dist/rendezvous_hello.h"

namespace nll {
namespace {

// Rank 0 speaks first about who is missing.
constexpr double patience_seconds = 2;

std::string place(const Launch& launch) { return fmt::format("{}:{}", launch.address, launch.port); }

const char* const address_hint =
    "see that MASTER_ADDR and MASTER_PORT are the host and port of rank 0, the same on all";

// Says hello and waits for the verdict. Nothing: the connection was closed, `fault` says how.
std::optional<Verdict> ask(const Socket& socket, const Launch& launch, const std::string& hello,
                           const Deadline& deadline, double limit_seconds, std::string& fault) {
  std::span<const std::uint8_t> rest{reinterpret_cast<const std::uint8_t*>(hello.data()), hello.size()};
  std::vector<std::uint8_t> bytes;
  bool hung_up = false;  // nothing more can be sent, but an answer may be there
  while (!deadline.over()) {
    std::size_t count = 0;
    if (!rest.empty() && !hung_up) {
      hung_up = socket.send(rest, count, fault) == Socket::Outcome::closed;
      rest = rest.subspan(count);
    }
    std::array<std::uint8_t, 4096> buffer;
    const auto outcome = socket.receive(buffer, count, fault);
    if (outcome == Socket::Outcome::closed) return {};
    if (outcome == Socket::Outcome::nothing_now) {
      const short events = rest.empty() || hung_up ? POLLIN : POLLIN | POLLOUT;
      std::vector<pollfd> one{{socket.descriptor(), events, 0}};
      poll_sockets(one, deadline.milliseconds());
      continue;
    }
    bytes.insert(bytes.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(count));
    const auto read = read_verdict(bytes, launch.world.size);
    if (read.state == MessageState::complete) return read.message;
    if (read.state == MessageState::refused) {
      throw Error(Exit::usage,
                  fmt::format("{}: what answers there is not rank 0 of this job ({})", place(launch), read.reason),
                  address_hint);
    }
  }
  throw Error(Exit::peer_lost,
              fmt::format("{}: rank 0 took the connection of rank {} and has said nothing for {:g} s", place(launch),
                          launch.world.rank, limit_seconds),
              address_hint);
}

}  // namespace

Meeting join_rank_0(const Launch& launch, double limit_seconds) {
  CHECK(launch.world.rank > 0);
  Meeting meeting;
  meeting.world = launch.world;
  std::array<char, 256> name{};
  (void)gethostname(name.data(), name.size() - 1);
  meeting.world.host = plain_host_name(name.data());
  const std::string hello = make_hello({job_number(launch.job, launch.world.size), meeting.world});

  const Deadline deadline(limit_seconds);
  // A name may become known a little after the job has started; after this long it is taken for wrong.
  const Deadline name_deadline(std::min(limit_seconds, 30.0));
  std::string fault;
  auto pause = std::chrono::milliseconds(10);
  constexpr auto longest_pause = std::chrono::milliseconds(500);
  std::vector<Address> addresses;
  while (true) {
    if (addresses.empty()) addresses = find_addresses(launch.address, launch.port, name_deadline, fault);
    if (addresses.empty() && name_deadline.over()) {
      throw Error(Exit::usage,
                  fmt::format("{}: the name is unknown on {} ({})", launch.address, meeting.world.host, fault),
                  address_hint);
    }
    for (const Address& address : addresses) {
      constexpr double shortest_try = 0.1, longest_try = 5;
      Socket socket = connect_to(address, Deadline(std::clamp(deadline.seconds(), shortest_try, longest_try)), fault);
      if (!socket.is_open()) continue;
      // Rank 0 has been waiting at least since now.
      auto verdict = ask(socket, launch, hello, Deadline(limit_seconds + patience_seconds), limit_seconds, fault);
      if (!verdict) continue;
      if (verdict->exit != 0) {
        const auto exit = static_cast<Exit>(verdict->exit);
        if (exit == Exit::peer_lost) throw Error(exit, verdict->reason);
        throw Error(exit, fmt::format("{}: rank 0 refused this process: {}", place(launch), verdict->reason),
                    "start all processes with one launcher; is another job at that port?");
      }
      meeting.run = verdict->run;
      meeting.hosts = std::move(verdict->hosts);
      meeting.connections.push_back(std::move(socket));
      return meeting;
    }
    if (deadline.over()) break;
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, longest_pause);
  }
  throw Error(Exit::peer_lost,
              fmt::format("{}: rank 0 does not answer rank {} ({}) within {:g} s: {}", place(launch), launch.world.rank,
                          meeting.world.host, limit_seconds, fault),
              address_hint);
}

}  // namespace nll
