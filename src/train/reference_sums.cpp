#include "src/train/reference_sums.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <tuple>

#include "kernels/check.h"
#include "src/checkpoint/hash.h"
#include "src/text/record_batches.h"
#include "src/train/record_data.h"
#include "src/train/reference_cache.h"
#include "src/train/shared_pace.h"

namespace nll {
namespace {

// The sum of one sequence, as ranks exchange them. Plain data without padding.
struct Entry {
  std::int64_t record = 0, role = 0;
  double sum = 0;
};
static_assert(sizeof(Entry) == 24);

std::string bytes_of(const std::vector<Entry>& entries) {
  return {reinterpret_cast<const char*>(entries.data()), entries.size() * sizeof(Entry)};
}

class Computation {
 public:
  Computation(const ReferenceSums::Request& request, Scorer& scorer, const GptTensors& reference,
              Collective& collective)
      : request_(request),
        scorer_(scorer),
        reference_(reference),
        collective_(collective),
        records_(reference_records(request)),
        batching_(in_order(request.dataset, request.sequences, request.context, collective.world())),
        batches_(request.dataset, batching_) {}

  // The content of a cache, on all ranks; none: stopped.
  std::optional<std::string> run(Console& console, const std::function<bool()>& stop_requested) {
    Job job(console, fmt::format("reference, {}", request_.name), "records");
    SharedPace pace(collective_, stop_requested, 1);
    const bool done = pace.run("log-probabilities of the reference", [&] {
      for (std::int64_t position = 0; position < records_; position += batching_.records_per_step) {
        if (!pace.tick()) return;
        score(position);
        job.update(std::min(position + batching_.records_per_step, records_), records_);
      }
    });
    if (!done) return std::nullopt;
    job.finish();
    return of_all_ranks();
  }

 private:
  void score(std::int64_t position) {
    const Batch batch = batches_.micro_batch(position, 0);
    if (batch.valid_tokens() == 0) return;
    const std::vector<double> sums = completion_sums(batch, scorer_.score(reference_, batch).logp);
    for (std::size_t row = 0; row < sums.size(); ++row) {
      const SequenceInfo& info = batch.sequence_info[row];
      if (info.record < 0 || info.record >= records_) continue;
      if (!std::isfinite(sums[row])) {
        throw Error(Exit::bad_data,
                    fmt::format("{}: the reference model gives its completion the log-probability {} (expected a "
                                "finite number)",
                                request_.dataset.place(info.record), sums[row]),
                    "the weights of objective.reference are damaged, or too large for precision.compute");
      }
      mine_.push_back({info.record, info.role, sums[row]});
    }
  }

  std::string of_all_ranks() const {
    std::vector<Entry> all;
    for (const std::string& bytes : collective_.exchange(bytes_of(mine_), "log-probabilities of the reference")) {
      const std::size_t before = all.size();
      all.resize(before + bytes.size() / sizeof(Entry));
      std::memcpy(all.data() + before, bytes.data(), bytes.size());
    }
    std::sort(all.begin(), all.end(),
              [](const Entry& a, const Entry& b) { return std::tie(a.record, a.role) < std::tie(b.record, b.role); });
    ReferenceCache cache;
    cache.widths.assign(static_cast<std::size_t>(records_), 0);
    for (const Entry& entry : all) {
      std::uint32_t& width = cache.widths.at(static_cast<std::size_t>(entry.record));
      CHECK(entry.role == static_cast<std::int64_t>(width));
      ++width;
      cache.sums.push_back(entry.sum);
    }
    return cache.content();
  }

  const ReferenceSums::Request& request_;
  Scorer& scorer_;
  const GptTensors& reference_;
  Collective& collective_;
  const std::int64_t records_;
  const RecordBatching batching_;
  RecordBatches batches_;
  std::vector<Entry> mine_;
};

}  // namespace

std::string hash_of_tensor(Device& device, Tensor tensor) {
  constexpr std::int64_t most = std::int64_t{16} << 20;  // elements at a time
  const Tensor flat = tensor.reshape({tensor.size()});
  Hash128 hash;
  std::vector<std::uint8_t> bytes;
  for (std::int64_t begin = 0; begin < flat.size(); begin += most) {
    const Tensor part = flat.slice(begin, std::min(most, flat.size() - begin));
    bytes.resize(static_cast<std::size_t>(part.bytes()));
    device.download(bytes.data(), part);
    hash.update(bytes.data(), part.bytes());
  }
  return hash.digest();
}

std::uint64_t ReferenceKey::hash() const {
  constexpr int rules = 1;  // to be raised when the same model gives other numbers
  const std::string all = fmt::format("reference sums {}\n{}\n{:016x} {:016x}\n{} {} {}\n{}\n", rules, weights,
                                      tokenizer, dataset, max_length, sequences, context, numerics);
  return XXH3_64bits(all.data(), all.size());
}

std::string reference_numerics(const Numerics& numerics, const DeviceInfo& device, const HeadConfig& head) {
  return fmt::format("{} {} {} {} {} {} {}", device.kind, device.kind == "cpu" ? device.instructions : device.name,
                     static_cast<int>(numerics.compute), static_cast<int>(numerics.residual),
                     static_cast<int>(numerics.logits), head.logits, head.softcap);
}

ReferenceKey key_of(const ReferenceSums::Request& request) {
  ReferenceKey key = request.key;
  key.dataset = request.dataset.fingerprint();
  key.sequences = request.sequences;
  key.context = request.context;
  return key;
}

std::int64_t reference_records(const ReferenceSums::Request& request) {
  const std::int64_t all = request.dataset.records();
  return request.records > 0 ? std::min(request.records, all) : all;
}

std::optional<ReferenceSums> ReferenceSums::open(const Request& request, Scorer& scorer, const GptTensors& reference,
                                                 Collective& collective, Console& console,
                                                 const std::function<bool()>& stop_requested) {
  const bool first = collective.world().rank == 0;
  const std::int64_t records = reference_records(request);
  const std::uint64_t key = key_of(request).hash();
  const std::string path = reference_cache_path(request.cache_folder, key_of(request), records);
  std::string content;
  collective.together("a look at cached log-probabilities", [&] {
    std::error_code ignored;
    if (!first || !std::filesystem::exists(path, ignored)) return;
    try {
      content = ReferenceCache::read(path, key, records).content();
      console.info(fmt::format("{}: log-probabilities of the reference from an earlier run", path));
    } catch (const Error& refused) {
      console.warning(std::string(refused.what()) + ": made again");
    }
  });
  content = collective.exchange(content, "cached log-probabilities").front();
  if (content.empty()) {
    std::optional<std::string> made = Computation(request, scorer, reference, collective).run(console, stop_requested);
    if (!made) return std::nullopt;
    content = *std::move(made);
    collective.together("keeping log-probabilities", [&] {
      if (!first) return;
      std::error_code failed;
      std::filesystem::create_directories(request.cache_folder, failed);
      if (failed) {
        throw Error(Exit::io, fmt::format("{}: making the folder failed ({})", request.cache_folder, failed.message()));
      }
      ReferenceCache::parse(content, records).write(path, key);
      console.info(fmt::format("{}: log-probabilities of the reference for later runs", path));
    });
  }
  return ReferenceSums(content, records);
}

ReferenceSums::ReferenceSums(const std::string& content, std::int64_t records) {
  ReferenceCache cache = ReferenceCache::parse(content, records);
  begins_.assign(1, 0);
  for (const std::uint32_t width : cache.widths) begins_.push_back(begins_.back() + width);
  sums_ = std::move(cache.sums);
}

double ReferenceSums::sum(std::int64_t record, std::int64_t role) const {
  CHECK(record >= 0);
  CHECK(record < records());
  const std::int64_t at = begins_[static_cast<std::size_t>(record)] + role;
  CHECK(role >= 0);
  CHECK(at < begins_[static_cast<std::size_t>(record) + 1]);
  return sums_[static_cast<std::size_t>(at)];
}

std::vector<double> ReferenceSums::rows(const Batch& batch) const {
  std::vector<double> sums(batch.sequence_info.size(), 0.0);
  for (std::size_t row = 0; row < sums.size(); ++row) {
    const SequenceInfo& info = batch.sequence_info[row];
    if (info.record >= 0) sums[row] = sum(info.record, info.role);
  }
  return sums;
}

}  // namespace nll
