// One record of a .jsonl file for an objective of records, with the field names of Hugging Face TRL: docs/records.md.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/check.h"
#include "src/text/chat_markers.h"

namespace nll {

enum class RecordKind {
  supervised,   // {"messages"}, {"prompt", "completion"} or {"text"}: the first of these that is there
  preference,   // {"prompt", "chosen", "rejected"}, "margin" if wanted; without "prompt" it is what both begin with
  unpaired,     // {"prompt", "completion", "label"}; a preference record is taken as two of these
  prompt_only,  // {"prompt"} and any other columns, which are kept for rules of reward
  contrastive   // {"prompt", "positive", "negatives"}
};
std::string_view record_kind_name(RecordKind kind);
std::optional<RecordKind> record_kind_named(std::string_view name);

struct Message {
  Role role = Role::user;
  std::string content;
};

// A string, or a list of messages.
struct Passage {
  std::string text;
  std::vector<Message> messages;
  bool conversation = false;
};

struct Record {
  enum class Form {
    whole,        // completions[0] is all there is, and it has no prompt
    completions,  // by SequenceInfo::role
    prompt        // no completions
  };
  Form form = Form::completions;
  Passage prompt;
  std::vector<Passage> completions;
  bool label = true;
  double margin = 0;
  std::string columns;  // prompt_only: the whole object as JSON
};

// Why a line is no record.
enum class FaultReason {
  blank,
  too_long,
  not_utf8,
  nul_character,
  not_json,
  missing_field,
  wrong_type,
  empty,
  unknown_role,
  wrong_turn
};
std::string_view fault_reason_name(FaultReason reason);
std::optional<FaultReason> fault_reason_named(std::string_view name);

// Error(bad_data): "<file>:<line>: <field> <what was found> (<what was expected>)".
class RecordFault : public Error {
 public:
  RecordFault(FaultReason reason, const std::string& message) : Error(Exit::bad_data, message), reason_(reason) {}
  FaultReason reason() const { return reason_; }

 private:
  FaultReason reason_;
};

// The record on a line: one, or two where a preference record is asked for as unpaired. Throws RecordFault, led by
// `place`.
std::vector<Record> parse_record(std::string_view line, RecordKind kind, const std::string& place);

}  // namespace nll
