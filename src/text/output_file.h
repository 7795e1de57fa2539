// A file that appears under its name only when it is whole: written under a temporary name, fsync, rename, and fsync of
// the folder.
#pragma once
#include <cstdint>
#include <string>

namespace nll {

class OutputFile {
 public:
  // Creates `path`.tmp-<process>. Throws Error(io), as all below do, with the system's reason.
  explicit OutputFile(const std::string& path);
  ~OutputFile();  // removes what was not published
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  void write(const void* data, std::int64_t bytes);                          // after what is there
  void write_at(std::int64_t offset, const void* data, std::int64_t bytes);  // over what is there
  void publish();                                                            // replaces a file of that name

 private:
  [[noreturn]] void fail(const char* doing, int error) const;
  std::string path_, temporary_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
};

}  // namespace nll
