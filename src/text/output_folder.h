// A folder that appears under its name only when it is whole, as OutputFile is a file that does.
#pragma once
#include <string>

namespace nll {

class OutputFolder {
 public:
  // Makes `path`.incomplete-<process>. Throws Error(usage) when `path` is there and no empty folder, Error(io) when the
  // folder cannot be made.
  explicit OutputFolder(const std::string& path);
  ~OutputFolder();  // removes what was not published
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  const std::string& temporary() const { return temporary_; }  // where the files go meanwhile
  void publish();

  // What the constructor would throw, without making anything: for a check before long work.
  static void check(const std::string& path);

 private:
  std::string path_, temporary_;
};

}  // namespace nll
