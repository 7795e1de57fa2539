// Replica check: whether the weights of all ranks are still the same bits. They differ after a fault of a memory or a
// processor, or of this program, and training would go on as if nothing were.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "src/dist/collective.h"

namespace nll {

// Hash of a tensor's bytes wherever it is: 32 hex digits of XXH3-128. Waits for the device.
std::string hash_of(Device& device, Tensor tensor);

struct Replica {
  std::string name;  // "rank 3 node1"
  std::string hash;
};
// What is wrong with these, nothing where they are equal: the ranks that differ from the largest group of equal ones,
// or all groups where there is no such.
std::optional<std::string> difference(const std::vector<Replica>& replicas);

// Compares the `weights` of all ranks after `step`. Throws AgreedError(diverged) on all of them where they differ. One
// rank: nothing.
void check_replicas(Collective& collective, Device& device, Tensor weights, std::int64_t step);

}  // namespace nll
