// The runs of a sweep: keys and values of its grid, all combinations, the folder of each.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/check.h"
#include "src/report/console.h"
#include "src/train/starting_model.h"
#include "src/train/sweep.h"

namespace nll {

namespace {

constexpr std::size_t most_runs = 10000, longest_name = 120;

// A word that is a good part of a folder's name on any file system.
std::string plain(const std::string& value) {
  std::string word;
  for (char c : value) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                      c == '-' || c == '+' || c == '_';
    word += good ? c : '_';
  }
  return word;
}

std::string short_key(const std::vector<GridKey>& grid, const std::string& key) {
  const auto last = [](const std::string& path) { return path.substr(path.rfind('.') + 1); };
  std::size_t same = 0;
  for (const GridKey& other : grid) same += last(other.key) == last(key) ? 1 : 0;
  return same > 1 ? key : last(key);
}

std::string number(double value, const char* form) {
  return std::isfinite(value) ? fmt::format(fmt::runtime(form), value) : "-";
}

}  // namespace

GridKey parse_grid(const std::string& argument) {
  const std::size_t equals = argument.find('=');
  if (equals == std::string::npos || equals == 0) {
    throw Error(Exit::usage, fmt::format("--grid {}: expected key=value,value", argument),
                "for example --grid optimizer.learning_rate=1e-3,3e-4");
  }
  GridKey result{argument.substr(0, equals), {""}};
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = equals + 1; i < argument.size(); ++i) {
    const char c = argument[i];
    if (c == '"' && (i == 0 || argument[i - 1] != '\\')) quoted = !quoted;
    if (!quoted) depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (c == ',' && !quoted && depth == 0) {
      result.values.emplace_back();
    } else {
      result.values.back() += c;
    }
  }
  for (const std::string& value : result.values) {
    if (value.empty()) throw Error(Exit::usage, fmt::format("--grid {}: one of its values is empty", argument));
  }
  if (result.key == "run.directory") {
    throw Error(Exit::usage, "--grid run.directory: each run of a sweep has a folder of its own",
                "--directory names the folder of the sweep");
  }
  return result;
}

std::vector<SweepRun> plan_sweep(const std::string& config, const std::vector<std::string>& overrides,
                                 const std::vector<GridKey>& grid, std::string& directory) {
  std::set<std::string> keys, names, configs;
  std::size_t count = 1;
  for (const GridKey& key : grid) {
    if (!keys.insert(key.key).second)
      throw Error(Exit::usage, fmt::format("--grid {}: given twice", key.key), "list all its values in one --grid");
    count *= key.values.size();
    if (count > most_runs) throw Error(Exit::usage, fmt::format("--grid: more than {} combinations", most_runs));
  }
  std::vector<SweepRun> runs;
  for (std::size_t i = 0; i < count; ++i) {
    SweepRun run;
    run.values.resize(grid.size());
    std::size_t rest = i;
    for (std::size_t k = grid.size(); k-- > 0;) {
      run.values[k] = grid[k].values[rest % grid[k].values.size()];
      rest /= grid[k].values.size();
    }
    std::vector<std::string> assignments = overrides;
    for (std::size_t k = 0; k < grid.size(); ++k) {
      assignments.push_back(grid[k].key + "=" + run.values[k]);
      run.name += (k > 0 ? "," : "") + short_key(grid, grid[k].key) + "=" + plain(run.values[k]);
    }
    run.config = load_run_config({config, assignments, false, {}, [](const std::string&, const std::string&) {}});
    check_config(run.config, config);
    if (!configs.insert(dump_config(run.config)).second)
      throw Error(Exit::usage, fmt::format("--grid: {} is the same run as one before it", run.name));
    if (run.name.size() > longest_name || names.contains(run.name))
      run.name = fmt::format("{}-{}", run.name.substr(0, longest_name), i + 1);
    names.insert(run.name);
    if (directory.empty()) directory = run.config.run.directory + "_sweep";
    run.config.run.directory = directory + "/" + run.name;
    runs.push_back(std::move(run));
  }
  return runs;
}

std::string sweep_json(const SweepRequest& request, const std::vector<SweepResult>& results) {
  nlohmann::ordered_json json{{"runs", nlohmann::ordered_json::array()}};
  for (const GridKey& key : request.grid) json["grid"][key.key] = key.values;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const SweepResult& result = results[i];
    nlohmann::ordered_json run{{"folder", request.runs[i].config.run.directory}, {"state", result.state}};
    for (std::size_t k = 0; k < request.grid.size(); ++k)
      run["values"][request.grid[k].key] = request.runs[i].values[k];
    if (!result.message.empty()) run["message"] = result.message;
    run["loss"] = result.loss;  // what is no number is written as null
    run["bits_per_byte"] = result.bits_per_byte;
    run["tokens_per_second"] = result.tokens_per_second;
    run["seconds"] = result.seconds;
    json["runs"].push_back(run);
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string sweep_table(const SweepRequest& request, const std::vector<SweepResult>& results) {
  std::string text;
  for (const GridKey& key : request.grid) text += fmt::format("{:<16} ", short_key(request.grid, key.key));
  text += fmt::format("{:<9} {:>9} {:>10} {:>10}\n", "state", "loss", "bits/byte", "tokens/s");
  for (std::size_t i = 0; i < results.size(); ++i) {
    const SweepResult& result = results[i];
    for (const std::string& value : request.runs[i].values) text += fmt::format("{:<16} ", value);
    text += fmt::format("{:<9} {:>9} {:>10} {:>10}\n", result.state, number(result.loss, "{:.4f}"),
                        number(result.bits_per_byte, "{:.4f}"),
                        std::isfinite(result.tokens_per_second) ? human_count(result.tokens_per_second) : "-");
  }
  return text;
}

}  // namespace nll
