#include "src/text/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "kernels/check.h"

namespace nll {

OutputFile::OutputFile(const std::string& path) : path_(path), temporary_(fmt::format("{}.tmp-{}", path, ::getpid())) {
  // What an earlier process of this number left behind may go.
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail("creating it", errno);
}

OutputFile::~OutputFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::fail(const char* doing, int error) const {
  throw Error(error == ENOSPC || error == EDQUOT ? Exit::resources : Exit::io,
              fmt::format("{}: {} failed ({})", path_, doing, std::strerror(error)));
}

void OutputFile::write(const void* data, std::int64_t bytes) {
  write_at(size_, data, bytes);
  size_ += bytes;
}

void OutputFile::write_at(std::int64_t offset, const void* data, std::int64_t bytes) {
  for (std::int64_t done = 0; done < bytes;) {
    const ssize_t put = ::pwrite(descriptor_, static_cast<const char*>(data) + done,
                                 static_cast<std::size_t>(bytes - done), static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail("writing", errno);
    done += put;
  }
}

void OutputFile::publish() {
  if (::fsync(descriptor_) != 0) fail("fsync", errno);
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0 && errno != EINTR) fail("closing", errno);
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("renaming", errno);
  temporary_.clear();
  const std::size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, std::max<std::size_t>(slash, 1));
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail("opening its folder", errno);
  const int synced = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  if (synced != 0 && error != EINVAL) fail("fsync of its folder", error);  // EINVAL: this file system has no such thing
}

}  // namespace nll
