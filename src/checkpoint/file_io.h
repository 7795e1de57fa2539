// Whole-file reads, hashed writes and removals over FileOps: EINTR is retried, short transfers are continued, and every
// failure becomes one line that names the file. Shared by the files of this room.
#pragma once
#include <cerrno>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "src/checkpoint/file_ops.h"
#include "src/checkpoint/hash.h"

namespace nll {

// Calls again as long as the call was interrupted by a signal.
template <class Call>
auto retry_interrupted(Call call) {
  auto result = call();
  while (result == -EINTR) result = call();
  return result;
}

// "No space left on device" for -ENOSPC or ENOSPC.
std::string error_text(std::int64_t error);
// True for the errors that mean "no room": disk full, quota, file size limit.
bool is_out_of_space(std::int64_t error);
// Error(resources) when there is no room, else Error(io): "<path>: cannot <action>: <reason>".
[[noreturn]] void throw_file_error(const std::string& path, const std::string& action, std::int64_t error);
// fsync of a folder; file systems that cannot (EINVAL, ENOTSUP: some network and user-space ones) are tolerated.
int sync_folder_if_supported(FileOps& files, const std::string& path);

// Owns a descriptor.
class OpenFile {
 public:
  OpenFile() = default;
  OpenFile(FileOps& files, std::string path, int descriptor)
      : files_(&files), path_(std::move(path)), descriptor_(descriptor) {}
  OpenFile(OpenFile&& other) noexcept { swap(other); }
  OpenFile& operator=(OpenFile&& other) noexcept {
    OpenFile gone(std::move(other));
    swap(gone);
    return *this;
  }
  ~OpenFile() {
    if (descriptor_ >= 0) files_->close(descriptor_);
  }
  const std::string& path() const { return path_; }
  int descriptor() const { return descriptor_; }
  FileOps& files() const { return *files_; }
  // Closes and returns 0 or -errno. Interrupted counts as closed: the descriptor is gone either way.
  int close();

 private:
  void swap(OpenFile& other) noexcept {
    std::swap(files_, other.files_);
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
  }
  FileOps* files_ = nullptr;
  std::string path_;
  int descriptor_ = -1;
};

// A regular file opened for reading and its size. `error`: 0, or -errno (-ENOENT no such file, -ELOOP a symbolic link,
// -EINVAL no regular file).
struct OpenedFile {
  OpenFile file;
  std::int64_t bytes = 0;
  int error = 0;
};
OpenedFile open_regular_file(FileOps& files, const std::string& path);
// What an error of open_regular_file means, for a message: "no such file", "a symbolic link (...)".
std::string open_error_text(int error);
std::string folder_error_text(int error);  // of a failed list(): "no such folder", ...

// Reads exactly `bytes` at `offset`; a file that ends earlier is Error(io) "... ends at byte ... ".
void read_exactly(const OpenFile& file, void* data, std::int64_t bytes, std::int64_t offset);
// The whole file, at most `limit` bytes. Error(`missing`) when it is absent, no regular file or too large.
std::string read_whole_file(FileOps& files, const std::string& path, std::int64_t limit, Exit missing);

// Appends to a new file through a buffer of `buffer` bytes and hashes what it writes.
class HashedWriter {
 public:
  HashedWriter(FileOps& files, int descriptor, std::vector<char>& buffer)
      : files_(&files), descriptor_(descriptor), buffer_(&buffer) {}
  std::int64_t append(const void* data, std::int64_t bytes);  // 0 or -errno
  std::int64_t flush();                                       // 0 or -errno
  std::string digest() const { return hash_.digest(); }       // of all flushed bytes

 private:
  FileOps* files_;
  int descriptor_;
  std::vector<char>* buffer_;
  std::size_t used_ = 0;
  std::int64_t offset_ = 0;
  Hash128 hash_;
};

// Hash128 of the first `bytes` bytes of an open file, read through `buffer`; told(n) after each piece of n bytes.
std::string hash_file(const OpenFile& file, std::int64_t bytes, std::vector<char>& buffer,
                      const std::function<void(std::int64_t)>& told);

// Removes a file, a symbolic link (never what it points to) or a folder with all that is in it. 0 or the first -errno;
// what does not exist is removed already.
int remove_tree(FileOps& files, const std::string& path, int depth = 0);

}  // namespace nll
