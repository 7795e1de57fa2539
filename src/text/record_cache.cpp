#include "src/text/record_cache.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/check.h"
#include "src/text/output_file.h"
#include "src/text/record_cache_bytes.h"

namespace nll {
namespace {

constexpr std::uint64_t header_bytes = record_cache_header_bytes;

using StreamHash = std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)>;

StreamHash new_hash() {
  StreamHash hash(XXH3_createState(), XXH3_freeState);
  CHECK(hash.get() != nullptr);
  XXH3_64bits_reset(hash.get());
  return hash;
}

}  // namespace

struct RecordCacheWriter::State {
  OutputFile file;
  RecordCacheHeader header;
  std::vector<std::uint64_t> offsets;
  std::string pending;  // not yet written
  StreamHash hash = new_hash();

  void flush() {
    XXH3_64bits_update(hash.get(), pending.data(), pending.size());
    file.write(pending.data(), static_cast<std::int64_t>(pending.size()));
    pending.clear();
  }
};

RecordCacheWriter::RecordCacheWriter(const std::string& path, std::uint64_t key)
    : state_(new State{OutputFile(path), {}, {header_bytes}, {}}) {
  state_->header.key = key;
  const std::string zeros(header_bytes, '\0');
  state_->file.write(zeros.data(), static_cast<std::int64_t>(zeros.size()));
}

RecordCacheWriter::~RecordCacheWriter() = default;

void RecordCacheWriter::append(const EncodedRecord& record, std::int64_t file, std::int64_t line) {
  constexpr std::size_t block_bytes = std::size_t{1} << 20;
  const std::string bytes = pack_record(record, file, line);
  state_->offsets.push_back(state_->offsets.back() + bytes.size());
  state_->pending += bytes;
  if (state_->pending.size() >= block_bytes) state_->flush();
}

void RecordCacheWriter::finish(const RecordSummary& summary) {
  state_->flush();
  RecordCacheHeader& header = state_->header;
  header.data_hash = XXH3_64bits_digest(state_->hash.get());
  header.records = state_->offsets.size() - 1;
  header.data_bytes = state_->offsets.back() - header_bytes;
  std::string index;
  index.reserve(8 * state_->offsets.size());
  for (const std::uint64_t offset : state_->offsets) put_number(index, offset, 8);
  header.index_hash = XXH3_64bits(index.data(), index.size());
  const std::string text = summary.json();
  header.summary_bytes = text.size();
  header.summary_hash = XXH3_64bits(text.data(), text.size());
  state_->file.write(index.data(), static_cast<std::int64_t>(index.size()));
  state_->file.write(text.data(), static_cast<std::int64_t>(text.size()));
  const auto head = write_record_cache_header(header);
  state_->file.write_at(0, head.data(), static_cast<std::int64_t>(head.size()));
  state_->file.publish();
}

void RecordCache::refuse(const std::string& what) const {
  throw Error(Exit::bad_data, fmt::format("{}: {}", file_.path(), what));
}

RecordCache::RecordCache(const std::string& path, std::uint64_t key, std::int64_t vocabulary)
    : file_(path), vocabulary_(vocabulary) {
  const auto read = [&](std::uint64_t offset, std::uint64_t bytes) {
    std::string text(bytes, '\0');
    const std::int64_t got =
        file_.read_at(static_cast<std::int64_t>(offset), text.data(), static_cast<std::int64_t>(bytes));
    text.resize(static_cast<std::size_t>(got));
    return text;
  };
  const auto size = static_cast<std::uint64_t>(file_.size());
  std::string why;
  const auto header = read_record_cache_header(read(0, std::min(size, header_bytes)), why);
  if (!header) refuse(why);
  if (header->key != key) refuse("was made from other files, or with other settings");
  const std::uint64_t body = size - header_bytes;
  // Each part is compared before they are added up, so that no sum goes around.
  const bool fits = header->data_bytes <= body && header->summary_bytes <= body && header->records < body &&
                    header->data_bytes + 8 * (header->records + 1) + header->summary_bytes == body;
  if (!fits) refuse(fmt::format("is damaged: it has {} bytes, which is not what its header gives", size));

  constexpr std::uint64_t block_bytes = std::uint64_t{1} << 20;
  const StreamHash hash = new_hash();
  const std::uint64_t data_end = header_bytes + header->data_bytes;
  for (std::uint64_t at = header_bytes; at < data_end; at += block_bytes) {
    const std::string block = read(at, std::min(block_bytes, data_end - at));
    XXH3_64bits_update(hash.get(), block.data(), block.size());
  }
  hash_ = header->data_hash;
  if (XXH3_64bits_digest(hash.get()) != hash_) refuse("is damaged: its records do not have their checksum");

  const std::string index = read(data_end, 8 * (header->records + 1));
  const std::string text = read(data_end + index.size(), header->summary_bytes);
  if (XXH3_64bits(index.data(), index.size()) != header->index_hash) {
    refuse("is damaged: its index does not have its checksum");
  }
  if (XXH3_64bits(text.data(), text.size()) != header->summary_hash) {
    refuse("is damaged: its summary does not have its checksum");
  }
  offsets_.reserve(header->records + 1);
  for (std::size_t at = 0; at < index.size(); at += 8) offsets_.push_back(number_at(index, at, 8));
  const bool in_order = std::is_sorted(offsets_.begin(), offsets_.end());
  if (!in_order || offsets_.front() != header_bytes || offsets_.back() != data_end) {
    refuse("is damaged: its index is not in order");
  }
  std::optional<RecordSummary> summary = RecordSummary::from_json(text);
  if (!summary) refuse("is damaged: its summary cannot be read");
  summary_ = std::move(*summary);
}

StoredRecord RecordCache::read(std::int64_t record) const {
  CHECK(record >= 0);
  CHECK(record < records());
  const auto at = static_cast<std::size_t>(record);
  std::string bytes(offsets_[at + 1] - offsets_[at], '\0');
  const auto wanted = static_cast<std::int64_t>(bytes.size());
  const std::int64_t got = file_.read_at(static_cast<std::int64_t>(offsets_[at]), bytes.data(), wanted);
  std::optional<StoredRecord> stored;
  if (got == wanted) stored = unpack_record(bytes, vocabulary_);
  if (!stored) {
    throw Error(Exit::bad_data,
                fmt::format("{}: record {} was damaged while the file was in use", file_.path(), record),
                "start again: the file is made again");
  }
  return std::move(*stored);
}

}  // namespace nll
