// Input: a line with a record, after a byte that chooses its kind and the settings, with bit 4 a .jsonl file of such
// lines; with its top bit set, the bytes of a record in a cache.
// Claim: every line is refused with a fault, or becomes sequences whose ids, lengths and masks agree and which a cache
// gives back; bytes of a cache are refused, or are such sequences too.
#include <xxhash.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "src/text/line_reader.h"
#include "src/text/record_cache_bytes.h"
#include "src/text/record_encoder.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/scratch_folder.h"

namespace {

using namespace nll;

const Tokenizer& tokenizer() {
  static const std::string_view text = "the users and the assistants answer the questions that others ask";
  static const Tokenizer trained = Tokenizer::train({&text, 1}, 270, 1);
  return trained;
}

void check_sequence(const EncodedSequence& sequence, std::int64_t max_length) {
  const auto tokens = static_cast<std::int64_t>(sequence.tokens.size());
  fuzz::require(tokens >= 1 && tokens <= max_length, "a sequence has the length that is allowed");
  fuzz::require(sequence.prompt_tokens >= 1 && sequence.prompt_tokens <= tokens, "a prompt is inside its sequence");
  for (const std::int32_t id : sequence.tokens) {
    fuzz::require(id >= 0 && id < tokenizer().vocabulary(), "an id is in the vocabulary");
  }
  std::int64_t at = sequence.prompt_tokens;
  for (const TokenSpan& span : sequence.trained) {
    fuzz::require(span.begin >= at && span.begin < span.end && span.end <= tokens, "masks are in order");
    at = span.end;
  }
}

void check_record(const EncodedRecord& record, RecordKind kind, std::int64_t max_length) {
  fuzz::require((record.fate == EncodedRecord::Fate::kept) == !record.sequences.empty(), "dropped records are empty");
  if (record.sequences.empty()) return;
  for (const EncodedSequence& sequence : record.sequences) {
    check_sequence(sequence, max_length);
    fuzz::require(sequence.trained.empty() == (kind == RecordKind::prompt_only), "what is kept is to be predicted");
  }
  const std::string bytes = pack_record(record, 1, 2);
  const std::optional<StoredRecord> stored = unpack_record(bytes, tokenizer().vocabulary());
  fuzz::require(stored.has_value(), "a record that was packed is unpacked");
  fuzz::require(stored->file == 1 && stored->line == 2 && stored->label == record.label, "a cache keeps what it is of");
  fuzz::require(stored->columns == record.columns, "a cache keeps columns");
  fuzz::require(stored->sequences.size() == record.sequences.size(), "a cache keeps sequences");
  for (std::size_t i = 0; i < stored->sequences.size(); ++i) {
    const EncodedSequence &left = stored->sequences[i], &right = record.sequences[i];
    fuzz::require(left.tokens == right.tokens && left.trained == right.trained, "a cache keeps tokens and masks");
  }
}

constexpr std::int64_t longest_line = 1024, max_length = 64;

struct Settings {
  RecordKind kind;
  RecordEncoder encoder;
  explicit Settings(std::uint8_t choice)
      : kind(static_cast<RecordKind>(choice % 5)),
        encoder(tokenizer(), markers((choice & 0x20) != 0), max_length,
                (choice & 0x40) != 0 ? LongRecords::drop : LongRecords::cut) {}
  static ChatMarkers markers(bool assistant_only) {
    ChatMarkers made;
    made.assistant_only = assistant_only;
    return made;
  }
};

void check_line(std::string_view line, const Settings& settings) {
  fuzz::takes_or_refuses({Exit::bad_data}, [&] {
    for (const Record& record : parse_record(line, settings.kind, "records.jsonl:1")) {
      check_record(settings.encoder.encode(record), settings.kind, max_length);
    }
  });
}

void check_file(std::string_view text, const Settings& settings) {
  static const fuzz::ScratchFolder folder;
  const std::string path = folder.write("records.jsonl", text);
  fuzz::takes_or_refuses({Exit::bad_data}, [&] {
    LineReader reader(path, longest_line);
    std::int64_t number = 0;
    while (const std::optional<Line> line = reader.next()) {
      fuzz::require(line->number == ++number, "lines are counted");
      fuzz::require(line->text.size() <= static_cast<std::size_t>(longest_line), "no line is longer than allowed");
      fuzz::require(line->too_long == (line->bytes > longest_line), "a line that is too long is marked");
      check_line(line->text, settings);
    }
    fuzz::require(reader.hash() == hash_of_file(path), "what was read is the file");
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input = fuzz::text_of(data + 1, size - 1);
  if ((data[0] & 0x80) == 0) {
    const Settings settings(data[0]);
    // Writing a file takes far longer than all the rest.
    if ((data[0] & 0x10) != 0) {
      check_file(input, settings);
    } else {
      check_line(input, settings);
    }
    return 0;
  }
  // With the hash that it should have, so that what is behind the hash is tried.
  std::string bytes;
  put_number(bytes, XXH3_64bits(input.data(), input.size()), 8);
  bytes += input;
  if (const std::optional<StoredRecord> stored = unpack_record(bytes, tokenizer().vocabulary())) {
    for (const EncodedSequence& sequence : stored->sequences) {
      check_sequence(sequence, static_cast<std::int64_t>(size));
    }
  }
  return 0;
}
