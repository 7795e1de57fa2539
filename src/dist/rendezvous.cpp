// Rank 0's side of the rendezvous. The other side is rendezvous_join.cpp.
#include "src/dist/rendezvous.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <random>

#include "src/dist/rendezvous_hello.h"

namespace nll {
namespace {

// Connections that have not said who they are. Beyond this many the oldest is closed: a process of the job speaks at
// once, and comes again when it was closed.
constexpr std::size_t most_strangers = 256;
constexpr std::size_t most_kept_refusals = 16;

struct Stranger {
  Socket socket;
  std::string from;
  std::vector<std::uint8_t> bytes;
};

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

class Reception {
 public:
  Reception(const Listener& listener, const Launch& launch) : listener_(listener), own_{0, launch.world} {
    own_.job = job_number(launch.job, launch.world.size);
    std::array<char, 256> name{};
    (void)gethostname(name.data(), name.size() - 1);
    own_.world.host = plain_host_name(name.data());
    meeting_.world = own_.world;
    const auto ranks = static_cast<std::size_t>(own_.world.size);
    meeting_.connections.resize(ranks);
    meeting_.hosts.resize(ranks);
    meeting_.hosts[0] = own_.world.host;
    std::random_device random;
    meeting_.run = std::uint64_t{random()} << 32 | random();
  }

  Meeting receive(double limit_seconds) {
    const Deadline deadline(limit_seconds);
    while (!missing().empty()) {
      if (deadline.over()) fail(limit_seconds);
      step(deadline);
    }
    const std::string welcome = make_verdict({0, "", meeting_.run, meeting_.hosts});
    for (std::size_t rank = 1; rank < meeting_.connections.size(); ++rank) greet(rank, welcome, limit_seconds);
    return std::move(meeting_);
  }

 private:
  std::vector<std::size_t> missing() const {
    std::vector<std::size_t> ranks;
    for (std::size_t rank = 1; rank < meeting_.connections.size(); ++rank) {
      if (!meeting_.connections[rank].is_open()) ranks.push_back(rank);
    }
    return ranks;
  }

  // Waits until anything happens, and deals with it.
  void step(const Deadline& deadline) {
    std::vector<pollfd> watched{{listener_.descriptor(), POLLIN, 0}};
    for (const Stranger& one : strangers_) watched.push_back({one.socket.descriptor(), POLLIN, 0});
    std::vector<std::size_t> ranks;
    for (std::size_t rank = 1; rank < meeting_.connections.size(); ++rank) {
      if (!meeting_.connections[rank].is_open()) continue;
      ranks.push_back(rank);
      watched.push_back({meeting_.connections[rank].descriptor(), POLLIN, 0});
    }
    poll_sockets(watched, deadline.milliseconds());
    const std::size_t known = strangers_.size();
    // A rank that says anything before it is welcome, or hangs up, may come again.
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      if (watched[1 + known + i].revents == 0) continue;
      note(fmt::format("rank {} ({}) left again", ranks[i], meeting_.hosts[ranks[i]]));
      meeting_.connections[ranks[i]].close();
    }
    for (std::size_t i = 0; i < known; ++i) {
      if (watched[1 + i].revents != 0) listen_to(strangers_[i]);
    }
    std::erase_if(strangers_, [](const Stranger& one) { return !one.socket.is_open(); });
    if (watched[0].revents != 0) accept_some();
  }

  void accept_some() {
    constexpr int at_once = 64;  // so that those who are here get their turn
    for (int i = 0; i < at_once; ++i) {
      Stranger next;
      bool full = false;
      next.socket = listener_.accept(next.from, full);
      if (full && strangers_.empty()) {
        throw Error(Exit::resources, "rank 0: this process may not open more connections",
                    "raise the limit of open files (ulimit -n) above the number of ranks");
      }
      if (full || strangers_.size() >= most_strangers) {
        note(strangers_.front().from + ": said nothing");
        strangers_.erase(strangers_.begin());
      }
      if (full) continue;
      if (!next.socket.is_open()) return;
      // Who belongs here has mostly spoken already.
      listen_to(next);
      if (next.socket.is_open()) strangers_.push_back(std::move(next));
    }
  }

  // Takes what a stranger has said; afterwards it is still one, or a rank, or its socket is closed.
  void listen_to(Stranger& one) {
    while (one.socket.is_open()) {
      std::array<std::uint8_t, longest_hello + 1> buffer;
      std::size_t count = 0;
      std::string fault;
      const auto outcome = one.socket.receive(std::span(buffer).first(buffer.size() - one.bytes.size()), count, fault);
      if (outcome == Socket::Outcome::nothing_now) return;
      if (outcome == Socket::Outcome::closed) {
        note(fmt::format("{}: {} after {} bytes", one.from, fault, one.bytes.size()));
        return one.socket.close();
      }
      one.bytes.insert(one.bytes.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(count));
      const auto read = read_hello(one.bytes);
      if (read.state == MessageState::refused) return refuse(one, read.reason);
      if (read.state == MessageState::complete) return take(one, read.message);
    }
  }

  void take(Stranger& one, const Hello& hello) {
    if (const std::string reason = unfit(hello, own_); !reason.empty()) return refuse(one, reason);
    const auto rank = static_cast<std::size_t>(hello.world.rank);
    if (meeting_.connections[rank].is_open()) {
      return refuse(one, fmt::format("a second rank {} (the first is on {})", rank, meeting_.hosts[rank]));
    }
    meeting_.connections[rank] = std::move(one.socket);
    meeting_.hosts[rank] = hello.world.host;
  }

  void refuse(Stranger& one, const std::string& reason) {
    note(one.from + ": " + reason);
    say(one.socket, Exit::usage, reason);
    // What came after the hello is read and dropped: closing with bytes unread would take the answer back.
    std::array<std::uint8_t, 4096> rest;
    std::size_t count = 0;
    std::string fault;
    for (int i = 0; i < 16 && one.socket.receive(rest, count, fault) == Socket::Outcome::some; ++i) {
    }
    one.socket.close();
  }

  // An answer that is not waited for: it fits the empty buffer of a new connection.
  static void say(const Socket& socket, Exit exit, const std::string& reason) {
    const std::string message = make_verdict({static_cast<int>(exit), reason, 0, {}});
    std::size_t count = 0;
    std::string fault;
    (void)socket.send(bytes_of(message), count, fault);
  }

  void note(std::string refusal) {
    ++refused_;
    last_refusal_ = refusal;
    if (meeting_.refusals.size() < most_kept_refusals) meeting_.refusals.push_back(std::move(refusal));
  }

  void greet(std::size_t rank, const std::string& welcome, double limit_seconds) {
    const Deadline deadline(limit_seconds);
    auto rest = bytes_of(welcome);
    std::string fault = "does not read";
    while (!rest.empty()) {
      std::size_t count = 0;
      const auto outcome = meeting_.connections[rank].send(rest, count, fault);
      rest = rest.subspan(count);
      if (outcome == Socket::Outcome::closed || deadline.over()) {
        throw Error(Exit::peer_lost,
                    fmt::format("rank {} ({}): lost at the start of the job ({})", rank, meeting_.hosts[rank], fault));
      }
      std::vector<pollfd> one{{meeting_.connections[rank].descriptor(), POLLOUT, 0}};
      if (!rest.empty()) poll_sockets(one, deadline.milliseconds());
    }
  }

  [[noreturn]] void fail(double limit_seconds) {
    constexpr std::size_t most_named = 8;
    const auto ranks = missing();
    std::string names;
    for (std::size_t i = 0; i < std::min(ranks.size(), most_named); ++i) {
      names += fmt::format("{}{}", i > 0 ? ", " : "", ranks[i]);
    }
    if (ranks.size() > most_named) names += fmt::format(" and {} more", ranks.size() - most_named);
    std::string text = fmt::format("{} {} of {}: not come to port {} of rank 0 ({}) within {:g} s",
                                   ranks.size() == 1 ? "rank" : "ranks", names, own_.world.size, listener_.port(),
                                   own_.world.host, limit_seconds);
    if (refused_ > 0) text += fmt::format("; refused {}, the last of them {}", refused_, last_refusal_);
    for (const Socket& socket : meeting_.connections) {
      if (socket.is_open()) say(socket, Exit::peer_lost, text);
    }
    throw Error(Exit::peer_lost, text,
                "see that all processes were started, with the same MASTER_ADDR, MASTER_PORT and WORLD_SIZE");
  }

  const Listener& listener_;
  Hello own_;
  Meeting meeting_;
  std::vector<Stranger> strangers_;  // the oldest first
  std::string last_refusal_;
  std::uint64_t refused_ = 0;
};

}  // namespace

Meeting receive_ranks(const Listener& listener, const Launch& launch, double limit_seconds) {
  CHECK(launch.world.rank == 0);
  return Reception(listener, launch).receive(limit_seconds);
}

}  // namespace nll
