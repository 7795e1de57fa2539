// is_function_word: the closed classes of English.
#include <algorithm>
#include <array>

#include "src/eval/token_class.h"

namespace nll {
namespace {

// In the order of bytes. Contractions whose first part is listed ("he'll", "that's") need no entry of their own.
constexpr std::array<std::string_view, 241> function_words = {
    "a",          "about",      "above",   "across",    "after",      "against",  "ain't",      "all",
    "along",      "alongside",  "also",    "although",  "am",         "amid",     "among",      "amongst",
    "an",         "and",        "another", "any",       "anybody",    "anyone",   "anything",   "are",
    "around",     "art",        "as",      "at",        "be",         "because",  "been",       "before",
    "behind",     "being",      "below",   "beneath",   "beside",     "besides",  "between",    "betwixt",
    "beyond",     "both",       "but",     "by",        "can",        "can't",    "cannot",     "canst",
    "concerning", "could",      "couldst", "dare",      "despite",    "did",      "didst",      "do",
    "does",       "doing",      "done",    "dost",      "doth",       "down",     "during",     "each",
    "either",     "enough",     "even",    "every",     "everybody",  "everyone", "everything", "except",
    "few",        "fewer",      "for",     "from",      "had",        "hadst",    "half",       "has",
    "hast",       "hath",       "have",    "having",    "he",         "her",      "here",       "hers",
    "herself",    "him",        "himself", "his",       "how",        "however",  "i",          "if",
    "in",         "inside",     "into",    "is",        "it",         "its",      "itself",     "just",
    "least",      "less",       "lest",    "like",      "many",       "may",      "mayest",     "mayst",
    "me",         "might",      "mine",    "more",      "most",       "much",     "must",       "my",
    "myself",     "near",       "need",    "neither",   "no",         "nobody",   "none",       "nor",
    "not",        "nothing",    "of",      "off",       "on",         "one",      "oneself",    "only",
    "onto",       "or",         "other",   "others",    "ought",      "our",      "ours",       "ourselves",
    "out",        "outside",    "over",    "own",       "past",       "per",      "regarding",  "several",
    "shall",      "shalt",      "shan't",  "she",       "should",     "shouldst", "since",      "so",
    "some",       "somebody",   "someone", "something", "such",       "than",     "that",       "the",
    "thee",       "their",      "theirs",  "them",      "themselves", "then",     "there",      "therefore",
    "these",      "they",       "thine",   "this",      "those",      "thou",     "though",     "through",
    "throughout", "thy",        "thyself", "till",      "to",         "too",      "toward",     "towards",
    "under",      "underneath", "unless",  "unlike",    "until",      "unto",     "up",         "upon",
    "us",         "used",       "via",     "was",       "wast",       "we",       "were",       "wert",
    "what",       "whatever",   "when",    "whenever",  "where",      "whereas",  "wherever",   "whether",
    "which",      "whichever",  "while",   "whilst",    "who",        "whoever",  "whom",       "whomever",
    "whose",      "why",        "will",    "wilt",      "with",       "within",   "without",    "won't",
    "would",      "wouldst",    "ye",      "yet",       "you",        "your",     "yours",      "yourself",
    "yourselves",
};
static_assert(std::is_sorted(function_words.begin(), function_words.end()));

bool listed(std::string_view word) { return std::binary_search(function_words.begin(), function_words.end(), word); }

}  // namespace

bool is_function_word(std::string_view word) {
  if (listed(word)) return true;
  const std::size_t apostrophe = word.find('\'');
  if (apostrophe == std::string_view::npos || apostrophe == 0) return false;
  std::string_view first = word.substr(0, apostrophe);
  const std::string_view rest = word.substr(apostrophe + 1);
  if (rest == "t" && first.ends_with('n')) {  // don't, isn't; can't and won't have lost a letter and are listed
    first.remove_suffix(1);
    return listed(first);
  }
  constexpr std::array<std::string_view, 6> endings = {"d", "ll", "m", "re", "s", "ve"};
  return listed(first) && std::find(endings.begin(), endings.end(), rest) != endings.end();
}

}  // namespace nll
