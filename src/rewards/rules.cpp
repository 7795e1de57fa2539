#include "src/rewards/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/check.h"

namespace nll {
namespace {

constexpr std::string_view blanks = " \t\n\r\f\v";
constexpr std::size_t ngram = 4;  // words that count as repeated when they occur in the same order again

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Without the commas that part thousands ("1,234,567"); as it is where they do not.
std::string without_thousands(std::string_view text) {
  std::size_t at = text.find_first_of("0123456789");
  std::string plain(text.substr(0, std::min(at, text.size())));
  if (at == std::string_view::npos) return plain;
  for (std::size_t leading = 0; at < text.size() && is_digit(text[at]); ++at, ++leading) plain.push_back(text[at]);
  while (at < text.size() && text[at] == ',') {
    const std::string_view three = text.substr(at + 1, 3);
    const bool whole = three.size() == 3 && std::all_of(three.begin(), three.end(), is_digit);
    if (!whole || (at + 4 < text.size() && is_digit(text[at + 4]))) return std::string(text);
    plain += three;
    at += 4;
  }
  return plain + std::string(text.substr(at));
}

std::optional<double> decimal(std::string_view text) {
  const std::string plain = without_thousands(text);
  std::string_view rest = plain;
  if (rest.starts_with('+')) rest.remove_prefix(1);
  // "inf" and "nan" are words here.
  if (rest.empty() || rest.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
  if (error != std::errc() || end != rest.data() + rest.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::vector<std::string> lower_words(std::string_view text) {
  std::vector<std::string> words;
  for (std::string_view word : words_of(text)) {
    std::string& lower = words.emplace_back(word);
    for (char& c : lower) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
  }
  return words;
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t at = text.find_first_not_of(blanks); at != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(blanks, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = text.find_first_not_of(blanks, end);
  }
  return words;
}

bool same_answer(std::string_view a, std::string_view b) {
  const std::string_view left = trimmed(a), right = trimmed(b);
  if (left == right) return true;
  const auto x = decimal(left), y = decimal(right);
  return x && y && *x == *y;
}

double exact_answer_reward(std::string_view completion, std::string_view right,
                           const std::optional<Pattern>& answer_pattern) {
  if (!answer_pattern) return same_answer(completion, right) ? 1 : 0;
  const std::optional<std::string> answer = answer_pattern->last(completion);
  return answer && same_answer(*answer, right) ? 1 : 0;
}

double length_reward(std::int64_t tokens, std::int64_t target) {
  CHECK(target > 0);
  return std::max(0.0, 1 - static_cast<double>(std::abs(tokens - target)) / static_cast<double>(target));
}

double repetition_reward(std::string_view completion) {
  const std::vector<std::string_view> words = words_of(completion);
  if (words.size() < ngram) return 0;
  const std::size_t count = words.size() - ngram + 1;
  std::set<std::vector<std::string_view>> different;
  for (std::size_t i = 0; i < count; ++i) {
    const auto begin = words.begin() + static_cast<std::ptrdiff_t>(i);
    different.emplace(begin, begin + static_cast<std::ptrdiff_t>(ngram));
  }
  if (different.size() == count) return 0;  // and not -0
  return -static_cast<double>(count - different.size()) / static_cast<double>(count);
}

double overlap_reward(std::string_view completion, std::string_view right) {
  const std::vector<std::string> a = lower_words(completion), b = lower_words(right);
  if (a.empty() || b.empty()) return 0;
  // Of the first i words of a, and so far of b: the longest common subsequence.
  std::vector<std::int64_t> row(b.size() + 1, 0);
  for (const std::string& word : a) {
    std::int64_t before = 0;  // row i - 1, column j - 1
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::int64_t above = row[j + 1];
      row[j + 1] = word == b[j] ? before + 1 : std::max(above, row[j]);
      before = above;
    }
  }
  // 2 P R / (P + R) with P = common / |a|, R = common / |b|
  return 2 * static_cast<double>(row.back()) / static_cast<double>(a.size() + b.size());
}

std::string record_field(const RewardRequest& request, const std::string& field) {
  const nlohmann::json record = nlohmann::json::parse(request.columns, nullptr, false);
  const auto refuse = [&](const std::string& what) {
    throw Error(Exit::bad_data,
                fmt::format("{}: \"{}\" {} (expected a string, a number or a boolean)", request.place, field, what),
                "reward.answer_field names the field that has the right answer");
  };
  if (!record.is_object() || !record.contains(field)) refuse("is missing");
  const nlohmann::json& value = record[field];
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_number() && !value.is_boolean()) refuse(value.is_null() ? "is null" : "is a list or an object");
  return value.dump();
}

std::string right_answer(const RewardRequest& request, const std::string& field) {
  return request.columns.empty() ? request.gold : record_field(request, field);
}

}  // namespace nll
