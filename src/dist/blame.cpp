#include "src/dist/blame.h"

#include <fmt/format.h>

#include <algorithm>

namespace nll {

std::string rank_and_host(int rank, const std::vector<std::string>& hosts) {
  const auto at = static_cast<std::size_t>(rank);
  return at >= hosts.size() || hosts[at].empty() ? fmt::format("rank {}", rank)
                                                 : fmt::format("rank {} ({})", rank, hosts[at]);
}

namespace {

std::string names_of(const std::vector<int>& ranks, const std::vector<std::string>& hosts) {
  constexpr std::size_t most_named = 8;
  std::string names;
  for (std::size_t i = 0; i < std::min(ranks.size(), most_named); ++i) {
    names += (i > 0 ? ", " : "") + rank_and_host(ranks[i], hosts);
  }
  if (ranks.size() > most_named) names += fmt::format(" and {} more", ranks.size() - most_named);
  return names;
}

}  // namespace

Blame blame_silence(const std::vector<int>& silent, const std::vector<int>& slow, const Announcement& operation,
                    double seconds, const std::vector<std::string>& hosts) {
  Blame blame;
  blame.ranks = silent.empty() ? slow : silent;
  blame.message =
      fmt::format("{}: {} not {} {} for {:g} s", names_of(blame.ranks, hosts), blame.ranks.size() == 1 ? "has" : "have",
                  silent.empty() ? "finished" : "taken part in", operation.text(), seconds);
  return blame;
}

Blame blame_difference(int self, const std::vector<Announcement>& expected,
                       const std::vector<std::optional<Announcement>>& heard, const std::vector<std::string>& hosts) {
  struct Group {
    std::string at;
    std::vector<int> ranks;
  };
  std::vector<Group> groups;  // in the order of their lowest ranks
  for (std::size_t r = 0; r < expected.size(); ++r) {
    const bool here = static_cast<int>(r) == self;
    if (!here && !heard[r]) continue;
    std::string at = here ? expected[r].text() : heard[r]->text();
    if (!here && heard[r]->text() == expected[r].text() && *heard[r] != expected[r]) {
      at += fmt::format(" with {} bytes instead of {}", heard[r]->bytes, expected[r].bytes);
    }
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& one) { return one.at == at; });
    if (group == groups.end()) group = groups.insert(group, {at, {}});
    group->ranks.push_back(static_cast<int>(r));
  }
  const auto right = std::max_element(groups.begin(), groups.end(), [](const Group& one, const Group& other) {
    return one.ranks.size() < other.ranks.size();
  });
  Blame blame;
  const Group* odd = nullptr;
  for (const Group& group : groups) {
    if (&group == &*right) continue;
    if (odd == nullptr) odd = &group;
    blame.ranks.insert(blame.ranks.end(), group.ranks.begin(), group.ranks.end());
  }
  if (odd == nullptr) {
    blame.message = fmt::format("{}: got data of another operation", right->at);
    return blame;
  }
  blame.message = fmt::format("{}: {} at {}, {} at {} (an operation was skipped or repeated)",
                              names_of(odd->ranks, hosts), odd->ranks.size() == 1 ? "is" : "are", odd->at,
                              rank_and_host(right->ranks.front(), hosts), right->at);
  return blame;
}

}  // namespace nll
