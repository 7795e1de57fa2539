#include "src/checkpoint/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <new>

namespace nll {

void Hash128::Free::operator()(XXH3_state_s* state) const { XXH3_freeState(state); }

Hash128::Hash128() : state_(XXH3_createState()) {
  if (state_ == nullptr) throw std::bad_alloc();
  XXH3_128bits_reset(state_.get());
}

void Hash128::update(const void* data, std::int64_t bytes) {
  if (bytes > 0) XXH3_128bits_update(state_.get(), data, static_cast<std::size_t>(bytes));
}

std::string Hash128::digest() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string hash_64(std::string_view bytes) { return fmt::format("{:016x}", XXH3_64bits(bytes.data(), bytes.size())); }

}  // namespace nll
