#include <algorithm>

#include "kernels/check.h"
#include "kernels/ops.h"
#include "src/text/loader.h"

namespace nll {
namespace {

std::int64_t targets_in(const TokenFile& file) { return std::max<std::int64_t>(0, file.info().tokens - 1); }

}  // namespace

SequentialWindows::SequentialWindows(const TokenDataset& dataset, std::int64_t context, std::int64_t sequences,
                                     std::int64_t token_limit, std::int64_t vocabulary, std::int64_t stride,
                                     std::int64_t rank, std::int64_t ranks)
    : dataset_(dataset),
      context_(context),
      sequences_(sequences),
      vocabulary_(vocabulary),
      stride_(stride == 0 ? context : stride) {
  CHECK(context > 0);
  CHECK(sequences > 0);
  CHECK(token_limit >= 0);
  CHECK(stride >= 0);
  CHECK(stride <= context);
  CHECK(rank >= 0);
  CHECK(rank < ranks);
  std::int64_t limit = 0;
  for (const TokenFile& file : dataset.files()) limit += targets_in(file);
  if (token_limit > 0) limit = std::min(limit, token_limit);
  std::int64_t windows = 0, left = limit;
  for (const TokenFile& file : dataset.files()) {
    const std::int64_t targets = std::min(targets_in(file), left);
    windows += windows_in(targets);
    left -= targets;
  }
  // r W / R without the product, which might not fit.
  const auto cut = [&](std::int64_t r) { return windows / ranks * r + windows % ranks * r / ranks; };
  place_ = place_of(cut(rank), limit);
  begin_ = place_.served;
  end_ = place_of(cut(rank + 1), limit).served;
}

std::int64_t SequentialWindows::windows_in(std::int64_t targets) const {
  if (targets <= 0) return 0;
  return targets <= context_ ? 1 : 1 + (targets - context_ + stride_ - 1) / stride_;
}

SequentialWindows::Place SequentialWindows::place_of(std::int64_t window, std::int64_t limit) const {
  Place place;
  const std::vector<TokenFile>& files = dataset_.files();
  for (; place.file < static_cast<std::int64_t>(files.size()); ++place.file) {
    const std::int64_t targets =
        std::min(targets_in(files[static_cast<std::size_t>(place.file)]), limit - place.served);
    const std::int64_t windows = windows_in(targets);
    if (window < windows) {
      place.position = window == 0 ? 0 : context_ + (window - 1) * stride_;
      place.served += place.position;
      return place;
    }
    window -= windows;
    place.served += targets;
  }
  return place;
}

std::int64_t SequentialWindows::targets() const { return end_ - begin_; }

bool SequentialWindows::next(Batch& batch) {
  batch = Batch{};
  batch.context = context_;
  std::vector<std::int32_t> window;
  const std::vector<TokenFile>& files = dataset_.files();
  while (batch.sequences < sequences_ && place_.served < end_) {
    const TokenFile& file = files[static_cast<std::size_t>(place_.file)];
    // Tokens that were targets before and are only looked at now.
    const std::int64_t seen = place_.position == 0 ? 0 : context_ - stride_;
    const std::int64_t count = std::min({context_ - seen, targets_in(file) - place_.position, end_ - place_.served});
    if (count <= 0) {
      ++place_.file;
      place_.position = 0;
      continue;
    }
    window.resize(static_cast<std::size_t>(seen + count + 1));
    file.read(place_.position - seen, window, vocabulary_);
    const auto padding = static_cast<std::size_t>(context_ - seen - count);
    batch.tokens.insert(batch.tokens.end(), window.begin(), window.end() - 1);
    batch.tokens.insert(batch.tokens.end(), padding, 0);
    batch.targets.insert(batch.targets.end(), static_cast<std::size_t>(seen), ignore_index);
    batch.targets.insert(batch.targets.end(), window.begin() + 1 + seen, window.end());
    batch.targets.insert(batch.targets.end(), padding, ignore_index);
    ++batch.sequences;
    place_.position += count;
    place_.served += count;
  }
  return batch.sequences > 0;
}

}  // namespace nll
