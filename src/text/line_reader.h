// The lines of a file as a stream that never holds more than one line and one block, however long lines are.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "src/text/input_file.h"

namespace nll {

struct Line {
  std::string text;         // without its end, "\n" or "\r\n"; empty where it is too long
  std::int64_t number = 0;  // from 1
  std::int64_t bytes = 0;   // of the text
  bool too_long = false;
};

class LineReader {
 public:
  // Lines of more than `longest` bytes are passed over, not held. Throws Error(bad_data) when the file cannot be read
  // or is compressed.
  LineReader(const std::string& path, std::int64_t longest);
  ~LineReader();
  // Lines of white space alone are handed out, except for those after the last line that has more. A byte order mark
  // before the first line is left out. Throws Error(bad_data) when the file shrinks meanwhile.
  std::optional<Line> next();
  std::int64_t size() const { return file_.size(); }
  std::int64_t bytes_read() const { return loaded_; }
  std::uint64_t hash() const;  // xxh3 of what was read so far

 private:
  struct Hash;
  bool fill();
  std::optional<Line> next_of_any_kind();

  InputFile file_;
  std::size_t longest_;
  std::unique_ptr<Hash> hash_;
  std::string block_;
  std::size_t at_ = 0;        // of the block, what was handed out
  std::int64_t loaded_ = 0;   // of the file
  std::int64_t number_ = 0;   // lines so far
  std::int64_t blank_ = 0;    // blank lines that wait for what comes after them
  std::optional<Line> held_;  // the line after them
};

// xxh3 of a whole file. Throws as InputFile does.
std::uint64_t hash_of_file(const std::string& path);

}  // namespace nll
