// The names of kinds and faults, as configs, messages and caches spell them.
#include <array>
#include <utility>

#include "src/text/record.h"

namespace nll {
namespace {

constexpr std::array<std::pair<RecordKind, std::string_view>, 5> kinds = {{{RecordKind::supervised, "supervised"},
                                                                           {RecordKind::preference, "preference"},
                                                                           {RecordKind::unpaired, "unpaired"},
                                                                           {RecordKind::prompt_only, "prompt_only"},
                                                                           {RecordKind::contrastive, "contrastive"}}};
constexpr std::array<std::pair<FaultReason, std::string_view>, 10> reasons = {
    {{FaultReason::blank, "blank line"},
     {FaultReason::too_long, "line too long"},
     {FaultReason::not_utf8, "not UTF-8"},
     {FaultReason::nul_character, "NUL character"},
     {FaultReason::not_json, "not JSON"},
     {FaultReason::missing_field, "missing field"},
     {FaultReason::wrong_type, "wrong type"},
     {FaultReason::empty, "empty"},
     {FaultReason::unknown_role, "unknown role"},
     {FaultReason::wrong_turn, "wrong turn"}}};

template <class Table, class Value>
std::string_view name_in(const Table& table, Value value) {
  return table[static_cast<std::size_t>(value)].second;
}

template <class Value, class Table>
std::optional<Value> value_in(const Table& table, std::string_view name) {
  for (const auto& [value, spelled] : table) {
    if (spelled == name) return value;
  }
  return std::nullopt;
}

}  // namespace

std::string_view record_kind_name(RecordKind kind) { return name_in(kinds, kind); }
std::optional<RecordKind> record_kind_named(std::string_view name) { return value_in<RecordKind>(kinds, name); }
std::string_view fault_reason_name(FaultReason reason) { return name_in(reasons, reason); }
std::optional<FaultReason> fault_reason_named(std::string_view name) { return value_in<FaultReason>(reasons, name); }

}  // namespace nll
