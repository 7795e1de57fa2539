// Positions sorted by the token that stands there: where a sum over all occurrences of a token begins and ends.
#pragma once
#include <cuda_runtime.h>

#include <cstdint>

namespace nll::cuda {

struct SortedTokens {
  const std::int32_t* tokens;     // ascending; tokens outside [0, vocabulary) come last, all as `vocabulary`
  const std::int32_t* positions;  // where they stood; ascending among equal tokens
};

// Both live in `scratch`, device memory of sort_bytes(n), aligned to 4.
std::int64_t sort_bytes(std::int64_t n);
SortedTokens sort_tokens(void* scratch, const std::int32_t* tokens, std::int64_t n, std::int64_t vocabulary,
                         cudaStream_t stream);

}  // namespace nll::cuda
