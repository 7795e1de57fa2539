#include "src/dist/blame.h"

#include <gtest/gtest.h>

namespace nll {
namespace {

const std::vector<std::string> hosts{"node0", "node0", "node1", "node1"};

Announcement at(const char* name, std::int64_t step, std::int64_t bucket, std::int64_t bytes = 0) {
  Announcement announcement(OperationKind::all_to_all, {name, step, bucket}, -1);
  announcement.bytes = bytes;
  return announcement;
}

TEST(Announcement, SaysOperationBucketAndStep) {
  EXPECT_EQ(at("reduce-scatter", 17, 3).text(), "reduce-scatter of bucket 3 in step 17");
  EXPECT_EQ(at("control", 17, -1).text(), "control in step 17");
  EXPECT_EQ(at("the start of the job", -1, -1).text(), "the start of the job");
  EXPECT_EQ(at("a name that is longer than the thirty-two bytes it has", -1, -1).text().size(), 31u);
}

TEST(Announcement, DiffersInAnythingThatWouldPairWrongly) {
  const Announcement one = at("all-gather", 5, 1, 100);
  EXPECT_EQ(one, at("all-gather", 5, 1, 100));
  EXPECT_NE(one, at("all-gather", 6, 1, 100));
  EXPECT_NE(one, at("all-gather", 5, 2, 100));
  EXPECT_NE(one, at("all-gather", 5, 1, 101));
  EXPECT_NE(one, at("reduce-scatter", 5, 1, 100));
  EXPECT_NE(Announcement(OperationKind::broadcast, {"broadcast"}, 0),
            Announcement(OperationKind::broadcast, {"broadcast"}, 1));
}

TEST(Blame, SilentRanksAreNamedBeforeSlowOnes) {
  const Announcement operation = at("reduce-scatter", 17, 3);
  const Blame one = blame_silence({2}, {1, 3}, operation, 10, hosts);
  EXPECT_EQ(one.ranks, std::vector<int>{2});
  EXPECT_EQ(one.message, "rank 2 (node1): has not taken part in reduce-scatter of bucket 3 in step 17 for 10 s");
  const Blame two = blame_silence({1, 2}, {}, operation, 0.5, hosts);
  EXPECT_EQ(two.message,
            "rank 1 (node0), rank 2 (node1): have not taken part in reduce-scatter of bucket 3 in step 17 for 0.5 s");
  EXPECT_EQ(blame_silence({}, {3}, operation, 300, hosts).message,
            "rank 3 (node1): has not finished reduce-scatter of bucket 3 in step 17 for 300 s");
}

TEST(Blame, ManyMissingRanksMakeAShortMessage) {
  std::vector<int> silent;
  for (int r = 1; r < 100; ++r) silent.push_back(r);
  const std::string message = blame_silence(silent, {}, at("control", 0, -1), 1, {}).message;
  EXPECT_EQ(
      message,
      "rank 1, rank 2, rank 3, rank 4, rank 5, rank 6, rank 7, rank 8 and 91 more: have not taken part in control "
      "in step 0 for 1 s");
}

TEST(Blame, TheOddRankIsTheSameForAll) {
  const Announcement right = at("reduce-scatter", 17, 3, 8), wrong = at("all-gather", 18, 0, 8);
  const std::string message =
      "rank 2 (node1): is at all-gather of bucket 0 in step 18, rank 0 (node0) at reduce-scatter of bucket 3 in step "
      "17 "
      "(an operation was skipped or repeated)";
  for (int self = 0; self < 4; ++self) {
    const Announcement& own = self == 2 ? wrong : right;
    const std::vector<std::optional<Announcement>> heard{right, right, wrong, right};
    const Blame blame = blame_difference(self, {own, own, own, own}, heard, hosts);
    EXPECT_EQ(blame.ranks, std::vector<int>{2});
    EXPECT_EQ(blame.message, message);
  }
}

TEST(Blame, OfTwoRanksTheLowerIsBelieved) {
  const Announcement zero = at("control", 4, -1), one = at("control", 5, -1);
  for (int self = 0; self < 2; ++self) {
    const Announcement& own = self == 0 ? zero : one;
    const Blame blame = blame_difference(self, {own, own}, {zero, one}, hosts);
    EXPECT_EQ(blame.ranks, std::vector<int>{1});
    EXPECT_EQ(
        blame.message,
        "rank 1 (node0): is at control in step 5, rank 0 (node0) at control in step 4 (an operation was skipped or "
        "repeated)");
  }
}

TEST(Blame, AnotherSizeOfTheSameOperationIsADifference) {
  const Announcement own = at("all-gather", 2, 1, 400), other = at("all-gather", 2, 1, 404);
  EXPECT_EQ(blame_difference(0, {own, own, own}, {own, other, own}, hosts).message,
            "rank 1 (node0): is at all-gather of bucket 1 in step 2 with 404 bytes instead of 400, rank 0 (node0) at "
            "all-gather of bucket 1 in step 2 (an operation was skipped or repeated)");
}

TEST(Blame, RanksThatWereNotHeardAreNotJudged) {
  const Announcement own = at("control", 4, -1), other = at("control", 5, -1);
  const Blame blame = blame_difference(0, {own, own, own, own}, {own, std::nullopt, other, own}, hosts);
  EXPECT_EQ(blame.ranks, std::vector<int>{2});
}

}  // namespace
}  // namespace nll
