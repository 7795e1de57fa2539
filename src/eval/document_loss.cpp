#include "src/eval/document_loss.h"

#include <algorithm>
#include <cmath>

#include "kernels/check.h"
#include "kernels/philox.h"

namespace nll {
namespace {

// The value that a share `p` of the values lies below, between two neighbours on the line from one to the other.
double percentile(const std::vector<double>& sorted, double p) {
  const double place = p * static_cast<double>(sorted.size() - 1);
  const std::size_t low = static_cast<std::size_t>(place), high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (place - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

Interval middle_95(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {percentile(values, 0.025), percentile(values, 0.975)};
}

void DocumentLosses::add(std::int32_t target, double nll) {
  const std::size_t id = static_cast<std::size_t>(target);
  ++open_.tokens;
  open_.nll += nll;
  if (id < lengths_.special.size() && lengths_.special[id] == 0) {
    open_.text_nll += nll;
    open_.bytes += lengths_.bytes[id];
  }
  if (target == end_of_text_) end_document();
}

void DocumentLosses::end_document() {
  if (open_.tokens > 0) ended_.push_back(open_);
  open_ = DocumentLoss{};
}

std::vector<DocumentLoss> DocumentLosses::documents() const {
  std::vector<DocumentLoss> all = ended_;
  if (open_.tokens > 0) all.push_back(open_);
  return all;
}

std::optional<BootstrapIntervals> bootstrap_intervals(const std::vector<DocumentLoss>& documents, std::uint64_t seed,
                                                      std::int64_t resamples,
                                                      const std::function<bool(std::int64_t, std::int64_t)>& progress) {
  CHECK(resamples > 0);
  if (documents.size() < 2) return std::nullopt;
  CHECK(documents.size() <= UINT32_MAX);
  std::vector<double> losses, bits;
  for (std::int64_t r = 0; r < resamples; ++r) {
    DocumentLoss sum;
    PhiloxBlock block{};
    for (std::size_t i = 0; i < documents.size(); ++i) {
      if (i % 4 == 0) block = philox(seed, static_cast<std::uint64_t>(r), i / 4);
      const DocumentLoss& drawn = documents[std::uint64_t{block.word[i % 4]} * documents.size() >> 32];
      sum.tokens += drawn.tokens;
      sum.bytes += drawn.bytes;
      sum.nll += drawn.nll;
      sum.text_nll += drawn.text_nll;
    }
    losses.push_back(sum.nll / static_cast<double>(sum.tokens));
    if (sum.bytes > 0) bits.push_back(sum.text_nll / (std::log(2.0) * static_cast<double>(sum.bytes)));
    if (progress && !progress(r + 1, resamples)) return std::nullopt;
  }
  BootstrapIntervals intervals{middle_95(std::move(losses)), std::nullopt};
  // A resample of documents without bytes has no bits per byte: then there is no interval for them either.
  if (static_cast<std::int64_t>(bits.size()) == resamples) intervals.bits_per_byte = middle_95(std::move(bits));
  return intervals;
}

}  // namespace nll
