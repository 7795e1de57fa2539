#include "src/eval/paired_comparison.h"

#include <fmt/format.h>

#include <cmath>

#include "kernels/check.h"
#include "kernels/philox.h"

namespace nll {

namespace {

// Both losses of a document, or of a sum of them.
struct Pair {
  std::int64_t tokens = 0, bytes = 0;
  double nll = 0, text_nll = 0;  // the first's less the second's

  void add(const Pair& other) {
    tokens += other.tokens;
    bytes += other.bytes;
    nll += other.nll;
    text_nll += other.text_nll;
  }
  double loss() const { return nll / static_cast<double>(tokens); }
  double bits_per_byte() const { return text_nll / (std::log(2.0) * static_cast<double>(bytes)); }
};

void add_document(PairedDifference& to, double difference) {
  to.documents.push_back(difference);
  to.better += difference < 0;
  to.equal += difference == 0;
}

}  // namespace

double PairedDifference::share_better() const {
  return documents.empty() ? 0 : static_cast<double>(better) / static_cast<double>(documents.size());
}

std::string documents_differ(const std::vector<DocumentLoss>& first, const std::vector<DocumentLoss>& second,
                             bool same_tokens) {
  if (first.size() != second.size()) return fmt::format("{} documents and {}", first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (first[i].bytes != second[i].bytes)
      return fmt::format("document {} has {} bytes and {}", i + 1, first[i].bytes, second[i].bytes);
    if (same_tokens && first[i].tokens != second[i].tokens)
      return fmt::format("document {} has {} tokens and {}", i + 1, first[i].tokens, second[i].tokens);
  }
  return {};
}

std::optional<PairedComparison> compare_documents(const std::vector<DocumentLoss>& first,
                                                  const std::vector<DocumentLoss>& second, bool same_tokens,
                                                  std::uint64_t seed, std::int64_t resamples,
                                                  const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  CHECK(resamples > 0);
  CHECK(documents_differ(first, second, same_tokens).empty());
  CHECK(!first.empty());
  CHECK(first.size() <= UINT32_MAX);
  std::vector<Pair> pairs;
  Pair all;
  PairedDifference loss, bits;
  for (std::size_t i = 0; i < first.size(); ++i) {
    pairs.push_back(
        {first[i].tokens, first[i].bytes, first[i].nll - second[i].nll, first[i].text_nll - second[i].text_nll});
    all.add(pairs.back());
    add_document(loss, pairs.back().loss());
    if (pairs.back().bytes > 0) add_document(bits, pairs.back().bits_per_byte());
  }
  std::vector<double> losses, bits_per_byte;
  for (std::int64_t r = 0; pairs.size() > 1 && r < resamples; ++r) {
    Pair sum;
    PhiloxBlock block{};
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (i % 4 == 0) block = philox(seed, static_cast<std::uint64_t>(r), i / 4);
      sum.add(pairs[std::uint64_t{block.word[i % 4]} * pairs.size() >> 32]);
    }
    losses.push_back(sum.loss());
    if (sum.bytes > 0) bits_per_byte.push_back(sum.bits_per_byte());
    if (progress && !progress(r + 1, resamples)) return std::nullopt;
  }
  PairedComparison made{static_cast<std::int64_t>(first.size()), all.bytes, std::nullopt, std::nullopt};
  if (same_tokens) {
    loss.value = all.loss();
    if (!losses.empty()) loss.interval = middle_95(std::move(losses));
    made.loss = std::move(loss);
  }
  if (all.bytes > 0) {
    bits.value = all.bits_per_byte();
    // A resample of documents without bytes has no bits per byte: then there is no interval for them either.
    if (pairs.size() > 1 && static_cast<std::int64_t>(bits_per_byte.size()) == resamples)
      bits.interval = middle_95(std::move(bits_per_byte));
    made.bits_per_byte = std::move(bits);
  }
  return made;
}

}  // namespace nll
