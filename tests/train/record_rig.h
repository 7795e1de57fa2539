// A tiny model that reads the byte tokenizer's ids, records for it, and ranks that are threads.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "src/dist/collective.h"
#include "src/dist/threads.h"
#include "src/text/record_dataset.h"
#include "src/train/scorer.h"
#include "tests/text/byte_tokenizer.h"

namespace nll::test {

inline constexpr std::int64_t rig_sequences = 4, rig_context = 32;

inline ModelConfig rig_model() {
  return {.layers = 2, .heads = 2, .width = 32, .context = 48, .vocabulary = 260, .dropout = 0};
}

// Scores rig_sequences x rig_context under weights of a seed.
struct ScoringRig {
  explicit ScoringRig(std::uint64_t seed = 3) : buffer(backend.device->allocate(4 * table.stored_elements())) {
    initialize(table, seed, *backend.device, arena());
    weights = gpt_views(table, rig_model(), arena());
  }
  Tensor arena() const { return buffer.tensor(0, DType::f32, {table.stored_elements()}); }

  Backend backend = make_backend("cpu", cpu_options(1));
  ParameterTable table = ParameterTable::gpt2(rig_model(), true);
  Buffer buffer;
  GptTensors weights;
  Gpt gpt{rig_model(), *backend.ops, *backend.device, rig_sequences, rig_context, Pass::inference};
  Head head{rig_model(), {}, *backend.ops, *backend.device, rig_sequences* rig_context, {}, RowChoice::chosen};
  Scorer scorer{gpt, head, *backend.device, *backend.ops, rig_sequences, rig_context};
};

struct RecordRig {
  TemporaryFolder folder;
  Tokenizer tokenizer = byte_tokenizer();

  RecordDataset dataset(const std::string& lines, RecordKind kind) const {
    RecordOptions options;
    options.files = {write_file(folder / "records.jsonl", lines)};
    options.kind = kind;
    options.max_length = rig_context;
    options.cache_folder = folder.path();
    return {options, tokenizer};
  }
};

// Pairs of different lengths.
inline std::string pair_lines(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    const std::string chosen(static_cast<std::size_t>(1 + i % 7), static_cast<char>('c' + i % 5));
    lines += R"({"prompt": "p)" + std::to_string(i) + R"(", "chosen": ")" + chosen + R"(", "rejected": "r)" +
             std::to_string(i * i) + "\"}\n";
  }
  return lines;
}

inline std::string label_lines(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    lines += R"({"prompt": "p)" + std::to_string(i) + R"(", "completion": "c)" + std::to_string(7 * i) +
             R"(", "label": )" + (i % 3 == 0 ? "true" : "false") + "}\n";
  }
  return lines;
}

// Runs `work` on so many ranks, each with a model of its own.
inline void on_ranks(int ranks, const std::function<void(ScoringRig&, Collective&)>& work) {
  const std::vector<std::shared_ptr<Transport>> transports = threads_transports(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      ScoringRig rig;
      Collective collective(transports[static_cast<std::size_t>(rank)], *rig.backend.device, *rig.backend.ops, {});
      work(rig, collective);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace nll::test
