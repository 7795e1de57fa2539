// A small checkpoint whose every byte follows from its step and variant, and the check that a folder holds just that.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "src/checkpoint/checkpoint.h"

namespace nll::testing {

class SampleCheckpoint {
 public:
  // `variant` tells apart two checkpoints of one step. `elements`: of the largest tensor.
  explicit SampleCheckpoint(std::int64_t step, int variant = 0, std::int64_t elements = 96);
  SampleCheckpoint(const SampleCheckpoint&) = delete;
  SampleCheckpoint& operator=(const SampleCheckpoint&) = delete;
  const CheckpointContent& content() const { return content_; }
  // What the checkpoint in `folder` does not share with this one, down to the bit; empty: nothing.
  std::string difference(FileOps& files, const std::string& folder) const;

 private:
  Tensor fill(DType type, std::vector<std::int64_t> dims, std::uint32_t seed);
  std::vector<std::vector<std::uint8_t>> memory_;
  CheckpointContent content_;
};

// The bytes of a safetensors file: the header's size, the header, then `data_bytes` bytes of which byte i is i mod 256.
std::string safetensors_bytes(const std::string& header, std::int64_t data_bytes);

}  // namespace nll::testing
