// Socket: an open TCP connection or port, closed when destroyed; and how long one waits for it. All are non-blocking
// and never raise SIGPIPE.
#pragma once
#include <poll.h>

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nll {

class Deadline {
 public:
  explicit Deadline(double seconds);
  bool over() const { return Clock::now() >= end_; }
  int milliseconds(int most = 1000) const;  // that are left, for poll(): rounded up, at most `most`
  double seconds() const { return std::chrono::duration<double>(end_ - Clock::now()).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point end_;
};

class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Socket();
  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  void close() { Socket gone(std::move(*this)); }
  // Short messages at once, and a host that vanished is noticed.
  void set_options() const;

  enum class Outcome { some, nothing_now, closed };
  // Sends or receives a part; `count` says how much. `closed`: by the other side or a fault, whose text is in `fault`.
  Outcome send(std::span<const std::uint8_t> bytes, std::size_t& count, std::string& fault) const;
  Outcome receive(std::span<std::uint8_t> bytes, std::size_t& count, std::string& fault) const;

 private:
  int descriptor_ = -1;
};

// poll() that goes on after a signal.
void poll_sockets(std::vector<pollfd>& sockets, int milliseconds);

// A port of all interfaces, IPv6 and IPv4.
class Listener {
 public:
  // 0: any port that is free. Error(usage) where it is in use or may not be used.
  explicit Listener(int port);
  int port() const { return port_; }
  int descriptor() const { return socket_.descriptor(); }
  // The next connection, and the address it is from; not open: there is none now. `full`: there is one, but this
  // process or host has no room for it.
  Socket accept(std::string& from, bool& full) const;

 private:
  Socket socket_;
  int port_ = 0;
};

// A place that can be connected to.
struct Address {
  int family = 0;
  std::vector<std::uint8_t> bytes;  // the sockaddr
};
// Looks the name up; in a thread of its own, because the system's function has no limit. `fault`: why there is none.
std::vector<Address> find_addresses(const std::string& name, int port, const Deadline& deadline, std::string& fault);
// Not open: `fault` says why.
Socket connect_to(const Address& address, const Deadline& deadline, std::string& fault);

}  // namespace nll
