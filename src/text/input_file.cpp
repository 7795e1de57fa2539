#include "src/text/input_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/check.h"

namespace nll {

InputFile::InputFile(const std::string& path) : path_(path) {
  // O_NONBLOCK: opening a pipe that nobody writes to must not wait.
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor_ < 0) {
    const int error = errno;
    throw Error(Exit::bad_data, fmt::format("{}: cannot be opened ({})", path, std::strerror(error)));
  }
  struct stat status {};
  const bool known = ::fstat(descriptor_, &status) == 0;
  if (known && S_ISREG(status.st_mode)) {
    size_ = status.st_size;
    return;
  }
  ::close(descriptor_);
  const char* const kind = !known                     ? "unreadable"
                           : S_ISDIR(status.st_mode)  ? "a folder"
                           : S_ISFIFO(status.st_mode) ? "a pipe"
                           : S_ISSOCK(status.st_mode) ? "a socket"
                                                      : "a device";
  throw Error(Exit::bad_data, fmt::format("{}: is {} (expected a regular file)", path, kind));
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), size_(other.size_) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  return *this;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::int64_t InputFile::read_at(std::int64_t offset, void* data, std::int64_t bytes) const {
  std::int64_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::pread(descriptor_, static_cast<char*>(data) + done, static_cast<std::size_t>(bytes - done),
                                static_cast<off_t>(offset + done));
    if (got == 0) break;
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      const int error = errno;
      throw Error(Exit::io,
                  fmt::format("{}: reading at byte {} failed ({})", path_, offset + done, std::strerror(error)));
    }
    done += got;
  }
  return done;
}

std::string InputFile::read_all(std::int64_t limit) const {
  if (size_ > limit) throw Error(Exit::bad_data, fmt::format("{}: {} bytes (at most {})", path_, size_, limit));
  std::string text(static_cast<std::size_t>(size_), '\0');
  text.resize(static_cast<std::size_t>(read_at(0, text.data(), size_)));
  return text;
}

}  // namespace nll
