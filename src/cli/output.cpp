#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "src/cli/verbs.h"
#include "src/config/suggest.h"

namespace nll {

void print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Error(Exit::io, "standard output: cannot be written");
  }
}

std::string shell_word(const std::string& word) {
  if (!word.empty() &&
      word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=.,:/@%") ==
          std::string::npos)
    return word;
  std::string quoted = "'";
  for (char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

std::string verb_meant(const CLI::App& app, const std::string& word) {
  std::vector<std::string> verbs;
  for (const CLI::App* verb : app.get_subcommands({})) verbs.push_back(verb->get_name());
  if (word.empty() || word.front() == '-' || std::find(verbs.begin(), verbs.end(), word) != verbs.end()) return {};
  const std::string meant = nearest(word, verbs);
  return meant.empty() ? fmt::format("one of: {}", fmt::join(verbs, ", ")) : fmt::format("did you mean {}?", meant);
}

std::function<void(const std::string& folder, const std::string& why)> warn_of_refused(Console& console) {
  return [&console](const std::string& folder, const std::string& why) {
    console.warning(fmt::format("{}: skipped: {}", folder, why));
  };
}

OpenModel open_shown(const std::string& path, Backend& backend, const PrecisionConfig& precision, Console& console) {
  Job job(console, "loading weights", "parameters");
  OpenModel model = open_model(posix_file_ops(), path, backend, precision, warn_of_refused(console),
                               [&](std::int64_t done, std::int64_t total) { job.update(done, total); });
  job.finish();
  return model;
}

}  // namespace nll
