// Which texts `nll eval` reads: token shards, a text file, or what the run was validated on.
#pragma once
#include <string>
#include <vector>

#include "src/cli/verbs.h"

namespace nll {

// The files of one text, and what it is called.
struct EvalText {
  std::string name;
  std::vector<std::string> paths;
};

// A folder that is removed with what is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Of the command line. Nothing: the run's own validation text.
struct EvalSource {
  std::vector<std::string> data;
  std::string text;
};

// Its files; a text file becomes tokens of the model in `temporary`.
std::vector<EvalText> texts_of(const EvalSource& source, const OpenModel& model, int threads,
                               const TemporaryFolder& temporary);
// Writes documents, each after an end-of-text, as one token file; returns its path. `tokenizer` has an end-of-text.
std::string write_documents(const std::vector<std::string>& documents, const Tokenizer& tokenizer,
                            std::int64_t vocabulary, int threads, const std::string& path);

// How many sequences of the model's context are read in one pass.
std::int64_t sequences_at_a_time(const ModelConfig& model);

// The model's tokenizer, and a text file as one document of it: end-of-text, then its tokens.
const Tokenizer& tokenizer_of(const OpenModel& model);
std::vector<std::int32_t> tokens_of_file(const OpenModel& model, const std::string& path, int threads);
// What the run was trained with. `what`: it was; `without`: how to do without it, for the error of a folder that does
// not say.
Config config_of(const OpenModel& model, const std::string& what, const std::string& without);

}  // namespace nll
