// Blame: which ranks are at fault when an operation does not end, and the sentence that says so.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "src/dist/announcement.h"

namespace nll {

struct Blame {
  std::vector<int> ranks;
  std::string message;
};

// "rank 2 (node1)"; of a host without a name: "rank 2".
std::string rank_and_host(int rank, const std::vector<std::string>& hosts);

// `silent` have not begun with `operation`; if there are none, `slow` have and did not finish it.
Blame blame_silence(const std::vector<int>& silent, const std::vector<int>& slow, const Announcement& operation,
                    double seconds, const std::vector<std::string>& hosts);

// What each rank should have announced to rank `self` and what it did; nothing: not heard, so not judged. The largest
// group of ranks that are at the same operation is right; of equally large ones that of the lowest rank. So all ranks
// that have heard of all come to the same answer.
Blame blame_difference(int self, const std::vector<Announcement>& expected,
                       const std::vector<std::optional<Announcement>>& heard, const std::vector<std::string>& hosts);

}  // namespace nll
