#include "src/text/line_reader.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "kernels/check.h"

namespace nll {
namespace {

constexpr std::int64_t block_bytes = std::int64_t{1} << 20;

bool is_blank(std::string_view text) { return text.find_first_not_of(" \t\r\n\v\f") == std::string_view::npos; }

}  // namespace

struct LineReader::Hash {
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state{XXH3_createState(), XXH3_freeState};
};

LineReader::LineReader(const std::string& path, std::int64_t longest)
    : file_(path), longest_(static_cast<std::size_t>(longest)), hash_(std::make_unique<Hash>()) {
  CHECK(longest > 0);
  CHECK(hash_->state.get() != nullptr);
  XXH3_64bits_reset(hash_->state.get());
  fill();
  if (block_.starts_with("\x1f\x8b") || block_.starts_with("\x28\xb5\x2f\xfd")) {
    throw Error(Exit::bad_data, path + ": is compressed (expected JSON, an object a line)", "decompress it first");
  }
  if (block_.starts_with("\xef\xbb\xbf")) at_ = 3;
}

LineReader::~LineReader() = default;

bool LineReader::fill() {
  const std::int64_t wanted = std::min(block_bytes, file_.size() - loaded_);
  if (wanted <= 0) return false;
  block_.resize(static_cast<std::size_t>(wanted));
  at_ = 0;
  const std::int64_t got = file_.read_at(loaded_, block_.data(), wanted);
  if (got < wanted) {
    throw Error(Exit::bad_data, fmt::format("{}: ends at byte {} (it had {} bytes when it was opened: it shrank while "
                                            "being read)",
                                            file_.path(), loaded_ + got, file_.size()));
  }
  XXH3_64bits_update(hash_->state.get(), block_.data(), block_.size());
  loaded_ += got;
  return true;
}

std::optional<Line> LineReader::next_of_any_kind() {
  Line line;
  bool begun = false;
  char last = '\0';
  for (bool ended = false; !ended;) {
    if (at_ == block_.size() && !fill()) break;
    begun = true;
    const std::size_t found = block_.find('\n', at_);
    ended = found != std::string::npos;
    const std::size_t end = ended ? found : block_.size();
    if (end > at_) last = block_[end - 1];
    line.bytes += static_cast<std::int64_t>(end - at_);
    // One byte more than allowed is kept: it may be the "\r" of the line's end.
    const std::size_t room = longest_ + 1 - line.text.size();
    line.text.append(block_, at_, std::min(room, end - at_));
    at_ = end + (ended ? 1 : 0);
  }
  if (!begun) return std::nullopt;
  line.number = ++number_;
  if (last == '\r') {
    --line.bytes;
    if (!line.text.empty() && line.text.size() > static_cast<std::size_t>(line.bytes)) line.text.pop_back();
  }
  if (static_cast<std::size_t>(line.bytes) > longest_) {
    line.too_long = true;
    line.text = {};
  }
  return line;
}

std::optional<Line> LineReader::next() {
  while (!held_) {
    std::optional<Line> line = next_of_any_kind();
    if (!line) return std::nullopt;
    if (line->too_long || !is_blank(line->text)) {
      held_ = std::move(line);
    } else {
      ++blank_;
    }
  }
  if (blank_ > 0) {
    Line blank;
    blank.number = held_->number - blank_--;
    return blank;
  }
  return std::exchange(held_, std::nullopt);
}

std::uint64_t LineReader::hash() const { return XXH3_64bits_digest(hash_->state.get()); }

std::uint64_t hash_of_file(const std::string& path) {
  const InputFile file(path);
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(), XXH3_freeState);
  CHECK(state.get() != nullptr);
  XXH3_64bits_reset(state.get());
  std::string block(static_cast<std::size_t>(block_bytes), '\0');
  for (std::int64_t at = 0; at < file.size(); at += block_bytes) {
    const std::int64_t got = file.read_at(at, block.data(), std::min(block_bytes, file.size() - at));
    XXH3_64bits_update(state.get(), block.data(), static_cast<std::size_t>(got));
  }
  return XXH3_64bits_digest(state.get());
}

}  // namespace nll
