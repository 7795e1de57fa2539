// The real file calls: thin wrappers that turn errno into a return value.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <memory>
#include <string_view>

#include "src/checkpoint/file_ops.h"

namespace nll {
namespace {

template <class Result>
Result or_errno(Result result) {
  return result < 0 ? static_cast<Result>(-errno) : result;
}

class PosixFileOps final : public FileOps {
 public:
  int create(const std::string& path) override {
    return or_errno(::open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644));
  }

  // O_NONBLOCK: a FIFO under the name of a regular file must not make the program wait; size() then refuses it.
  int open_read(const std::string& path) override {
    return or_errno(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  }

  std::int64_t size(int descriptor) override {
    struct stat status {};
    if (::fstat(descriptor, &status) < 0) return -errno;
    return S_ISREG(status.st_mode) ? static_cast<std::int64_t>(status.st_size) : -EINVAL;
  }

  int allocate(int descriptor, std::int64_t bytes) override {
    return -::posix_fallocate(descriptor, 0, bytes);  // returns the error instead of setting errno
  }

  std::int64_t write(int descriptor, const void* data, std::int64_t bytes, std::int64_t offset) override {
    return or_errno(::pwrite(descriptor, data, static_cast<std::size_t>(bytes), offset));
  }

  std::int64_t read(int descriptor, void* data, std::int64_t bytes, std::int64_t offset) override {
    return or_errno(::pread(descriptor, data, static_cast<std::size_t>(bytes), offset));
  }

  int sync(int descriptor) override { return or_errno(::fsync(descriptor)); }
  int close(int descriptor) override { return or_errno(::close(descriptor)); }
  int make_folder(const std::string& path) override { return or_errno(::mkdir(path.c_str(), 0755)); }

  int sync_folder(const std::string& path) override {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return -errno;
    const int result = or_errno(::fsync(descriptor));
    ::close(descriptor);
    return result;
  }

  int rename(const std::string& from, const std::string& to) override {
    return or_errno(::rename(from.c_str(), to.c_str()));
  }

  int remove(const std::string& path) override { return or_errno(std::remove(path.c_str())); }

  int list(const std::string& path, std::vector<std::string>& names) override {
    names.clear();
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
    if (folder == nullptr) return -errno;
    errno = 0;
    while (const dirent* entry = ::readdir(folder.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    if (errno != 0) return -errno;
    std::sort(names.begin(), names.end());
    return 0;
  }

  std::int64_t free_bytes(const std::string& path) override {
    struct statvfs status {};
    if (::statvfs(path.c_str(), &status) < 0) return -errno;
    if (status.f_blocks == 0) return std::numeric_limits<std::int64_t>::max();  // a file system that does not say
    std::int64_t bytes = 0;  // f_bavail: what a process without privileges may still use
    if (__builtin_mul_overflow(status.f_bavail, status.f_frsize, &bytes)) {
      return std::numeric_limits<std::int64_t>::max();
    }
    return bytes;
  }
};

}  // namespace

FileOps& posix_file_ops() {
  static PosixFileOps files;  // holds nothing
  return files;
}

}  // namespace nll
