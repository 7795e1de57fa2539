#include "tests/cuda_on_host/collectives.h"

namespace nll::cuda_on_host {

void combine_shuffle(void* const* parts, int count) {
  unsigned char values[32][8];
  std::memset(values, 0xff, sizeof(values));
  for (int i = 0; i < count; ++i) {
    if (parts[i] == nullptr) continue;
    const auto& part = *static_cast<const ShufflePart*>(parts[i]);
    std::memcpy(values[i], part.value, part.bytes);
  }
  for (int i = 0; i < count; ++i) {
    if (parts[i] == nullptr) continue;
    const auto& part = *static_cast<const ShufflePart*>(parts[i]);
    if (part.source >= 0) std::memcpy(part.value, values[part.source], part.bytes);
  }
}

void combine_ballot(void* const* parts, int count) {
  unsigned ballot = 0;
  for (int i = 0; i < count; ++i) {
    if (parts[i] != nullptr && static_cast<const Vote*>(parts[i])->yes) ballot |= 1u << i;
  }
  for (int i = 0; i < count; ++i) {
    if (parts[i] != nullptr) static_cast<Vote*>(parts[i])->ballot = ballot;
  }
}

void combine_count(void* const* parts, int count) {
  unsigned yes = 0;
  for (int i = 0; i < count; ++i) yes += static_cast<const Vote*>(parts[i])->yes ? 1u : 0u;
  for (int i = 0; i < count; ++i) static_cast<Vote*>(parts[i])->ballot = yes;
}

}  // namespace nll::cuda_on_host
