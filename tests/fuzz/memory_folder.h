// FileOps over files held in memory, for reading one folder. Whatever is asked for outside that folder is a finding.
#pragma once
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "src/checkpoint/file_ops.h"
#include "tests/fuzz/fuzz_target.h"

namespace nll::fuzz {

class MemoryFolder : public FileOps {
 public:
  explicit MemoryFolder(std::string folder) : folder_(std::move(folder)) {}
  std::map<std::string, std::string>& files() { return files_; }  // name inside the folder -> content

  int open_read(const std::string& path) override {
    if (path == folder_) return -EISDIR;
    require(path.compare(0, folder_.size() + 1, folder_ + "/") == 0, "only files of the folder are opened");
    const std::string name = path.substr(folder_.size() + 1);
    require(name.find('/') == std::string::npos && name != "..", "no file outside the folder is opened");
    const auto found = files_.find(name);
    if (found == files_.end()) return -ENOENT;
    open_.push_back(&found->second);
    return static_cast<int>(open_.size()) - 1;
  }
  std::int64_t size(int descriptor) override { return static_cast<std::int64_t>(content(descriptor).size()); }
  std::int64_t read(int descriptor, void* data, std::int64_t bytes, std::int64_t offset) override {
    const std::string& all = content(descriptor);
    require(bytes >= 0 && offset >= 0, "a read has a place and a length");
    if (offset >= static_cast<std::int64_t>(all.size())) return 0;
    const std::int64_t count = std::min(bytes, static_cast<std::int64_t>(all.size()) - offset);
    std::memcpy(data, all.data() + offset, static_cast<std::size_t>(count));
    return count;
  }
  int close(int) override { return 0; }
  int list(const std::string& path, std::vector<std::string>& names) override {
    if (path != folder_) return -ENOENT;
    names.clear();
    for (const auto& [name, content] : files_) names.push_back(name);
    return 0;
  }

  int create(const std::string&) override { return -EROFS; }
  int allocate(int, std::int64_t) override { return -EROFS; }
  std::int64_t write(int, const void*, std::int64_t, std::int64_t) override { return -EROFS; }
  int sync(int) override { return -EROFS; }
  int make_folder(const std::string&) override { return -EROFS; }
  int sync_folder(const std::string&) override { return -EROFS; }
  int rename(const std::string&, const std::string&) override { return -EROFS; }
  int remove(const std::string&) override { return -EROFS; }
  std::int64_t free_bytes(const std::string&) override { return 0; }

 private:
  const std::string& content(int descriptor) const {
    require(descriptor >= 0 && descriptor < static_cast<int>(open_.size()), "a descriptor was opened before");
    return *open_[static_cast<std::size_t>(descriptor)];
  }
  std::string folder_;
  std::map<std::string, std::string> files_;
  std::vector<const std::string*> open_;
};

}  // namespace nll::fuzz
