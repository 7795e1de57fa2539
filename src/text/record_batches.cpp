#include "src/text/record_batches.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/check.h"
#include "kernels/ops.h"
#include "src/text/loader.h"

namespace nll {
namespace {

void put_sequence(Batch& batch, std::size_t row, const RecordSequence& sequence, bool prompt_targets) {
  const std::size_t begin = row * static_cast<std::size_t>(batch.context);
  std::copy(sequence.tokens.begin(), sequence.tokens.end(), batch.tokens.begin() + static_cast<std::ptrdiff_t>(begin));
  const auto predict = [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t token = from; token < to; ++token) {
      batch.targets[begin + static_cast<std::size_t>(token) - 1] = sequence.tokens[static_cast<std::size_t>(token)];
    }
  };
  if (prompt_targets && sequence.info.role == 0) predict(1, sequence.info.prompt_tokens);
  for (const TokenSpan& span : sequence.trained) predict(span.begin, span.end);
  batch.sequence_info[row] = sequence.info;
}

}  // namespace

RecordBatches::RecordBatches(const RecordDataset& dataset, const RecordBatching& batching)
    : dataset_(dataset), batching_(batching) {
  CHECK(batching.ranks > 0);
  CHECK(batching.rank >= 0);
  CHECK(batching.rank < batching.ranks);
  const auto refuse = [](const std::string& what, const char* hint) { throw Error(Exit::usage, what, hint); };
  if (batching.records_per_step < batching.ranks) {
    refuse(fmt::format("{} records in an optimizer step cannot be shared by {} ranks (expected at least one each)",
                       batching.records_per_step, batching.ranks),
           "take more records a step, or fewer ranks");
  }
  if (batching.sequences < dataset.widest()) {
    refuse(
        fmt::format("a micro-batch of {} sequences cannot hold a record of {}", batching.sequences, dataset.widest()),
        "all sequences of a record are weighed in one micro-batch");
  }
  if (batching.context < dataset.longest()) {
    refuse(fmt::format("a context of {} cannot hold a sequence of {} tokens", batching.context, dataset.longest()),
           "allow shorter sequences, or take a larger context");
  }
}

std::int64_t RecordBatches::micro_batches() const {
  const std::int64_t per_rank = (batching_.records_per_step + batching_.ranks - 1) / batching_.ranks;
  const std::int64_t per_micro_batch = batching_.sequences / dataset_.widest();
  return (per_rank + per_micro_batch - 1) / per_micro_batch;
}

std::vector<std::int64_t> RecordBatches::records(std::int64_t position) const {
  CHECK(position >= 0);
  const std::int64_t step = batching_.records_per_step, count = dataset_.records();
  const std::int64_t begin = position + batching_.rank * step / batching_.ranks;
  const std::int64_t end = position + (batching_.rank + 1) * step / batching_.ranks;
  std::vector<std::int64_t> records;
  for (std::int64_t index = begin; index < end; ++index) {
    if (batching_.order == RecordOrder::shuffled) {
      records.push_back(permuted_index(batching_.seed, index / count, count, index % count));
    } else if (index < count) {
      records.push_back(index);
    }
  }
  return records;
}

Batch RecordBatches::micro_batch(std::int64_t position, std::int64_t index) const {
  CHECK(index >= 0);
  CHECK(index < micro_batches());
  Batch batch;
  batch.sequences = batching_.sequences;
  batch.context = batching_.context;
  const auto size = static_cast<std::size_t>(batch.sequences * batch.context);
  batch.tokens.assign(size, dataset_.padding());
  batch.targets.assign(size, ignore_index);
  batch.sequence_info.resize(static_cast<std::size_t>(batch.sequences));
  const std::vector<std::int64_t> mine = records(position);
  const auto per_micro_batch = static_cast<std::size_t>(batching_.sequences / dataset_.widest());
  const std::size_t begin = std::min(mine.size(), static_cast<std::size_t>(index) * per_micro_batch);
  const std::size_t end = std::min(mine.size(), begin + per_micro_batch);
  std::size_t row = 0;
  for (std::size_t i = begin; i < end; ++i) {
    for (const RecordSequence& sequence : dataset_.sequences(mine[i])) {
      put_sequence(batch, row++, sequence, batching_.prompt_targets);
    }
  }
  return batch;
}

}  // namespace nll
