#include "src/text/validation_cut.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "kernels/check.h"
#include "src/text/documents.h"
#include "src/text/input_file.h"

namespace nll {
namespace {

constexpr std::int64_t block_bytes = std::int64_t{1} << 16;

// The first offset at or after `from` at which a line begins; none when that is the end of the file.
std::optional<std::int64_t> line_after(const InputFile& file, std::int64_t from) {
  std::string block(block_bytes, '\0');
  for (std::int64_t at = std::max<std::int64_t>(from - 1, 0); at < file.size(); at += block_bytes) {
    block.resize(static_cast<std::size_t>(file.read_at(at, block.data(), block_bytes)));
    const std::size_t newline = block.find('\n');
    if (newline == std::string::npos) continue;
    const std::int64_t begin = at + static_cast<std::int64_t>(newline) + 1;
    if (begin < file.size()) return begin;
    return std::nullopt;
  }
  return std::nullopt;
}

// The last offset before `until` at which a line begins, other than the file's own beginning.
std::optional<std::int64_t> line_before(const InputFile& file, std::int64_t until) {
  std::string block;
  for (std::int64_t end = until - 1; end > 0;) {
    const std::int64_t begin = std::max<std::int64_t>(0, end - block_bytes);
    block.resize(static_cast<std::size_t>(end - begin));
    block.resize(static_cast<std::size_t>(file.read_at(begin, block.data(), end - begin)));
    const std::size_t newline = block.rfind('\n');
    if (newline != std::string::npos) return begin + static_cast<std::int64_t>(newline) + 1;
    end = begin;
  }
  return std::nullopt;
}

}  // namespace

std::int64_t find_validation_cut(const std::vector<std::string>& paths, double fraction) {
  std::int64_t total = 0;
  for (const std::string& path : paths) total += InputFile(path).size();
  const auto target = static_cast<std::int64_t>(std::floor((1.0 - fraction) * static_cast<double>(total)));
  std::vector<std::int64_t> documents, lines;  // places to cut at: between documents, and between lines
  std::int64_t begin = 0;
  for (const std::string& path : paths) {
    const InputFile file(path);
    const std::int64_t end = begin + file.size();
    documents.push_back(begin);
    if (target >= begin && target < end) {
      std::vector<std::int64_t>& places = is_record_file(path) ? documents : lines;
      if (const auto after = line_after(file, target - begin)) places.push_back(begin + *after);
      if (const auto before = line_before(file, target - begin)) places.push_back(begin + *before);
    }
    begin = end;
  }
  const auto nearest = [&](std::vector<std::int64_t> places) -> std::optional<std::int64_t> {
    std::erase_if(places, [&](std::int64_t place) { return place <= 0 || place >= total; });
    const auto best = std::min_element(places.begin(), places.end(), [&](std::int64_t a, std::int64_t b) {
      return std::abs(a - target) < std::abs(b - target);
    });
    if (best == places.end()) return std::nullopt;
    return *best;
  };
  const std::optional<std::int64_t> document = nearest(documents);
  if (document) {
    const double held_out = static_cast<double>(total - *document) / static_cast<double>(total);
    if (held_out >= fraction / 2 && held_out <= fraction * 2) return *document;
  }
  // `lines` has the line after the target first: at least the fraction that was asked for is kept for training.
  for (const std::int64_t line : lines) {
    if (line > 0 && line < total) return line;
  }
  if (document) return *document;
  throw Error(Exit::bad_data,
              paths.front() + ": no line or document ends where validation could begin (expected several lines)",
              "ask for no validation part with: --validation-fraction 0");
}

}  // namespace nll
