// flock, because the kernel drops it when its holder dies: a file left behind by a dead process holds nothing.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/file_io.h"

namespace nll {
namespace {

// "host node1, pid 4711, started 2026-01-31T12:00:00Z"
std::string description_of_this_process() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) < 0) host[0] = '?';
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 32> time{};
  std::strftime(time.data(), time.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return fmt::format("host {}, pid {}, started {}", host.data(), ::getpid(), time.data());
}

std::string holder(int descriptor) {
  std::array<char, 512> text{};
  const ssize_t got = retry_interrupted([&] { return ::pread(descriptor, text.data(), text.size(), 0); });
  std::string line(text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  line.resize(std::min(line.size(), line.find('\n')));
  const bool printable = std::all_of(line.begin(), line.end(), [](char c) { return c >= ' ' && c <= '~'; });
  return line.empty() || !printable ? "unknown, it has not written its name yet" : line;
}

}  // namespace

RunLock::RunLock(const std::string& run) {
  const std::string path = run + "/run.lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (descriptor_ < 0) throw_file_error(path, "open", -errno);
  int locked = 0;
  do {
    locked = ::flock(descriptor_, LOCK_EX | LOCK_NB);
  } while (locked < 0 && errno == EINTR);
  const int error = locked < 0 ? errno : 0;
  const std::string text = description_of_this_process() + "\n";
  if (error == EWOULDBLOCK) {
    const std::string other = holder(descriptor_);
    ::close(descriptor_);
    throw Error(Exit::usage, fmt::format("{}: the run is in use by another process ({})", run, other),
                "wait for it, stop it, or choose another run.directory");
  }
  const bool written = error == 0 && ::ftruncate(descriptor_, 0) == 0 &&
                       ::pwrite(descriptor_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
  if (!written) {
    const int why = error != 0 ? error : errno;
    ::close(descriptor_);
    throw_file_error(path, error != 0 ? "lock" : "write", -why);
  }
}

RunLock::~RunLock() { ::close(descriptor_); }

}  // namespace nll
