#include "src/dist/tcp_socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

#include "kernels/check.h"

namespace nll {
namespace {

std::string error_text(int code) { return std::generic_category().message(code); }

Socket open_socket(int family) { return Socket(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

void set_option(int descriptor, int level, int name, int value) {
  (void)setsockopt(descriptor, level, name, &value, sizeof value);
}

bool would_block(int code) { return code == EAGAIN || code == EWOULDBLOCK || code == EINTR; }

// Loopback may connect a socket that looks for an unused port of its own range to itself.
bool is_own_echo(int descriptor) {
  sockaddr_storage here{}, there{};
  socklen_t here_size = sizeof here, there_size = sizeof there;
  return getsockname(descriptor, reinterpret_cast<sockaddr*>(&here), &here_size) == 0 &&
         getpeername(descriptor, reinterpret_cast<sockaddr*>(&there), &there_size) == 0 && here_size == there_size &&
         std::memcmp(&here, &there, here_size) == 0;
}

}  // namespace

Deadline::Deadline(double seconds)
    : end_(Clock::now() +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(std::clamp(seconds, 0.0, 1e9)))) {}

int Deadline::milliseconds(int most) const {
  return static_cast<int>(std::ceil(std::clamp(seconds() * 1000, 0.0, static_cast<double>(most))));
}

Socket::~Socket() {
  if (descriptor_ >= 0) (void)::close(descriptor_);
}

void Socket::set_options() const {
  set_option(descriptor_, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(descriptor_, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(descriptor_, IPPROTO_TCP, TCP_KEEPIDLE, 15);
  set_option(descriptor_, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set_option(descriptor_, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

Socket::Outcome Socket::send(std::span<const std::uint8_t> bytes, std::size_t& count, std::string& fault) const {
  const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  count = sent > 0 ? static_cast<std::size_t>(sent) : 0;
  if (sent >= 0) return Outcome::some;
  if (would_block(errno)) return Outcome::nothing_now;
  fault = error_text(errno);
  return Outcome::closed;
}

Socket::Outcome Socket::receive(std::span<std::uint8_t> bytes, std::size_t& count, std::string& fault) const {
  const ssize_t got = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
  count = got > 0 ? static_cast<std::size_t>(got) : 0;
  if (got > 0 || bytes.empty()) return Outcome::some;
  if (got < 0 && would_block(errno)) return Outcome::nothing_now;
  fault = got == 0 ? "closed by the other side" : error_text(errno);
  return Outcome::closed;
}

void poll_sockets(std::vector<pollfd>& sockets, int milliseconds) {
  for (pollfd& one : sockets) one.revents = 0;
  if (poll(sockets.data(), sockets.size(), milliseconds) < 0) {
    for (pollfd& one : sockets) one.revents = 0;
    if (errno != EINTR && errno != EAGAIN) throw Error(Exit::resources, "poll: " + error_text(errno));
  }
}

Listener::Listener(int port) {
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(static_cast<std::uint16_t>(port));
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = six.sin6_port;
  int code = 0;
  const auto bind_to = [&](int family, const void* address, socklen_t size) {
    socket_ = open_socket(family);
    if (socket_.is_open()) {
      set_option(socket_.descriptor(), SOL_SOCKET, SO_REUSEADDR, 1);
      if (family == AF_INET6) set_option(socket_.descriptor(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
      if (bind(socket_.descriptor(), static_cast<const sockaddr*>(address), size) == 0 &&
          listen(socket_.descriptor(), SOMAXCONN) == 0) {
        return true;
      }
    }
    code = errno;
    return false;
  };
  // A host without IPv6 has no such sockets or no such addresses.
  if (!bind_to(AF_INET6, &six, sizeof six) &&
      (code == EADDRINUSE || code == EACCES || !bind_to(AF_INET, &four, sizeof four))) {
    throw Error(Exit::usage, fmt::format("port {}: rank 0 cannot listen there ({})", port, error_text(code)),
                "choose another MASTER_PORT for all ranks, or end what uses this one");
  }
  sockaddr_in6 bound{};
  socklen_t size = sizeof bound;
  (void)getsockname(socket_.descriptor(), reinterpret_cast<sockaddr*>(&bound), &size);
  port_ = ntohs(bound.sin6_port);  // at the same place in both families
}

Socket Listener::accept(std::string& from, bool& full) const {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  Socket socket(
      accept4(socket_.descriptor(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  full = !socket.is_open() && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM);
  if (!socket.is_open()) return socket;
  socket.set_options();
  char host[NI_MAXHOST] = "?";
  (void)getnameinfo(reinterpret_cast<sockaddr*>(&address), size, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  from = host;
  if (from.starts_with("::ffff:")) from.erase(0, 7);
  return socket;
}

std::vector<Address> find_addresses(const std::string& name, int port, const Deadline& deadline, std::string& fault) {
  // Shared with a thread that may outlive this call: what the system does with a name cannot be called off.
  struct Lookup {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
    std::string fault;
    std::vector<Address> addresses;
  };
  auto lookup = std::make_shared<Lookup>();
  std::thread([lookup, name, service = std::to_string(port)] {
    addrinfo wanted{}, *found = nullptr;
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = AI_NUMERICSERV;
    const int code = getaddrinfo(name.c_str(), service.c_str(), &wanted, &found);
    const std::lock_guard lock(lookup->mutex);
    if (code != 0) lookup->fault = code == EAI_SYSTEM ? error_text(errno) : gai_strerror(code);
    for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(one->ai_addr);
      lookup->addresses.push_back({one->ai_family, {bytes, bytes + one->ai_addrlen}});
    }
    if (found != nullptr) freeaddrinfo(found);
    lookup->done = true;
    lookup->changed.notify_all();
  }).detach();
  std::unique_lock lock(lookup->mutex);
  const bool done = lookup->changed.wait_for(lock, std::chrono::duration<double>(std::max(0.0, deadline.seconds())),
                                             [&] { return lookup->done; });
  fault = done ? lookup->fault : "no answer from the name service";
  return lookup->addresses;
}

Socket connect_to(const Address& address, const Deadline& deadline, std::string& fault) {
  Socket socket = open_socket(address.family);
  if (!socket.is_open()) {
    fault = error_text(errno);
    return {};
  }
  const auto* target = reinterpret_cast<const sockaddr*>(address.bytes.data());
  int code = ::connect(socket.descriptor(), target, static_cast<socklen_t>(address.bytes.size())) == 0 ? 0 : errno;
  if (code == EINPROGRESS || code == EINTR) {
    std::vector<pollfd> one{{socket.descriptor(), POLLOUT, 0}};
    while (!deadline.over() && one[0].revents == 0) poll_sockets(one, deadline.milliseconds());
    socklen_t size = sizeof code;
    if (one[0].revents == 0) {
      code = ETIMEDOUT;
    } else if (getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &code, &size) != 0) {
      code = errno;
    }
  }
  if (code == 0 && is_own_echo(socket.descriptor())) code = ECONNREFUSED;
  if (code != 0) {
    fault = error_text(code);
    return {};
  }
  socket.set_options();
  return socket;
}

}  // namespace nll
