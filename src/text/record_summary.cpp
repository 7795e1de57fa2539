#include "src/text/record_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

namespace nll {
namespace {

using Count = std::int64_t RecordSummary::*;

constexpr std::array<std::pair<const char*, Count>, 11> counts = {{{"lines", &RecordSummary::lines},
                                                                   {"skipped", &RecordSummary::skipped},
                                                                   {"nothing_left", &RecordSummary::nothing_left},
                                                                   {"too_long", &RecordSummary::too_long},
                                                                   {"records", &RecordSummary::records},
                                                                   {"sequences", &RecordSummary::sequences},
                                                                   {"truncated", &RecordSummary::truncated},
                                                                   {"tokens", &RecordSummary::tokens},
                                                                   {"trained_tokens", &RecordSummary::trained_tokens},
                                                                   {"longest", &RecordSummary::longest},
                                                                   {"widest", &RecordSummary::widest}}};

}  // namespace

void RecordSummary::add(const EncodedRecord& record) {
  if (record.fate == EncodedRecord::Fate::nothing_left) ++nothing_left;
  if (record.fate == EncodedRecord::Fate::too_long) ++too_long;
  if (record.fate != EncodedRecord::Fate::kept) return;
  ++records;
  widest = std::max(widest, static_cast<std::int64_t>(record.sequences.size()));
  for (const EncodedSequence& sequence : record.sequences) {
    const auto length = static_cast<std::int64_t>(sequence.tokens.size());
    ++sequences;
    tokens += length;
    longest = std::max(longest, length);
    truncated += sequence.truncated ? 1 : 0;
    for (const TokenSpan& span : sequence.trained) trained_tokens += span.end - span.begin;
  }
}

void RecordSummary::add(const RecordFault& fault) {
  ++skipped;
  auto found = std::find_if(faults.begin(), faults.end(),
                            [&](const FaultCount& known) { return known.reason == fault.reason(); });
  if (found == faults.end()) found = faults.insert(faults.end(), FaultCount{fault.reason(), 0, {}});
  if (++found->count <= static_cast<std::int64_t>(FaultCount::most_examples)) found->examples.push_back(fault.what());
}

std::string RecordSummary::text() const {
  const auto counted = [](std::int64_t count, const char* what) {
    return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
  };
  std::string said = counted(records, "record") + " of " + counted(lines, "line");
  std::string reasons;
  for (const FaultCount& fault : faults) {
    reasons += fmt::format("{}{} {}", reasons.empty() ? "" : ", ", fault_reason_name(fault.reason), fault.count);
  }
  if (skipped > 0) said += fmt::format("; {} skipped ({})", counted(skipped, "line"), reasons);
  if (too_long > 0) said += "; " + counted(too_long, "record") + " dropped as too long";
  if (nothing_left > 0) said += "; " + counted(nothing_left, "record") + " dropped as nothing of a completion was left";
  if (truncated > 0) said += fmt::format("; {} of {} cut", truncated, counted(sequences, "sequence"));
  return said;
}

std::string RecordSummary::json() const {
  nlohmann::json object;
  for (const auto& [name, member] : counts) object[name] = this->*member;
  object["faults"] = nlohmann::json::array();
  for (const FaultCount& fault : faults) {
    object["faults"].push_back(
        {{"reason", fault_reason_name(fault.reason)}, {"count", fault.count}, {"examples", fault.examples}});
  }
  return object.dump();
}

std::optional<RecordSummary> RecordSummary::from_json(std::string_view text) {
  RecordSummary summary;
  try {
    const nlohmann::json object = nlohmann::json::parse(text);
    for (const auto& [name, member] : counts) summary.*member = object.at(name).get<std::int64_t>();
    for (const nlohmann::json& fault : object.at("faults")) {
      const auto reason = fault_reason_named(fault.at("reason").get<std::string>());
      if (!reason) return std::nullopt;
      summary.faults.push_back(
          {*reason, fault.at("count").get<std::int64_t>(), fault.at("examples").get<std::vector<std::string>>()});
    }
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
  return summary;
}

}  // namespace nll
