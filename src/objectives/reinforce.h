// What REINFORCE and MIXER need beside their weights.
#pragma once
#include <cstdint>

namespace nll {

// MIXER's schedule: gold tokens at the head of a completion of `length` in the block-th block of epochs (0: all), each
// block giving `shift` more tokens to the policy.
std::int64_t mixer_gold_tokens(std::int64_t length, std::int64_t block, std::int64_t shift);

}  // namespace nll
