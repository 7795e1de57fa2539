// A tiny corpus, a tiny config and whole runs over them, in a folder that is removed afterwards.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "src/config/config.h"
#include "src/report/metrics_file.h"
#include "src/train/run.h"

namespace nll::test {

class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Writes DATA/train_00000.bin and DATA/validation_00000.bin: a noisy counting language over `vocabulary` ids.
void write_corpus(const std::string& data, std::int64_t tokens, std::int64_t vocabulary);

// 2 layers of width 32, context 16, 8 sequences a step in micro-batches of 4, dropout 0.1; 12 steps.
Config tiny_config(const Folder& folder);

struct RunResult {
  Exit exit = Exit::internal;
  std::string error, hint;  // of an nll::Error
};
// Runs the config. `stop_after` asks to stop once it was asked that many times (-1: never).
RunResult run(const Config& config, ResumePolicy resume = ResumePolicy::refuse, std::int64_t step_limit = 0,
              std::int64_t stop_after = -1, const std::string& resume_path = "");

std::string read_file(const std::string& path);
void write_file(const std::string& path, const std::string& bytes);
std::string checkpoint_of(const Config& config, std::int64_t step);

// What a run must reproduce bit for bit: train and validation events without times and rates, one line each.
std::vector<std::string> story(const Config& config);

}  // namespace nll::test
