// load_config: opens the file; whatever is no readable regular file of a sane size is refused here.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "kernels/check.h"
#include "src/config/config.h"
#include "src/config/quote.h"
#include "src/config/suggest.h"
#include "src/config/take.h"

namespace nll {
namespace {

// The file in the same folder whose name is nearest; empty when none is near.
std::string nearest_file(const std::filesystem::path& path) {
  std::error_code error;
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".json") names.push_back(entry->path().filename().string());
    if (names.size() > 1000) break;
  }
  const std::string name = path.filename().string();
  const std::string guess = nearest(path.has_extension() ? name : name + ".json", names);
  return guess.empty() ? "" : (path.parent_path() / guess).string();
}

class File {
 public:
  explicit File(const std::string& path) : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {}
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

// The text of a config file.
std::string text_of(const std::string& path) {
  const std::string place = shown(path);
  if (path.empty()) throw Error(Exit::usage, "config: the name of the file is empty");
  if (path.find('\0') != std::string::npos) throw Error(Exit::usage, place + ": the name of the file holds a NUL");
  const File file(path);
  if (file.descriptor() < 0) {
    const int reason = errno;
    std::string hint;
    if (reason == ENOENT) {
      if (const std::string guess = nearest_file(path); !guess.empty()) hint = "did you mean " + shown(guess) + "?";
    }
    throw Error(Exit::usage, fmt::format("{}: cannot be read: {}", place, std::strerror(reason)), hint);
  }
  struct stat status {};
  if (fstat(file.descriptor(), &status) != 0) {
    throw Error(Exit::io, fmt::format("{}: cannot be read: {}", place, std::strerror(errno)));
  }
  if (S_ISDIR(status.st_mode)) {
    const bool run = std::filesystem::exists(std::filesystem::path(path) / "config.json");
    throw Error(Exit::usage, place + ": is a folder (expected a JSON file)",
                run ? "its config is " + shown((std::filesystem::path(path) / "config.json").string()) : "");
  }
  if (!S_ISREG(status.st_mode)) throw Error(Exit::usage, place + ": is not a regular file (expected a JSON file)");
  // One byte more than is taken, so that a file that is too large is seen without reading all of it.
  constexpr std::size_t most = (std::size_t{1} << 20) + 1;
  if (status.st_size >= static_cast<off_t>(most)) {
    throw Error(Exit::usage, fmt::format("{}: {} bytes (a config has at most {})", place, status.st_size, most - 1));
  }
  std::string text(most, '\0');
  std::size_t size = 0;
  while (size < most) {
    const ssize_t got = read(file.descriptor(), text.data() + size, most - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(Exit::io, fmt::format("{}: cannot be read: {}", place, std::strerror(errno)));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

}  // namespace

Config load_config(const std::string& path, const std::vector<std::string>& overrides, const Config& base) {
  return parse_config(text_of(path), path, overrides, base);
}

Config read_config(const std::string& path, const std::vector<std::string>& overrides) {
  Config config;
  take_config(config, text_of(path), shown(path), overrides);
  return config;
}

}  // namespace nll
