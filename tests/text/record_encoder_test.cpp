#include "src/text/record_encoder.h"

#include <gtest/gtest.h>

#include "tests/text/byte_tokenizer.h"

namespace nll {
namespace {

using Spans = std::vector<TokenSpan>;

// Markers of one character, so that a sequence can be read.
ChatMarkers short_markers(bool assistant_only = false) {
  return {{"S", ";"}, {"U", ";"}, {"A", "<|im_end|>"}, {"T", ";"}, assistant_only};
}

struct Encoding {
  RecordKind kind = RecordKind::supervised;
  ChatMarkers markers = short_markers();
  std::int64_t max_length = 1000;
  LongRecords long_records = LongRecords::cut;
  bool special = true;
};

EncodedRecord encode(const std::string& line, const Encoding& how = {}) {
  const Tokenizer tokenizer = byte_tokenizer(how.special);
  const RecordEncoder encoder(tokenizer, how.markers, how.max_length, how.long_records);
  return encoder.encode(parse_record(line, how.kind, "x.jsonl:1").front());
}

EncodedSequence only(const EncodedRecord& record) {
  EXPECT_EQ(record.fate, EncodedRecord::Fate::kept);
  EXPECT_EQ(record.sequences.size(), 1u);
  return record.sequences.empty() ? EncodedSequence{} : record.sequences.front();
}

TEST(RecordEncoder, PutsPromptAndCompletionTogetherAndEndsTheText) {
  const EncodedSequence sequence = only(encode(R"({"prompt": "ask", "completion": " yes"})"));
  EXPECT_EQ(sequence.tokens, joined({bytes_of("ask yes"), {end_of_text}}));
  EXPECT_EQ(sequence.prompt_tokens, 3);
  EXPECT_EQ(sequence.trained, (Spans{{3, 8}}));
  EXPECT_FALSE(sequence.truncated);
}

TEST(RecordEncoder, MergesNothingAcrossTheEndOfThePrompt) {
  EXPECT_EQ(only(encode(R"({"prompt": "ab", "completion": "ab"})")).tokens, (Ids{ab, ab, end_of_text}));
  const EncodedSequence sequence = only(encode(R"({"prompt": "a", "completion": "b"})"));
  EXPECT_EQ(sequence.tokens, (Ids{'a', 'b', end_of_text}));
  EXPECT_EQ(sequence.prompt_tokens, 1);
}

TEST(RecordEncoder, BeginsWithTheEndOfTextWhereThereIsNoPrompt) {
  const EncodedSequence empty = only(encode(R"({"prompt": "", "completion": "x"})"));
  EXPECT_EQ(empty.tokens, (Ids{end_of_text, 'x', end_of_text}));
  EXPECT_EQ(empty.prompt_tokens, 1);
  EXPECT_EQ(empty.trained, (Spans{{1, 3}}));
  const EncodedSequence text = only(encode(R"({"text": "xy"})"));
  EXPECT_EQ(text.tokens, (Ids{end_of_text, 'x', 'y', end_of_text}));
  EXPECT_EQ(text.prompt_tokens, 1);
  EXPECT_EQ(text.trained, (Spans{{1, 4}}));
}

TEST(RecordEncoder, DoesWithoutAnEndOfTextWhereTheTokenizerHasNone) {
  Encoding plain;
  plain.special = false;
  const EncodedSequence sequence = only(encode(R"({"prompt": "p", "completion": "xy"})", plain));
  EXPECT_EQ(sequence.tokens, bytes_of("pxy"));
  EXPECT_EQ(sequence.trained, (Spans{{1, 3}}));
  // The first token has nothing before it that could predict it.
  const EncodedSequence text = only(encode(R"({"text": "xyz"})", plain));
  EXPECT_EQ(text.tokens, bytes_of("xyz"));
  EXPECT_EQ(text.prompt_tokens, 1);
  EXPECT_EQ(text.trained, (Spans{{1, 3}}));
  EXPECT_EQ(encode(R"({"text": "x"})", plain).fate, EncodedRecord::Fate::nothing_left);
  plain.markers = {{"", ""}, {"", ""}, {"", "<|im_end|>"}, {"", ""}, false};
  const EncodedSequence chat =
      only(encode(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]})", plain));
  EXPECT_EQ(chat.tokens, bytes_of("qr<|im_end|>"));
}

TEST(RecordEncoder, TakesTheNameOfTheEndOfTextAtTheEndOfACompletionForTheToken) {
  EXPECT_EQ(only(encode(R"({"prompt": "p", "completion": "x<|endoftext|>"})")).tokens, (Ids{'p', 'x', end_of_text}));
  // Anywhere else it is text.
  const EncodedSequence inside = only(encode(R"({"prompt": "<|endoftext|>", "completion": "<|im_end|>x"})"));
  EXPECT_EQ(inside.tokens, joined({bytes_of("<|endoftext|><|im_end|>x"), {end_of_text}}));
}

const std::string chat = R"([{"role": "system", "content": "s"}, {"role": "user", "content": "<|im_end|>"},
  {"role": "assistant", "content": "xy"}, {"role": "user", "content": "q"}, {"role": "assistant", "content": "z"}])";

TEST(RecordEncoder, PutsMarkersAroundTurns) {
  const EncodedSequence sequence = only(encode("{\"messages\": " + chat + "}"));
  EXPECT_EQ(sequence.tokens,
            joined({bytes_of("Ss;U<|im_end|>;Axy"), {end_turn}, bytes_of("Uq;Az"), {end_turn, end_of_text}}));
  EXPECT_EQ(sequence.prompt_tokens, 1);
  EXPECT_EQ(sequence.trained, (Spans{{1, 26}}));
}

TEST(RecordEncoder, TrainsOnAssistantTurnsAndTheirEndsAlone) {
  Encoding how;
  how.markers = short_markers(true);
  const EncodedSequence sequence = only(encode("{\"messages\": " + chat + "}", how));
  ASSERT_EQ(sequence.tokens.size(), 26u);
  // "xy" and its end; "z", its end and the end of the text.
  EXPECT_EQ(sequence.trained, (Spans{{16, 19}, {23, 26}}));
  EXPECT_EQ(sequence.prompt_tokens, 16);
  EXPECT_EQ(sequence.tokens[18], end_turn);
  // Another's last word is not the assistant's, and neither is the end after it.
  const EncodedSequence open = only(encode(R"({"messages": [{"role": "user", "content": "q"},
    {"role": "assistant", "content": "z"}, {"role": "tool", "content": "t"}]})",
                                           how));
  EXPECT_EQ(open.tokens, joined({bytes_of("Uq;Az"), {end_turn}, bytes_of("Tt;"), {end_of_text}}));
  EXPECT_EQ(open.trained, (Spans{{4, 6}}));
  EXPECT_EQ(encode(R"({"messages": [{"role": "user", "content": "q"}]})", how).fate, EncodedRecord::Fate::nothing_left);
}

TEST(RecordEncoder, EndsAConversationsPromptWithTheAssistantsPrefix) {
  Encoding how;
  how.kind = RecordKind::preference;
  const std::string line = R"({"prompt": [{"role": "user", "content": "q"}],
    "chosen": [{"role": "assistant", "content": "yes"}],
    "rejected": [{"role": "assistant", "content": "n"}, {"role": "user", "content": "?"},
                 {"role": "assistant", "content": "o"}]})";
  const EncodedRecord record = encode(line, how);
  ASSERT_EQ(record.sequences.size(), 2u);
  EXPECT_EQ(record.sequences[0].tokens, joined({bytes_of("Uq;Ayes"), {end_turn, end_of_text}}));
  EXPECT_EQ(record.sequences[0].prompt_tokens, 4);
  EXPECT_EQ(record.sequences[1].tokens,
            joined({bytes_of("Uq;An"), {end_turn}, bytes_of("U?;Ao"), {end_turn, end_of_text}}));
  EXPECT_EQ(record.sequences[1].trained, (Spans{{4, 13}}));
  how.markers.assistant_only = true;
  EXPECT_EQ(encode(line, how).sequences[1].trained, (Spans{{4, 6}, {10, 13}}));
}

TEST(RecordEncoder, GoesOnWithWhatTheAssistantBeganInThePrompt) {
  const EncodedSequence sequence = only(encode(R"({"prompt": [{"role": "user", "content": "q"},
    {"role": "assistant", "content": "be"}], "completion": [{"role": "assistant", "content": "gun"}]})"));
  EXPECT_EQ(sequence.tokens, joined({bytes_of("Uq;Abegun"), {end_turn, end_of_text}}));
  EXPECT_EQ(sequence.prompt_tokens, 6);
}

TEST(RecordEncoder, LeavesOneEndWhereTheAssistantsSuffixIsTheEndOfText) {
  Encoding how;
  how.markers = ChatMarkers{};
  const EncodedSequence sequence =
      only(encode(R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]})", how));
  EXPECT_EQ(sequence.tokens, joined({bytes_of("<|user|>\nq\n<|assistant|>\nr"), {end_of_text}}));
}

TEST(RecordEncoder, EncodesPromptsAsGenerationContinuesThem) {
  Encoding how;
  how.kind = RecordKind::prompt_only;
  const EncodedSequence chat_prompt = only(encode(R"({"prompt": [{"role": "user", "content": "q"}]})", how));
  EXPECT_EQ(chat_prompt.tokens, bytes_of("Uq;A"));
  EXPECT_EQ(chat_prompt.prompt_tokens, 4);
  EXPECT_TRUE(chat_prompt.trained.empty());
  EXPECT_EQ(only(encode(R"({"prompt": ""})", how)).tokens, (Ids{end_of_text}));
  how.max_length = 3;
  EXPECT_EQ(only(encode(R"({"prompt": "123"})", how)).tokens, bytes_of("123"));
  EXPECT_EQ(encode(R"({"prompt": "1234"})", how).fate, EncodedRecord::Fate::too_long);
}

// Every length from the shortest allowed to beyond the sequence: prompt 4, completion 3 and 6, with their ends.
TEST(RecordEncoder, CutsEachSequenceAtItsEndAndDropsRecordsOfWhichASideIsGone) {
  Encoding how;
  how.kind = RecordKind::preference;
  const std::string line = R"({"prompt": "1234", "chosen": "567", "rejected": "abcdef"})";
  const std::vector<Ids> whole = {joined({bytes_of("1234567"), {end_of_text}}),
                                  joined({bytes_of("1234"), {ab}, bytes_of("cdef"), {end_of_text}})};
  for (std::int64_t length = 2; length <= 12; ++length) {
    how.max_length = length;
    const EncodedRecord record = encode(line, how);
    if (length <= 4) {
      EXPECT_EQ(record.fate, EncodedRecord::Fate::nothing_left) << length;
      EXPECT_TRUE(record.sequences.empty());
      continue;
    }
    ASSERT_EQ(record.sequences.size(), 2u) << length;
    for (std::size_t side = 0; side < 2; ++side) {
      const EncodedSequence& sequence = record.sequences[side];
      const std::size_t kept = std::min(static_cast<std::size_t>(length), whole[side].size());
      EXPECT_EQ(sequence.tokens, Ids(whole[side].begin(), whole[side].begin() + static_cast<std::ptrdiff_t>(kept)));
      EXPECT_EQ(sequence.prompt_tokens, 4);
      EXPECT_EQ(sequence.trained, (Spans{{4, static_cast<std::int32_t>(kept)}}));
      EXPECT_EQ(sequence.truncated, kept < whole[side].size());
    }
  }
}

TEST(RecordEncoder, CutsMasksWithTheTokens) {
  Encoding how;
  how.markers = short_markers(true);
  for (std::int64_t length = 2; length <= 27; ++length) {
    how.max_length = length;
    const EncodedRecord record = encode("{\"messages\": " + chat + "}", how);
    if (length <= 16) {
      EXPECT_EQ(record.fate, EncodedRecord::Fate::nothing_left) << length;
      continue;
    }
    const auto end = static_cast<std::int32_t>(std::min<std::int64_t>(length, 26));
    Spans expected{{16, std::min(19, end)}};
    if (end > 23) expected.push_back({23, end});
    EXPECT_EQ(only(record).trained, expected) << length;
  }
}

TEST(RecordEncoder, DropsLongRecordsWholeWhereThatIsAskedFor) {
  Encoding how;
  how.kind = RecordKind::preference;
  how.long_records = LongRecords::drop;
  const std::string line = R"({"prompt": "12", "chosen": "3", "rejected": "4567"})";
  how.max_length = 7;
  EXPECT_EQ(encode(line, how).fate, EncodedRecord::Fate::kept);
  how.max_length = 6;
  EXPECT_EQ(encode(line, how).fate, EncodedRecord::Fate::too_long);
}

}  // namespace
}  // namespace nll
