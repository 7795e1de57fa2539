#include "src/text/corpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/check.h"
#include "src/text/documents.h"
#include "src/text/output_folder.h"
#include "src/text/shard_series.h"
#include "src/text/thread_team.h"
#include "src/text/tokenizer.h"
#include "src/text/validation_cut.h"

namespace nll {
namespace {

constexpr std::int64_t batch_bytes = std::int64_t{16} << 20;

void check_options(const CorpusOptions& options) {
  const auto refuse = [](const std::string& what) { throw Error(Exit::usage, what); };
  if (options.inputs.empty()) refuse("no input text is named (expected files, folders or globs)");
  if (options.tokenizer.empty() == (options.vocabulary == 0)) {
    refuse("either a vocabulary size or a tokenizer is needed, and not both");
  }
  if (!(options.validation_fraction >= 0 && options.validation_fraction < 1)) {
    refuse(fmt::format("validation fraction {} (expected at least 0 and below 1)", options.validation_fraction));
  }
  if (options.shard_tokens < 1) refuse(fmt::format("shards of {} tokens (expected at least 1)", options.shard_tokens));
  if (options.training_bytes < 1) {
    refuse(fmt::format("{} bytes to train the tokenizer on (expected at least 1)", options.training_bytes));
  }
  if (options.threads < 1) refuse(fmt::format("{} threads (expected at least 1)", options.threads));
  OutputFolder::check(options.output);
}

// Reports progress of one phase, or does nothing.
Progress phase_of(const CorpusProgress& progress, std::string_view phase) {
  if (!progress) return {};
  return [&progress, phase](std::int64_t done, std::int64_t total) { progress(phase, done, total); };
}

// Learns from the training part only, so that nothing about the validation text leaks into what is measured on it.
Tokenizer train_tokenizer(const std::vector<std::string>& paths, std::int64_t cut, const CorpusOptions& options,
                          const CorpusProgress& progress) {
  DocumentReader reader(paths, cut);
  const std::int64_t readable = cut < 0 ? reader.input_bytes() : cut;
  const double share = std::min(1.0, static_cast<double>(options.training_bytes) / static_cast<double>(readable));
  const Progress reading = phase_of(progress, "reading");
  std::vector<std::string> texts;
  double wanted = 0;
  std::int64_t kept = 0;
  while (std::optional<DocumentPart> part = reader.next()) {
    if (cut >= 0 && part->input_offset >= cut) break;
    wanted += share * static_cast<double>(part->text.size());
    if (reading) reading(reader.bytes_read(), readable);
    if (static_cast<double>(kept) >= wanted) continue;
    kept += static_cast<std::int64_t>(part->text.size());
    texts.push_back(std::move(part->text));
  }
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  return Tokenizer::train(views, options.vocabulary, options.threads, phase_of(progress, "training the tokenizer"));
}

// The parts of documents that are tokenized at a time, all of one split.
struct PartBatch {
  std::vector<DocumentPart> parts;
  std::int64_t bytes = 0;
  bool validation = false;
};

class CorpusWriter {
 public:
  CorpusWriter(const Tokenizer& tokenizer, const std::string& folder, const CorpusOptions& options)
      : tokenizer_(tokenizer),
        threads_(options.threads),
        train_(folder, "train", tokenizer, options.shard_tokens),
        validation_(folder, "validation", tokenizer, options.shard_tokens) {}

  void write(const PartBatch& batch, const std::function<void(std::int64_t bytes)>& report) {
    std::vector<std::vector<std::int32_t>> ids(batch.parts.size());
    if (batch.parts.size() == 1) {
      ids[0] = tokenizer_.encode(batch.parts[0].text, threads_, [&](std::int64_t done, std::int64_t) { report(done); });
    } else {
      for_each_item(batch.parts.size(), threads_,
                    [&](std::size_t, std::size_t part) { ids[part] = tokenizer_.encode(batch.parts[part].text); });
    }
    ShardSeries& series = batch.validation ? validation_ : train_;
    std::int64_t& documents = batch.validation ? summary_.validation.documents : summary_.train.documents;
    const std::int32_t end_of_text = tokenizer_.end_of_text();
    for (std::size_t part = 0; part < ids.size(); ++part) {
      if (batch.parts[part].begins_document) {
        ++documents;
        if (end_of_text >= 0) series.append({&end_of_text, 1});
      }
      series.append(ids[part]);
    }
  }

  CorpusSummary finish() {
    for (auto [split, series] : {std::pair(&summary_.train, &train_), std::pair(&summary_.validation, &validation_)}) {
      series->finish();
      split->bytes = series->text_bytes();
      split->characters = series->text_characters();
      split->tokens = series->tokens();
      split->shards = series->shards();
    }
    summary_.vocabulary = tokenizer_.vocabulary();
    summary_.tokenizer_hash = tokenizer_.hash();
    return summary_;
  }

 private:
  const Tokenizer& tokenizer_;
  int threads_;
  ShardSeries train_, validation_;
  CorpusSummary summary_;
};

CorpusSummary write_shards(const std::vector<std::string>& paths, std::int64_t cut, const Tokenizer& tokenizer,
                           const std::string& folder, const CorpusOptions& options, const CorpusProgress& progress) {
  const Progress tokenizing = phase_of(progress, "tokenizing");
  CorpusWriter writer(tokenizer, folder, options);
  DocumentReader reader(paths, cut);
  std::int64_t written = 0;  // input bytes before the batch
  PartBatch batch;
  const auto flush = [&](std::int64_t read) {
    if (batch.parts.empty()) return;
    writer.write(batch, [&](std::int64_t bytes) {
      if (tokenizing) tokenizing(std::min(written + bytes, read), reader.input_bytes());
    });
    written = read;
    if (tokenizing) tokenizing(written, reader.input_bytes());
    batch = PartBatch{};
  };
  while (std::optional<DocumentPart> part = reader.next()) {
    const bool validation = cut >= 0 && part->input_offset >= cut;
    const auto bytes = static_cast<std::int64_t>(part->text.size());
    if (batch.validation != validation || batch.bytes + bytes > batch_bytes) flush(part->input_offset);
    batch.validation = validation;
    batch.bytes += bytes;
    batch.parts.push_back(std::move(*part));
  }
  flush(reader.input_bytes());
  return writer.finish();
}

}  // namespace

double CorpusSummary::bytes_per_token() const {
  const std::int64_t tokens = train.tokens + validation.tokens;
  return tokens == 0 ? 0.0 : static_cast<double>(train.bytes + validation.bytes) / static_cast<double>(tokens);
}

CorpusSummary tokenize_corpus(const CorpusOptions& options, const CorpusProgress& progress) {
  check_options(options);
  const std::vector<std::string> paths = find_text_files(options.inputs);
  if (DocumentReader(paths).input_bytes() == 0)
    throw Error(Exit::bad_data, paths.front() + ": is empty (expected text)");
  const std::int64_t cut =
      options.validation_fraction > 0 ? find_validation_cut(paths, options.validation_fraction) : std::int64_t{-1};
  const Tokenizer tokenizer =
      options.tokenizer.empty() ? train_tokenizer(paths, cut, options, progress) : Tokenizer::load(options.tokenizer);
  OutputFolder folder(options.output);
  tokenizer.save(folder.temporary() + "/tokenizer.json");
  const CorpusSummary summary = write_shards(paths, cut, tokenizer, folder.temporary(), options, progress);
  folder.publish();
  return summary;
}

}  // namespace nll
