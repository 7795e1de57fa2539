// The rules of reward that look at one text: docs/rewards.md.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "src/rewards/pattern.h"
#include "src/rewards/rewards.h"

namespace nll {

// Without the white space (ASCII) around it.
std::string_view trimmed(std::string_view text);
// What stands between white space.
std::vector<std::string_view> words_of(std::string_view text);

// Equal without the blanks around them; two decimal numbers are equal where their values are ("4", "4.0", "1,000").
bool same_answer(std::string_view a, std::string_view b);
// 1 where the answer in the completion is `right`, else 0.
double exact_answer_reward(std::string_view completion, std::string_view right,
                           const std::optional<Pattern>& answer_pattern);
// 1 - |tokens - target| / target, at least 0.
double length_reward(std::int64_t tokens, std::int64_t target);
// Minus the share of 4-grams of words that occurred before; 0 where there are fewer than four words.
double repetition_reward(std::string_view completion);
// F1 of the longest common subsequence of words (ROUGE-L, Lin 2004), words in ASCII lower case; 0 without words.
double overlap_reward(std::string_view completion, std::string_view right);

// A field of the record's JSON as text: a string, a number or a boolean. Throws Error(bad_data) with request.place.
std::string record_field(const RewardRequest& request, const std::string& field);
// That field, or the record's own completion where it has no columns.
std::string right_answer(const RewardRequest& request, const std::string& field);

}  // namespace nll
