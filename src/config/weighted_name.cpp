#include "src/config/weighted_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "kernels/check.h"
#include "src/config/check.h"
#include "src/config/quote.h"
#include "src/config/suggest.h"

namespace nll {
namespace {

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return list;
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = text.find_first_not_of(' ', at);
    if (begin == std::string::npos) break;
    at = std::min(text.find(' ', begin), text.size());
    words.push_back(text.substr(begin, at - begin));
  }
  return words;
}

}  // namespace

const std::vector<std::string>& pair_loss_names() {
  static const std::vector<std::string> names = {"sigmoid", "robust", "hinge", "ipo", "ipo_sum", "sigmoid_norm", "sft"};
  return names;
}

const std::vector<std::string>& reward_rule_names() {
  static const std::vector<std::string> names = {"exact_answer", "regex", "length", "repetition",
                                                 "overlap",      "model", "command"};
  return names;
}

std::optional<Conflict> read_weighted_names(const std::vector<std::string>& texts, const std::string& key,
                                            const std::vector<std::string>& allowed, std::vector<WeightedName>& names) {
  if (texts.empty()) return Conflict{key, "is empty (expected at least one of " + listed(allowed) + ")", ""};
  std::set<std::string> seen;
  for (const std::string& text : texts) {
    const std::vector<std::string> words = words_of(text);
    const std::string entry = in_quotes(text);
    if (words.empty() || words.size() > 2) {
      return Conflict{key, entry + ": expected a name, or a weight, a blank and a name",
                      "for example \"0.2 " + allowed.back() + "\""};
    }
    WeightedName item{1, words.back()};
    if (words.size() == 2) {
      const std::string& number = words.front();
      const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), item.weight);
      if (error != std::errc{} || end != number.data() + number.size() || !std::isfinite(item.weight) ||
          item.weight == 0) {
        return Conflict{key, entry + ": expected a finite number other than 0 as the weight", ""};
      }
    }
    if (std::find(allowed.begin(), allowed.end(), item.name) == allowed.end()) {
      const std::string guess = nearest(item.name, allowed);
      return Conflict{key, fmt::format("{}: unknown name (expected one of {})", entry, listed(allowed)),
                      guess.empty() ? "" : "did you mean " + guess + "?"};
    }
    if (!seen.insert(item.name).second) {
      return Conflict{key, fmt::format("{}: {} stands twice", entry, item.name), "give it once, with its weight"};
    }
    names.push_back(item);
  }
  return std::nullopt;
}

std::vector<WeightedName> weighted_names(const std::vector<std::string>& texts, const std::string& key,
                                         const std::vector<std::string>& allowed) {
  std::vector<WeightedName> names;
  if (const auto conflict = read_weighted_names(texts, key, allowed, names)) {
    throw Error(Exit::usage, conflict->key + ": " + conflict->message, conflict->hint);
  }
  return names;
}

}  // namespace nll
