#include "src/train/record_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "kernels/check.h"
#include "src/checkpoint/checkpoint.h"
#include "src/config/quote.h"
#include "src/objectives/kto.h"
#include "src/objectives/settings.h"
#include "src/text/path_patterns.h"
#include "src/train/rollout_plan.h"

namespace nll {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::vector<std::string> caches_in(const std::string& folder) {
  std::vector<std::string> caches;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const bool ours = name.starts_with("records-") || name.starts_with("reference-");
    if (ours && name.ends_with(".cache")) caches.push_back(name);
  }
  return caches;
}

bool has_tokenizer(const std::string& folder) {
  return is_there(folder + "/tokenizer.json") || is_there(folder + "/vocab.bpe") || is_there(folder + "/merges.txt");
}

std::string tokenizer_place(const Config& config) {
  if (!config.data.tokenizer.empty()) return config.data.tokenizer;
  const std::string& initial = config.run.initial_weights;
  if (!initial.empty() && has_tokenizer(initial)) return initial;
  // A run that goes on has the tokenizer in its checkpoints, wherever it once began.
  const CheckpointStore store = CheckpointStore::of_other_rank(posix_file_ops(), config.run.directory);
  const std::vector<std::int64_t> steps = store.steps();
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (has_tokenizer(store.folder(*step))) return store.folder(*step);
  }
  if (initial.empty()) {
    throw Error(Exit::usage,
                "data.tokenizer: is empty, and so is run.initial_weights (expected a tokenizer for records)",
                "name a tokenizer.json or a folder that has one");
  }
  throw Error(Exit::bad_data, fmt::format("{}: has no tokenizer.json (expected one for records)", initial),
              "name a tokenizer.json in data.tokenizer");
}

RoleMarkers markers_of(const RoleMarkersConfig& config) { return {config.prefix, config.suffix}; }

void tell(Console& console, const std::string& name, const RecordDataset& dataset) {
  for (const std::string& notice : dataset.notices()) console.info(notice);
  const RecordSummary& summary = dataset.summary();
  console.info(fmt::format("{}: {}; {} tokens, {} to be predicted, {} in the longest sequence", name, summary.text(),
                           human_count(static_cast<double>(summary.tokens)),
                           human_count(static_cast<double>(summary.trained_tokens)), summary.longest));
  for (const FaultCount& fault : summary.faults) {
    for (const std::string& example : fault.examples) console.warning(example + ": skipped");
    const std::int64_t more = fault.count - static_cast<std::int64_t>(fault.examples.size());
    if (more > 0)
      console.warning(
          fmt::format("{}: {} more line{} skipped", fault_reason_name(fault.reason), more, more == 1 ? "" : "s"));
  }
}

// Says where desirable and undesirable records pull with very different force.
void tell_balance(Console& console, const Config& config, const RecordDataset& dataset) {
  std::int64_t desirable = 0;
  for (std::int64_t record = 0; record < dataset.records(); ++record) {
    desirable += dataset.sequences(record).front().info.label ? 1 : 0;
  }
  const std::int64_t undesirable = dataset.records() - desirable;
  console.info(fmt::format("training records: {} desirable, {} undesirable", desirable, undesirable));
  const KtoSettings settings = objective_settings(config.objective, config.rollout).kto;
  const std::optional<KtoBalance> balance = kto_balance(desirable, undesirable, settings);
  if (!balance || balance->good()) return;
  console.warning(fmt::format(
      "objective.kto: desirable and undesirable records weigh {:.3g} to 1 (advised: 1 to 1.33): set desirable_weight "
      "between {:.3g} and {:.3g}",
      balance->ratio, balance->least_desirable_weight, balance->most_desirable_weight));
}

}  // namespace

RecordCacheFolder::RecordCacheFolder(const Config& config, bool keeps_all) : kept_(keeps_all) {
  const bool in_run = config.records.cache == "auto" || config.records.cache.empty();
  path_ = in_run ? config.run.directory + "/records" : config.records.cache;
  before_ = caches_in(path_);
  for (fs::path folder = fs::path(path_).lexically_normal(); !folder.empty() && !is_there(folder);
       folder = folder.parent_path()) {
    missing_.push_back(folder.string());
  }
}

RecordCacheFolder::~RecordCacheFolder() {
  if (kept_) return;
  std::error_code ignored;
  for (const std::string& name : caches_in(path_)) {
    if (std::find(before_.begin(), before_.end(), name) == before_.end()) fs::remove(path_ + "/" + name, ignored);
  }
  for (const std::string& folder : missing_) fs::remove(folder, ignored);  // only when it is empty
}

RecordKind record_kind_of(const ObjectiveConfig& objective) {
  if (objective.of_pairs()) return RecordKind::preference;
  if (objective.kind == "kto") return RecordKind::unpaired;
  if (objective.kind == "contrastive") return RecordKind::contrastive;
  if (objective.kind == "mixer" || !objective.of_rollouts()) return RecordKind::supervised;
  return RecordKind::prompt_only;
}

RecordOptions record_options(const Config& config, std::vector<std::string> files, const std::string& cache_folder,
                             int threads) {
  const RecordsConfig& records = config.records;
  RecordOptions options;
  options.files = std::move(files);
  options.kind = record_kind_of(config.objective);
  options.markers = {markers_of(records.system), markers_of(records.user), markers_of(records.assistant),
                     markers_of(records.tool), records.assistant_only};
  options.max_length = records.max_length.value_or(config.model.context);
  const bool prompts = options.kind == RecordKind::prompt_only;
  if (prompts) {
    options.max_length -= config.rollout.max_tokens;
    if (options.max_length < 2) {
      throw Error(Exit::usage,
                  fmt::format("rollout.max_tokens: {} leaves {} tokens of {} {} for a prompt (expected at least 2)",
                              config.rollout.max_tokens, options.max_length,
                              records.max_length ? "records.max_length" : "model.context",
                              options.max_length + config.rollout.max_tokens));
    }
  }
  // What is cut has lost what a reward is about.
  options.long_records = prompts || config.objective.kind == "reward" ? LongRecords::drop : LongRecords::cut;
  options.bad_records = records.bad == "skip" ? BadRecords::skip : BadRecords::stop;
  options.longest_line = records.longest_line;
  options.cache_folder = cache_folder;
  options.threads = threads;
  return options;
}

std::vector<std::string> find_record_files(const std::vector<std::string>& patterns, const std::string& key) {
  std::vector<std::string> found;
  std::set<std::string> seen;
  for (const std::string& pattern : patterns) {
    const std::vector<std::string> matches = matching_paths(pattern);
    if (matches.empty()) {
      throw Error(Exit::bad_data,
                  fmt::format("{}: {}: no such file, and no glob that matches any", key, in_quotes(pattern)),
                  "records are .jsonl files: docs/records.md");
    }
    for (const std::string& path : matches) {
      if (is_folder(path)) {
        throw Error(Exit::bad_data, fmt::format("{}: {} is a folder (expected .jsonl files)", key, in_quotes(path)),
                    "say which of its files: \"" + path + "/*.jsonl\"");
      }
      // The same file under two names is one file.
      std::error_code error;
      const fs::path real = fs::canonical(path, error);
      if (seen.insert(error ? path : real.string()).second) found.push_back(path);
    }
  }
  return found;
}

RecordData open_record_data(const Config& config, const RecordCacheFolder& cache, Console& console, int threads,
                            const std::function<bool()>& stop_requested) {
  if (threads == 0)
    threads = config.cpu.threads > 0 ? static_cast<int>(config.cpu.threads)
                                     : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  const std::vector<std::string> train = find_record_files(config.data.train, "data.train");
  if (train.empty()) throw Error(Exit::usage, "data.train: names no files (expected .jsonl files)");
  const std::vector<std::string> validation = find_record_files(config.data.validation, "data.validation");
  RecordData data;
  data.tokenizer_place = tokenizer_place(config);
  data.tokenizer = Tokenizer::load(data.tokenizer_place);
  if (data.tokenizer->vocabulary() > config.model.vocabulary) {
    throw Error(Exit::bad_data,
                fmt::format("model.vocabulary: {} is less than the {} ids of {}", config.model.vocabulary,
                            data.tokenizer->vocabulary(), data.tokenizer_place),
                fmt::format("set model.vocabulary to {}", data.tokenizer->vocabulary()));
  }
  const auto open = [&](const std::vector<std::string>& files, const std::string& name) {
    Job job(console, "tokenizing " + name, "MB");
    const auto progress = [&](std::int64_t done, std::int64_t total) {
      if (stop_requested && stop_requested()) {
        throw Error(Exit::stopped, "stopped while records were tokenized; nothing was begun");
      }
      job.update(done, total);
    };
    auto dataset = std::make_unique<RecordDataset>(record_options(config, files, cache.path(), threads),
                                                   *data.tokenizer, progress);
    job.finish();
    tell(console, name, *dataset);
    return dataset;
  };
  data.train = open(train, "training records");
  if (config.objective.kind == "kto") tell_balance(console, config, *data.train);
  if (!validation.empty()) data.validation = open(validation, "held-out records");
  return data;
}

RecordBatching in_order(const RecordDataset& dataset, std::int64_t sequences, std::int64_t context,
                        const World& world) {
  RecordBatching made;
  made.records_per_step = world.size * std::max<std::int64_t>(sequences / dataset.widest(), 1);
  made.sequences = sequences;
  made.context = context;
  made.rank = world.rank;
  made.ranks = world.size;
  made.order = RecordOrder::once;
  return made;
}

std::int64_t record_context(const RecordData& data, const Config& config) {
  const auto longest = [&](const RecordDataset& dataset) {
    return config.objective.of_rollouts() ? rollout_context(config, dataset) : dataset.longest();
  };
  std::int64_t most = longest(*data.train);
  if (data.validation) most = std::max(most, longest(*data.validation));
  constexpr std::int64_t whole = 16;  // rows of whole vectors and matrix tiles
  return std::min((most + whole - 1) / whole * whole, config.model.context);
}

std::int64_t record_width(const RecordData& data, const Config& config) {
  std::int64_t widest = data.train->widest();
  if (data.validation) widest = std::max(widest, data.validation->widest());
  return config.objective.kind == "kto" ? std::max<std::int64_t>(widest, 2) : widest;
}

}  // namespace nll
