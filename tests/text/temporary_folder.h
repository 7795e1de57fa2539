// A fresh folder that is gone when the test ends, and the errors that tests look at.
#pragma once
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "kernels/check.h"

namespace nll {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "nll-text-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
    EXPECT_FALSE(path_.empty());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// "exit code: message" of what the action throws, with `folder` cut out of the message.
template <class Action>
std::string error_of(const Action& action, const std::string& folder = {}) {
  try {
    action();
  } catch (const Error& error) {
    std::string text = error.what();
    for (std::size_t at = 0; !folder.empty() && (at = text.find(folder)) != std::string::npos;) {
      text.erase(at, folder.size() + (text[at + folder.size()] == '/' ? 1 : 0));
    }
    return std::to_string(static_cast<int>(error.exit())) + ": " + text;
  }
  return "no error";
}

}  // namespace nll
