// What this machine gives this process: cores, memory, and the processor's name.
#pragma once
#include <cstdint>
#include <string>

namespace nll::cpu {

// Cores this process may use: its affinity mask, and no more than the cgroup's processor quota rounded up.
int usable_cores();
std::string processor_name();  // "Intel(R) Xeon(R) Processor", or "processor" where the system does not say

struct MemorySize {
  std::int64_t total = 0, available = 0;  // the smaller of the machine's and the cgroup's
};
MemorySize memory_size();

}  // namespace nll::cpu
