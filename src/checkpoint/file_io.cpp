#include "src/checkpoint/file_io.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <system_error>

namespace nll {

std::string error_text(std::int64_t error) {
  return std::generic_category().message(static_cast<int>(error < 0 ? -error : error));
}

bool is_out_of_space(std::int64_t error) { return error == -ENOSPC || error == -EDQUOT || error == -EFBIG; }

void throw_file_error(const std::string& path, const std::string& action, std::int64_t error) {
  throw Error(is_out_of_space(error) ? Exit::resources : Exit::io,
              fmt::format("{}: cannot {}: {}", path, action, error_text(error)));
}

int sync_folder_if_supported(FileOps& files, const std::string& path) {
  const int result = retry_interrupted([&] { return files.sync_folder(path); });
  return result == -EINVAL || result == -ENOTSUP ? 0 : result;
}

int OpenFile::close() {
  if (descriptor_ < 0) return 0;
  const int result = files_->close(std::exchange(descriptor_, -1));
  return result == -EINTR ? 0 : result;
}

OpenedFile open_regular_file(FileOps& files, const std::string& path) {
  OpenedFile opened;
  const int descriptor = retry_interrupted([&] { return files.open_read(path); });
  if (descriptor < 0) {
    opened.error = descriptor;
    return opened;
  }
  opened.file = OpenFile(files, path, descriptor);
  opened.bytes = retry_interrupted([&] { return files.size(descriptor); });
  if (opened.bytes < 0) opened.error = static_cast<int>(opened.bytes);
  return opened;
}

std::string open_error_text(int error) {
  if (error == -ENOENT) return "no such file";
  if (error == -ELOOP) return "a symbolic link (expected a regular file)";
  if (error == -EINVAL || error == -EISDIR || error == -ENXIO) return "not a regular file";
  return fmt::format("cannot open: {}", error_text(error));
}

std::string folder_error_text(int error) {
  if (error == -ENOENT) return "no such folder";
  if (error == -ENOTDIR) return "not a folder";
  return fmt::format("cannot list the folder: {}", error_text(error));
}

void read_exactly(const OpenFile& file, void* data, std::int64_t bytes, std::int64_t offset) {
  constexpr std::int64_t piece = 8 << 20;
  auto* to = static_cast<char*>(data);
  for (std::int64_t done = 0; done < bytes;) {
    const std::int64_t got = retry_interrupted(
        [&] { return file.files().read(file.descriptor(), to + done, std::min(piece, bytes - done), offset + done); });
    if (got < 0) throw_file_error(file.path(), "read", got);
    if (got == 0) {
      throw Error(Exit::io, fmt::format("{}: ends at byte {} (expected {} bytes; was it changed while being read?)",
                                        file.path(), offset + done, offset + bytes));
    }
    done += got;
  }
}

std::string read_whole_file(FileOps& files, const std::string& path, std::int64_t limit, Exit missing) {
  const OpenedFile opened = open_regular_file(files, path);
  if (opened.error != 0) throw Error(missing, fmt::format("{}: {}", path, open_error_text(opened.error)));
  if (opened.bytes > limit) {
    throw Error(missing, fmt::format("{}: {} bytes (expected at most {})", path, opened.bytes, limit));
  }
  std::string content(static_cast<std::size_t>(opened.bytes), '\0');
  read_exactly(opened.file, content.data(), opened.bytes, 0);
  return content;
}

std::int64_t HashedWriter::append(const void* data, std::int64_t bytes) {
  const auto* from = static_cast<const char*>(data);
  while (bytes > 0) {
    const auto part = std::min<std::int64_t>(bytes, static_cast<std::int64_t>(buffer_->size() - used_));
    std::memcpy(buffer_->data() + used_, from, static_cast<std::size_t>(part));
    used_ += static_cast<std::size_t>(part);
    from += part;
    bytes -= part;
    if (used_ == buffer_->size()) {
      if (const std::int64_t error = flush(); error < 0) return error;
    }
  }
  return 0;
}

std::int64_t HashedWriter::flush() {
  const auto bytes = static_cast<std::int64_t>(used_);
  hash_.update(buffer_->data(), bytes);
  for (std::int64_t done = 0; done < bytes;) {
    const std::int64_t written = retry_interrupted(
        [&] { return files_->write(descriptor_, buffer_->data() + done, bytes - done, offset_ + done); });
    if (written < 0) return written;
    if (written == 0) return -EIO;  // a write that neither fails nor advances would never end
    done += written;
  }
  offset_ += bytes;
  used_ = 0;
  return 0;
}

std::string hash_file(const OpenFile& file, std::int64_t bytes, std::vector<char>& buffer,
                      const std::function<void(std::int64_t)>& told) {
  Hash128 hash;
  for (std::int64_t done = 0; done < bytes;) {
    const std::int64_t part = std::min<std::int64_t>(static_cast<std::int64_t>(buffer.size()), bytes - done);
    read_exactly(file, buffer.data(), part, done);
    hash.update(buffer.data(), part);
    done += part;
    told(part);
  }
  return hash.digest();
}

int remove_tree(FileOps& files, const std::string& path, int depth) {
  // Removing before listing: a symbolic link goes away itself, and only a real folder that holds something is entered.
  const int removed = retry_interrupted([&] { return files.remove(path); });
  if (removed == 0 || removed == -ENOENT) return 0;
  constexpr int deepest = 16;
  if ((removed != -ENOTEMPTY && removed != -EEXIST) || depth == deepest) return removed;
  std::vector<std::string> names;
  const int listed = retry_interrupted([&] { return files.list(path, names); });
  if (listed < 0) return listed;
  int first_error = 0;
  for (const std::string& name : names) {
    const int error = remove_tree(files, path + "/" + name, depth + 1);
    if (first_error == 0) first_error = error;
  }
  if (first_error != 0) return first_error;
  return retry_interrupted([&] { return files.remove(path); });
}

}  // namespace nll
