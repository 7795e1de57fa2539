#include "src/text/output_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "kernels/check.h"

namespace nll {
namespace {

std::string without_end_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

[[noreturn]] void fail(const std::string& path, const char* doing, int error) {
  throw Error(Exit::io, fmt::format("{}: {} failed ({})", path, doing, std::strerror(error)));
}

void sync_folder(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail(path, "opening the folder", errno);
  const int synced = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  if (synced != 0 && error != EINVAL) fail(path, "fsync of the folder", error);
}

}  // namespace

void OutputFolder::check(const std::string& path) {
  if (path.empty()) throw Error(Exit::usage, "no output folder is named", "name one with: --output FOLDER");
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::symlink_status(path, error);
  if (!std::filesystem::exists(status)) return;
  if (!std::filesystem::is_directory(status)) {
    throw Error(Exit::usage, path + ": is there and is no folder (expected a new or empty folder)");
  }
  if (std::filesystem::is_empty(path, error) && !error) return;
  throw Error(Exit::usage, path + ": this folder is not empty (expected a new or empty folder)",
              "choose another --output, or remove that folder first");
}

OutputFolder::OutputFolder(const std::string& path) : path_(without_end_slashes(path)) {
  check(path_);
  const std::filesystem::path parent = std::filesystem::path(path_).parent_path();
  std::error_code error;
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  if (error) fail(parent.string(), "making the folder", error.value());
  const std::string name = fmt::format("{}.incomplete-{}", path_, ::getpid());
  // A number of its own for each try: an earlier process of the same id may have been killed in its work.
  for (int attempt = 0; attempt < 100 && temporary_.empty(); ++attempt) {
    const std::string candidate = attempt == 0 ? name : fmt::format("{}-{}", name, attempt);
    if (::mkdir(candidate.c_str(), 0777) == 0) {
      temporary_ = candidate;
    } else if (errno != EEXIST) {
      fail(candidate, "making the folder", errno);
    }
  }
  if (temporary_.empty()) fail(name, "making the folder", EEXIST);
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
}

void OutputFolder::publish() {
  sync_folder(temporary_);
  // rename() puts a folder in the place of an empty one, and of nothing else.
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail(path_, "renaming the finished folder", errno);
  temporary_.clear();
  const std::string parent = std::filesystem::path(path_).parent_path().string();
  sync_folder(parent.empty() ? "." : parent);
}

}  // namespace nll
