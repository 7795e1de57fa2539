#include "src/eval/repetition_probe.h"

#include "kernels/philox.h"

namespace nll {

namespace {

// Sums the loss of each of `copies` of `piece`, its first token left out: the first copy's has nothing before it.
void add_losses(const ScoreText& score, const std::vector<std::int32_t>& piece, std::vector<double>& sums) {
  CHECK(piece.size() >= 2u);
  std::vector<std::int32_t> text;
  for (std::size_t copy = 0; copy < sums.size(); ++copy) text.insert(text.end(), piece.begin(), piece.end());
  const std::vector<double> logp = score(text);  // of token t + 1
  for (std::size_t copy = 0; copy < sums.size(); ++copy)
    for (std::size_t t = 1; t < piece.size(); ++t) sums[copy] -= logp.at(copy * piece.size() + t - 1);
}

}  // namespace

std::vector<double> loss_after_copies(const ScoreText& score, std::span<const std::vector<std::int32_t>> pieces) {
  std::vector<double> sums(repetition_copies);
  std::size_t tokens = 0;
  for (const std::vector<std::int32_t>& piece : pieces) {
    add_losses(score, piece, sums);
    tokens += piece.size() - 1;
  }
  for (double& sum : sums) sum /= static_cast<double>(tokens);
  return sums;
}

InductionProbe probe_induction(const ScoreText& score, std::int64_t vocabulary, std::int64_t blocks,
                               std::int64_t tokens, std::uint64_t seed) {
  std::vector<double> sums(2);
  for (std::int64_t block = 0; block < blocks; ++block) {
    std::vector<std::int32_t> piece;
    for (std::int64_t t = 0; t < tokens; ++t) {
      const std::uint64_t index = static_cast<std::uint64_t>(block * tokens + t);
      const PhiloxBlock random = philox(seed, random_stream(RandomPurpose::sample, 0), index);
      piece.push_back(
          static_cast<std::int32_t>(unit_double(random.word[0], random.word[1]) * static_cast<double>(vocabulary)));
    }
    add_losses(score, piece, sums);
  }
  const double count = static_cast<double>(blocks * (tokens - 1));
  return {sums[0] / count, sums[1] / count, blocks, tokens};
}

}  // namespace nll
