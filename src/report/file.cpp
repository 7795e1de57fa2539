#include "src/report/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "kernels/check.h"
#include "src/report/utf8.h"

namespace nll {
namespace {

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : value_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int value() const { return value_; }
  bool valid() const { return value_ >= 0; }
  bool close_now() { return close(std::exchange(value_, -1)) == 0; }

 private:
  int value_;
};

}  // namespace

void file_failed(const std::string& path, const char* what, int reason) {
  throw Error(Exit::io, fmt::format("{}: cannot be {}: {}", cut_to_columns(path, 200), what, std::strerror(reason)),
              reason == ENOSPC ? "free some space on that disk" : "");
}

bool write_all(int descriptor, std::string_view content) {
  while (!content.empty()) {
    const ssize_t written = write(descriptor, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

std::string read_file(const std::string& path) {
  const Descriptor file(path, O_RDONLY);
  if (!file.valid()) file_failed(path, "read", errno);
  std::string content;
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const ssize_t got = read(file.value(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) file_failed(path, "read", errno);
    if (got == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(got));
  }
}

void replace_file(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".tmp";
  Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file.valid()) file_failed(temporary, "created", errno);
  const bool written = write_all(file.value(), content) && fsync(file.value()) == 0 && file.close_now();
  if (!written || rename(temporary.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    unlink(temporary.c_str());
    file_failed(path, "written", reason);
  }
  // The rename itself must reach the disk; file systems that cannot flush a folder (FUSE, some NFS) say EINVAL.
  const std::size_t slash = path.rfind('/');
  const Descriptor folder(slash == std::string::npos ? "." : path.substr(0, slash + 1), O_RDONLY | O_DIRECTORY);
  if (folder.valid() && fsync(folder.value()) != 0 && errno != EINVAL && errno != ENOTSUP)
    file_failed(path, "flushed", errno);
}

}  // namespace nll
