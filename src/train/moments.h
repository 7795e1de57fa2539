// The optimizer's moments between device and checkpoint: a rank reads and writes those of the elements that it owns.
#pragma once
#include <string>
#include <vector>

#include "kernels/device.h"
#include "src/checkpoint/checkpoint.h"
#include "src/model/parameters.h"
#include "src/optim/zero1.h"

namespace nll {

// Reads the moments of the elements in `spans` from a checkpoint of any number of ranks, "m/" and "v/" + name, into
// arenas that hold those only; FP32 in the file, rounded where the arena is BF16. Rows that are stored and not
// published stay as they are. Error(bad_data) lists up to ten missing, unknown or misshapen tensors.
void load_moments(const CheckpointFolder& folder, const std::string& place, const ParameterTable& table, Device& device,
                  Tensor first, Tensor second, const std::vector<OwnedSpan>& spans,
                  const ParameterProgress& progress = {});

// The published elements of `spans` for saving, FP32: slices "m/<name>@<begin>", or whole tensors "m/<name>" where
// the spans are everything. Staging holds host copies for a device whose memory the host cannot read.
std::vector<NamedTensor> moment_slices(const ParameterTable& table, Device& device, Tensor first, Tensor second,
                                       const std::vector<OwnedSpan>& spans, std::vector<Buffer>& staging);

}  // namespace nll
