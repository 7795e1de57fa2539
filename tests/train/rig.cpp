#include "tests/train/rig.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "kernels/philox.h"
#include "src/text/token_files.h"

namespace nll::test {

namespace fs = std::filesystem;

Folder::Folder() {
  std::string pattern = (fs::temp_directory_path() / "nll-train-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = pattern;
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void write_corpus(const std::string& data, std::int64_t tokens, std::int64_t vocabulary) {
  fs::create_directories(data);
  for (const char* split : {"train", "validation"}) {
    const std::uint64_t stream = split[0] == 't' ? 7 : 8;
    TokenFileWriter writer(data + "/" + split + "_00000.bin", vocabulary, -1, 0);
    std::vector<std::int32_t> ids;
    std::int32_t id = 0;
    for (std::int64_t i = 0; i < (split[0] == 't' ? tokens : tokens / 4); ++i) {
      const std::uint32_t word = philox(5, stream, static_cast<std::uint64_t>(i)).word[0];
      // Mostly the successor, sometimes anything: learnable, and never certain.
      id = static_cast<std::int32_t>(word % 8 == 0 ? (word >> 8) % static_cast<std::uint32_t>(vocabulary)
                                                   : (id + 1) % vocabulary);
      ids.push_back(id);
    }
    writer.append(ids);
    writer.finish();
  }
}

Config tiny_config(const Folder& folder) {
  Config config;
  config.run.directory = folder / "run";
  config.data.train = {folder / "data"};
  config.model = {.layers = 2, .heads = 2, .width = 32, .context = 16, .vocabulary = 61, .dropout = 0.1};
  config.batch.tokens_per_step = 128;
  config.batch.sequences = 4;
  config.optimizer.learning_rate = 3e-3;
  config.schedule.warmup_steps = 3;
  config.schedule.steps = 12;
  config.evaluation.every_steps = 4;
  config.evaluation.tokens = 300;
  config.checkpoint.every_steps = 3;
  config.checkpoint.keep_last = 100;
  config.cpu.threads = 2;
  return config;
}

RunResult run(const Config& config, ResumePolicy resume, std::int64_t step_limit, std::int64_t stop_after,
              const std::string& resume_path) {
  RunRequest request;
  request.config = config;
  request.resume = resume;
  request.resume_path = resume_path;
  request.step_limit = step_limit;
  request.resume_command = "nll train CONFIG --resume auto";
  request.probe_seconds = 0;
  std::int64_t asked = 0;
  request.stop_requested = [&] { return stop_after >= 0 && ++asked > stop_after; };
  Console console(false);
  RunResult result;
  try {
    result.exit = run_training(request, console);
  } catch (const Error& error) {
    result.exit = error.exit();
    result.error = error.what();
    result.hint = error.hint();
  }
  return result;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << bytes;
}

std::string checkpoint_of(const Config& config, std::int64_t step) {
  return fmt::format("{}/checkpoints/step_{:08}", config.run.directory, step);
}

std::vector<std::string> story(const Config& config) {
  std::vector<std::string> lines;
  for (Event event : read_metrics(config.run.directory + "/metrics.jsonl")) {
    if (event.event != "train" && event.event != "validation") continue;
    std::erase_if(event.values,
                  [](const auto& value) { return value.first == "tokens_per_second" || value.first == "seconds"; });
    lines.push_back(to_json(event));
  }
  return lines;
}

}  // namespace nll::test
