// A regular file that is open for reading. Owns its descriptor.
#pragma once
#include <cstdint>
#include <string>

namespace nll {

class InputFile {
 public:
  // Throws Error(bad_data) when there is no such file, it is a folder, pipe or device, or may not be read.
  explicit InputFile(const std::string& path);
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&& other) noexcept;
  ~InputFile();
  const std::string& path() const { return path_; }
  std::int64_t size() const { return size_; }  // when it was opened
  // Fills up to `bytes` bytes from `offset` and returns how many there were: fewer only at the end of the file.
  // Throws Error(io) when the system fails to read.
  std::int64_t read_at(std::int64_t offset, void* data, std::int64_t bytes) const;
  // The whole file. Throws Error(bad_data) when it is larger than `limit`.
  std::string read_all(std::int64_t limit) const;

 private:
  std::string path_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
};

}  // namespace nll
