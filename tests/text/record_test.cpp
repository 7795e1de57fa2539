#include "src/text/record.h"

#include <gtest/gtest.h>

#include "tests/text/temporary_folder.h"

namespace nll {
namespace {

Record only(std::string_view line, RecordKind kind) {
  std::vector<Record> records = parse_record(line, kind, "x.jsonl:1");
  EXPECT_EQ(records.size(), 1u);
  return std::move(records.front());
}

// A passage on one line: a string as it is, messages as role(content).
std::string flat(const Passage& passage) {
  std::string text = passage.text;
  for (const Message& message : passage.messages) {
    text += std::string(role_name(message.role)) + "(" + message.content + ")";
  }
  return text;
}

std::string flat(const Record& record) {
  std::string text = flat(record.prompt);
  for (const Passage& completion : record.completions) text += "|" + flat(completion);
  return text;
}

TEST(Record, TakesEverySupervisedForm) {
  const Record text = only(R"({"text": "a b", "id": 7})", RecordKind::supervised);
  EXPECT_EQ(text.form, Record::Form::whole);
  EXPECT_EQ(flat(text), "|a b");
  const Record pair = only(R"({"prompt": "", "completion": "z"})", RecordKind::supervised);
  EXPECT_EQ(pair.form, Record::Form::completions);
  EXPECT_EQ(flat(pair), "|z");
  const Record messages = only(R"({"messages": [{"role": "system", "content": ""}, {"role": "user", "content": "q"},
               {"role": "assistant", "content": "r"}, {"role": "tool", "content": "t"}], "prompt": "other"})",
                               RecordKind::supervised);
  EXPECT_EQ(messages.form, Record::Form::whole);
  EXPECT_EQ(flat(messages), "|system()user(q)assistant(r)tool(t)");
}

TEST(Record, TakesMessagesWhereverStringsAreTaken) {
  const std::string user = R"([{"role": "user", "content": "q"}])";
  const std::string yes = R"([{"role": "assistant", "content": "yes", "name": "x"}])";
  const std::string no = R"([{"role": "assistant", "content": "no"}])";
  const Record pair =
      only("{\"prompt\": " + user + ", \"chosen\": " + yes + ", \"rejected\": " + no + "}", RecordKind::preference);
  EXPECT_EQ(flat(pair), "user(q)|assistant(yes)|assistant(no)");
  const Record many =
      only("{\"prompt\": " + user + ", \"positive\": " + yes + ", \"negatives\": [" + no + ", " + yes + "]}",
           RecordKind::contrastive);
  EXPECT_EQ(flat(many), "user(q)|assistant(yes)|assistant(no)|assistant(yes)");
}

TEST(Record, KeepsMarginsLabelsAndColumns) {
  EXPECT_EQ(only(R"({"prompt": "p", "chosen": "c", "rejected": "r", "margin": 2})", RecordKind::preference).margin, 2);
  EXPECT_EQ(only(R"({"prompt": "p", "chosen": "c", "rejected": "r"})", RecordKind::preference).margin, 0);
  EXPECT_TRUE(only(R"({"prompt": "p", "completion": "c", "label": true})", RecordKind::unpaired).label);
  EXPECT_FALSE(only(R"({"prompt": "p", "completion": "c", "label": false})", RecordKind::unpaired).label);
  const Record prompt = only(R"({"prompt": "p", "answer": [1, 2.5, "\u00e9"]})", RecordKind::prompt_only);
  EXPECT_EQ(prompt.form, Record::Form::prompt);
  EXPECT_EQ(prompt.columns, "{\"answer\":[1,2.5,\"\xC3\xA9\"],\"prompt\":\"p\"}");
}

TEST(Record, TakesAPreferenceAsTwoUnpairedOnes) {
  const std::vector<Record> records =
      parse_record(R"({"prompt": "p", "chosen": "c", "rejected": "r"})", RecordKind::unpaired, "x.jsonl:1");
  ASSERT_EQ(records.size(), 2u);
  EXPECT_EQ(flat(records[0]), "p|c");
  EXPECT_TRUE(records[0].label);
  EXPECT_EQ(flat(records[1]), "p|r");
  EXPECT_FALSE(records[1].label);
}

TEST(Record, FindsThePromptThatBothSidesBeginWith) {
  const auto split = [](const std::string& chosen, const std::string& rejected) {
    return flat(only("{\"chosen\": " + chosen + ", \"rejected\": " + rejected + "}", RecordKind::preference));
  };
  EXPECT_EQ(split("\"Sky is blue.\"", "\"Sky is green.\""), "Sky is| blue.| green.");
  EXPECT_EQ(split("\"2+2=4\"", "\"2+2=5\""), "2+2=|4|5");
  EXPECT_EQ(split("\"x\"", "\"y\""), "|x|y");
  // Each side keeps a character.
  EXPECT_EQ(split("\"same\"", "\"same\""), "sam|e|e");
  EXPECT_EQ(split("\"one\"", "\"one two\""), "on|e|e two");
  // U+00E9 and U+00E8 share their first byte.
  EXPECT_EQ(split("\"a\\u00e9\"", "\"a\\u00e8\""), "a|\xC3\xA9|\xC3\xA8");
  const std::string user = R"({"role": "user", "content": "q"})";
  EXPECT_EQ(split("[" + user + R"(, {"role": "assistant", "content": "yes"}])",
                  "[" + user + R"(, {"role": "assistant", "content": "no"}])"),
            "user(q)|assistant(yes)|assistant(no)");
}

struct BadRecord {
  RecordKind kind;
  std::string line;
  FaultReason reason;
  std::string message;
};

TEST(Record, NamesFileLineAndFieldOfWhatIsWrong) {
  using enum RecordKind;
  using enum FaultReason;
  const std::vector<BadRecord> table = {
      {supervised, "{", not_json, "not JSON: wrong at byte 2"},
      {supervised, "{} {}", not_json, "not JSON: wrong at byte 4"},
      {supervised, R"({"text": "a", "text": "b"})", not_json, "key \"text\" is there twice"},
      {supervised, R"({"text": 'a'})", not_json, "not JSON: wrong at byte 10"},
      {supervised, R"({"text": "\ud83d"})", not_json, "not JSON: wrong at byte 17"},
      {supervised, R"({"text": "a", "n": 1e999})", not_json, "a number is out of range"},
      {supervised, std::string(40, '['), not_json, "nested more than 32 levels deep"},
      {supervised, "[1]", not_json, "is an array (expected an object)"},
      {supervised, "\"text\"", not_json, "is a string (expected an object)"},
      {supervised, "{\"text\": \"a\xFF\"}", not_utf8, "is not UTF-8: 0xFF at byte 11 of the line"},
      {supervised, "{\"text\": \"\xED\xA0\x80\"}", not_utf8, "is not UTF-8: 0xED at byte 10 of the line"},
      {supervised, std::string("{\"text\": \"\0\"}", 13), nul_character,
       "has a NUL byte at byte 10 of the line (expected text)"},
      {supervised, R"({"text": "ab\u0000"})", nul_character,
       "\"text\" has a NUL character at byte 2 (expected text without them)"},
      {supervised, "{}", missing_field,
       "has no \"messages\", no \"completion\" and no \"text\" (expected one of them)"},
      {supervised, R"({"prompt": "p"})", missing_field,
       "has no \"completion\" (expected a string or a list of messages)"},
      {supervised, R"({"completion": "p"})", missing_field,
       "has no \"prompt\" (expected a string or a list of messages)"},
      {supervised, R"({"text": 5})", wrong_type, "\"text\" is a number (expected a string)"},
      {supervised, R"({"text": ""})", empty, "\"text\" is empty (expected at least one character)"},
      {supervised, R"({"messages": "hello"})", wrong_type, "\"messages\" is a string (expected a list of messages)"},
      {supervised, R"({"messages": []})", empty, "\"messages\" is an empty list (expected at least one message)"},
      {supervised, R"({"messages": ["hello"]})", wrong_type,
       "\"messages\"[0] is a string (expected an object with \"role\" and \"content\")"},
      {supervised, R"({"messages": [{"role": "user"}]})", missing_field,
       "\"messages\"[0] has no \"content\" (expected a string)"},
      {supervised, R"({"messages": [{"role": "user", "content": null}]})", wrong_type,
       "\"messages\"[0].\"content\" is null (expected a string)"},
      {supervised, R"({"messages": [{"role": "user", "content": "q"}, {"role": "robot\n", "content": "a"}]})",
       unknown_role, "\"messages\"[1].\"role\" is \"robot\\n\" (expected system, user, assistant or tool)"},
      {supervised, R"({"messages": [{"role": "assistant", "content": ""}]})", empty,
       "\"messages\"[0].\"content\" is empty (expected at least one character)"},
      {supervised, R"({"prompt": null, "completion": "c"})", wrong_type,
       "\"prompt\" is null (expected a string or a list of messages)"},
      {supervised, R"({"prompt": "p", "completion": ""})", empty,
       "\"completion\" is empty (expected at least one character)"},
      {supervised, R"({"prompt": "p", "completion": [{"role": "assistant", "content": "a"}]})", wrong_type,
       "\"completion\" is a list of messages (expected a string, as \"prompt\" is)"},
      {supervised,
       R"({"prompt": [{"role": "user", "content": "q"}], "completion": [{"role": "user", "content": "a"}]})",
       wrong_turn, "\"completion\"[0].\"role\" is \"user\" (expected a completion to begin with \"assistant\")"},
      {preference, R"({"prompt": "p", "chosen": "c"})", missing_field,
       "has no \"rejected\" (expected a string or a list of messages)"},
      {preference, R"({"prompt": "p", "chosen": "c", "rejected": ""})", empty,
       "\"rejected\" is empty (expected at least one character)"},
      {preference, R"({"chosen": "c", "rejected": ""})", empty,
       "\"rejected\" is empty (expected at least one character)"},
      {preference, R"({"chosen": "c", "rejected": [{"role": "assistant", "content": "a"}]})", wrong_type,
       "\"rejected\" is a list of messages (expected a string, as \"chosen\" is)"},
      {preference, R"({"prompt": "p", "chosen": "c", "rejected": "r", "margin": "1"})", wrong_type,
       "\"margin\" is a string (expected a number)"},
      {unpaired, R"({"prompt": "p", "completion": "c"})", missing_field, "has no \"label\" (expected true or false)"},
      {unpaired, R"({"prompt": "p", "completion": "c", "label": 1})", wrong_type,
       "\"label\" is a number (expected true or false)"},
      {prompt_only, R"({"question": "p"})", missing_field,
       "has no \"prompt\" (expected a string or a list of messages)"},
      {contrastive, R"({"prompt": "p", "positive": "c"})", missing_field,
       "has no \"negatives\" (expected a list of completions)"},
      {contrastive, R"({"prompt": "p", "positive": "c", "negatives": "n"})", wrong_type,
       "\"negatives\" is a string (expected a list of completions)"},
      {contrastive, R"({"prompt": "p", "positive": "c", "negatives": []})", empty,
       "\"negatives\" is an empty list (expected at least one completion)"},
      {contrastive, R"({"prompt": "p", "positive": "c", "negatives": ["n", ""]})", empty,
       "\"negatives\"[1] is empty (expected at least one character)"},
  };
  for (const BadRecord& bad : table) {
    EXPECT_EQ(error_of([&] { parse_record(bad.line, bad.kind, "x.jsonl:9"); }), "4: x.jsonl:9: " + bad.message)
        << bad.line;
    try {
      parse_record(bad.line, bad.kind, "x.jsonl:9");
    } catch (const RecordFault& fault) {
      EXPECT_EQ(fault.reason(), bad.reason) << bad.line;
    }
  }
}

TEST(Record, KindsRolesAndReasonsAreReadByTheNamesTheyAreWrittenWith) {
  for (const char* name : {"supervised", "preference", "unpaired", "prompt_only", "contrastive"}) {
    ASSERT_TRUE(record_kind_named(name));
    EXPECT_EQ(record_kind_name(*record_kind_named(name)), name);
  }
  for (const char* name : {"system", "user", "assistant", "tool"}) {
    ASSERT_TRUE(role_named(name));
    EXPECT_EQ(role_name(*role_named(name)), name);
  }
  for (const char* name : {"blank line", "line too long", "not UTF-8", "NUL character", "not JSON", "missing field",
                           "wrong type", "empty", "unknown role", "wrong turn"}) {
    ASSERT_TRUE(fault_reason_named(name));
    EXPECT_EQ(fault_reason_name(*fault_reason_named(name)), name);
  }
  EXPECT_FALSE(record_kind_named("language"));
  EXPECT_FALSE(role_named("User"));
  EXPECT_FALSE(fault_reason_named(""));
}

}  // namespace
}  // namespace nll
