#include <algorithm>

#include "kernels/check.h"
#include "kernels/ops.h"
#include "src/text/loader.h"

namespace nll {
namespace {

std::int64_t targets_in(const TokenFile& file) { return std::max<std::int64_t>(0, file.info().tokens - 1); }

}  // namespace

SequentialWindows::SequentialWindows(const TokenDataset& dataset, std::int64_t context, std::int64_t sequences,
                                     std::int64_t token_limit, std::int64_t vocabulary, std::int64_t stride)
    : dataset_(dataset),
      context_(context),
      sequences_(sequences),
      limit_(0),
      vocabulary_(vocabulary),
      stride_(stride == 0 ? context : stride) {
  CHECK(context > 0);
  CHECK(sequences > 0);
  CHECK(token_limit >= 0);
  CHECK(stride >= 0);
  CHECK(stride <= context);
  for (const TokenFile& file : dataset.files()) limit_ += targets_in(file);
  if (token_limit > 0) limit_ = std::min(limit_, token_limit);
}

std::int64_t SequentialWindows::targets() const { return limit_; }

bool SequentialWindows::next(Batch& batch) {
  batch = Batch{};
  batch.context = context_;
  std::vector<std::int32_t> window;
  const std::vector<TokenFile>& files = dataset_.files();
  while (batch.sequences < sequences_ && served_ < limit_) {
    const TokenFile& file = files[static_cast<std::size_t>(file_)];
    // Tokens that were targets before and are only looked at now.
    const std::int64_t seen = position_ == 0 ? 0 : context_ - stride_;
    const std::int64_t count = std::min({context_ - seen, targets_in(file) - position_, limit_ - served_});
    if (count <= 0) {
      ++file_;
      position_ = 0;
      continue;
    }
    window.resize(static_cast<std::size_t>(seen + count + 1));
    file.read(position_ - seen, window, vocabulary_);
    const auto padding = static_cast<std::size_t>(context_ - seen - count);
    batch.tokens.insert(batch.tokens.end(), window.begin(), window.end() - 1);
    batch.tokens.insert(batch.tokens.end(), padding, 0);
    batch.targets.insert(batch.targets.end(), static_cast<std::size_t>(seen), ignore_index);
    batch.targets.insert(batch.targets.end(), window.begin() + 1 + seen, window.end());
    batch.targets.insert(batch.targets.end(), padding, ignore_index);
    ++batch.sequences;
    position_ += count;
    served_ += count;
  }
  return batch.sequences > 0;
}

}  // namespace nll
