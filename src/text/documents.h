// The documents of a corpus, read as a stream: a plain text file is one document, a line of a .jsonl file is one.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "src/text/input_file.h"

namespace nll {

// A part of a document, cut where the pre-tokenizer always splits. Its text is not empty.
struct DocumentPart {
  std::string text;
  bool begins_document = false;
  std::int64_t input_offset = 0;  // of its first byte (for .jsonl: of its record), counted over all input files
};

// The files that inputs (files, folders, globs) mean, in the order given, each once. Of a folder: its *.txt, *.md,
// *.jsonl and *.ndjson, sorted. Throws Error(bad_data) naming an input that means nothing.
std::vector<std::string> find_text_files(const std::vector<std::string>& inputs);

bool is_record_file(const std::string& path);  // .jsonl or .ndjson

// Reads files one after the other, holding one block of one file at a time.
class DocumentReader {
 public:
  // `cut_offset`: a document is parted at this input offset too; a part never has bytes of both sides.
  explicit DocumentReader(std::vector<std::string> paths, std::int64_t cut_offset = -1);
  // The next part. Throws Error(bad_data) on a record that is no JSON object with a string "text", naming file and
  // line, and on a file that shrinks while it is read.
  std::optional<DocumentPart> next();
  std::int64_t input_bytes() const { return input_bytes_; }      // of all files
  std::int64_t bytes_read() const { return file_begin_ + at_; }  // so far, over all files

 private:
  bool open_next_file();
  bool fill(std::size_t wanted);  // more of the file into buffer_; false at its end
  std::optional<DocumentPart> next_text();
  std::optional<DocumentPart> next_record();

  std::vector<std::string> paths_;
  std::int64_t cut_offset_;
  std::int64_t input_bytes_ = 0;
  std::size_t next_file_ = 0;
  std::optional<InputFile> file_;
  bool records_ = false;
  std::int64_t file_begin_ = 0;  // input offset of the file's first byte
  std::int64_t at_ = 0;          // bytes of the file that were handed out
  std::int64_t loaded_ = 0;      // bytes of the file that were read
  std::int64_t line_ = 0;        // records so far
  std::string buffer_;           // what was read and not handed out begins at begin_
  std::size_t begin_ = 0;
};

}  // namespace nll
