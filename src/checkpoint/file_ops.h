// FileOps: every file call a save makes, behind one small interface, so that tests can fail, cut short or interrupt
// each of them and can replay a power cut. Errors come back as -errno; nothing here throws.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace nll {

class FileOps {
 public:
  virtual ~FileOps() = default;
  virtual int create(const std::string& path) = 0;     // O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW; descriptor or -errno
  virtual int open_read(const std::string& path) = 0;  // O_RDONLY | O_NOFOLLOW
  virtual std::int64_t size(int descriptor) = 0;       // of a regular file; -EINVAL for anything else
  virtual int allocate(int descriptor, std::int64_t bytes) = 0;  // posix_fallocate
  virtual std::int64_t write(int descriptor, const void* data, std::int64_t bytes, std::int64_t offset) = 0;  // pwrite
  virtual std::int64_t read(int descriptor, void* data, std::int64_t bytes, std::int64_t offset) = 0;         // pread
  virtual int sync(int descriptor) = 0;                                                                       // fsync
  virtual int close(int descriptor) = 0;
  virtual int make_folder(const std::string& path) = 0;
  virtual int sync_folder(const std::string& path) = 0;  // open, fsync, close
  virtual int rename(const std::string& from, const std::string& to) = 0;
  virtual int remove(const std::string& path) = 0;  // unlink, or rmdir of an empty folder
  virtual int list(const std::string& path, std::vector<std::string>& names) = 0;  // without . and .., sorted
  virtual std::int64_t free_bytes(const std::string& path) = 0;                    // statvfs
};

FileOps& posix_file_ops();  // the real ones; EINTR is retried by the callers in this room, not here

}  // namespace nll
