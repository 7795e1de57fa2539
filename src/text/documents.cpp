#include "src/text/documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "kernels/check.h"
#include "src/config/quote.h"
#include "src/text/json_record.h"
#include "src/text/path_patterns.h"
#include "src/text/pretokenizer.h"

namespace nll {
namespace {

constexpr std::size_t block_bytes = std::size_t{16} << 20;
constexpr std::size_t longest_record = std::size_t{1} << 30;

bool ends_with_any(const std::string& path, std::initializer_list<const char*> endings) {
  return std::any_of(endings.begin(), endings.end(), [&](const char* ending) { return path.ends_with(ending); });
}

}  // namespace

bool is_record_file(const std::string& path) { return ends_with_any(path, {".jsonl", ".ndjson"}); }

std::vector<std::string> find_text_files(const std::vector<std::string>& inputs) {
  std::vector<std::string> files;
  std::set<std::string> seen;
  const auto add = [&](const std::string& path) {
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(path, error);
    if (seen.insert(error ? path : real.string()).second) files.push_back(path);
  };
  for (const std::string& input : inputs) {
    const std::vector<std::string> matches = matching_paths(input);
    if (matches.empty()) {
      throw Error(Exit::bad_data, in_quotes(input) + ": no such file or folder, and no glob that matches any");
    }
    for (const std::string& path : matches) {
      if (!is_folder(path)) {
        add(path);
        continue;
      }
      const std::size_t before = files.size();
      for (const std::string& name : names_in_folder(path)) {
        if (ends_with_any(name, {".txt", ".md", ".jsonl", ".ndjson"}))
          add((std::filesystem::path(path) / name).string());
      }
      if (files.size() == before) {
        throw Error(Exit::bad_data, path + ": no text in this folder (expected *.txt, *.md, *.jsonl or *.ndjson)");
      }
    }
  }
  return files;
}

DocumentReader::DocumentReader(std::vector<std::string> paths, std::int64_t cut_offset)
    : paths_(std::move(paths)), cut_offset_(cut_offset) {
  // Opening every file once finds what cannot be read before hours are spent on those ahead of it.
  for (const std::string& path : paths_) input_bytes_ += InputFile(path).size();
}

bool DocumentReader::open_next_file() {
  if (next_file_ == paths_.size()) return false;
  if (file_) file_begin_ += file_->size();
  file_.emplace(paths_[next_file_++]);
  records_ = is_record_file(file_->path());
  at_ = loaded_ = line_ = 0;
  buffer_.clear();
  begin_ = 0;
  return true;
}

bool DocumentReader::fill(std::size_t wanted) {
  buffer_.erase(0, begin_);
  begin_ = 0;
  const std::int64_t more = std::min(static_cast<std::int64_t>(wanted), file_->size() - loaded_);
  if (more <= 0) return false;
  const std::size_t had = buffer_.size();
  buffer_.resize(had + static_cast<std::size_t>(more));
  const std::int64_t got = file_->read_at(loaded_, buffer_.data() + had, more);
  if (got < more) {
    throw Error(Exit::bad_data, fmt::format("{}: ends at byte {} (it had {} bytes when it was opened: it shrank while "
                                            "being read)",
                                            file_->path(), loaded_ + got, file_->size()));
  }
  loaded_ += more;
  return true;
}

std::optional<DocumentPart> DocumentReader::next() {
  for (;;) {
    if (!file_ && !open_next_file()) return std::nullopt;
    std::optional<DocumentPart> part = records_ ? next_record() : next_text();
    if (part) return part;
    if (!open_next_file()) return std::nullopt;
  }
}

std::optional<DocumentPart> DocumentReader::next_text() {
  if (at_ == file_->size()) return std::nullopt;
  if (begin_ == buffer_.size()) fill(block_bytes);
  // Up to the cut, if it is ahead in this file; else up to the last safe place, which in text without white space may
  // be blocks away.
  const std::int64_t to_cut = cut_offset_ - (file_begin_ + at_);
  std::size_t size = 0;
  for (std::size_t ahead = block_bytes;; ahead *= 2) {
    const std::string_view rest = std::string_view(buffer_).substr(begin_);
    if (to_cut > 0 && static_cast<std::size_t>(to_cut) <= rest.size()) {
      size = static_cast<std::size_t>(to_cut);
      break;
    }
    size = loaded_ == file_->size() ? rest.size() : last_safe_cut(rest);
    if (size > 0) break;
    fill(ahead);
  }
  DocumentPart part{buffer_.substr(begin_, size), at_ == 0 || to_cut == 0, file_begin_ + at_};
  begin_ += size;
  at_ += static_cast<std::int64_t>(size);
  // What is left before the next safe place is short, and belongs to the next block.
  if (begin_ < buffer_.size() && loaded_ < file_->size()) fill(block_bytes);
  return part;
}

std::optional<DocumentPart> DocumentReader::next_record() {
  while (at_ < file_->size()) {
    std::size_t searched = begin_, end = std::string::npos;
    for (;;) {
      end = buffer_.find('\n', searched);
      if (end != std::string::npos || loaded_ == file_->size()) break;
      if (buffer_.size() - begin_ > longest_record) {
        throw Error(Exit::bad_data,
                    fmt::format("{}:{}: a record of more than {} bytes", file_->path(), line_ + 1, longest_record));
      }
      searched = buffer_.size() - begin_;
      fill(block_bytes);
    }
    const bool newline = end != std::string::npos;
    if (!newline) end = buffer_.size();
    const std::string_view line = std::string_view(buffer_).substr(begin_, end - begin_);
    const std::int64_t offset = file_begin_ + at_;
    DocumentPart part{record_text(line, fmt::format("{}:{}", file_->path(), ++line_)), true, offset};
    const std::size_t taken = line.size() + (newline ? 1 : 0);
    begin_ += taken;
    at_ += static_cast<std::int64_t>(taken);
    if (!part.text.empty()) return part;
  }
  return std::nullopt;
}

}  // namespace nll
