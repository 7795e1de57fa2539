#include "kernels/cpu/cpu_backend.h"

#include <system_error>

#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/cpu_ops.h"
#include "kernels/cpu/processor.h"

namespace nll::cpu {
namespace {

constexpr int most_threads = 1024;

std::shared_ptr<ThreadTeam> make_team(int threads) {
  const int cores = usable_cores();
  // A few more than there are cores are allowed, for tests of how work is cut; hundreds are a slip of the pen.
  const int limit = std::min(most_threads, std::max(4 * cores, 16));
  if (threads < 0 || threads > limit) {
    throw Error(Exit::usage,
                "threads: " + std::to_string(threads) + " (expected 0 to " + std::to_string(limit) + "; " +
                    std::to_string(cores) + (cores == 1 ? " core is" : " cores are") + " usable here)",
                "0 takes one thread for each usable core");
  }
  try {
    return std::make_shared<ThreadTeam>(threads == 0 ? std::min(cores, most_threads) : threads);
  } catch (const std::system_error& error) {
    throw Error(Exit::resources, std::string("threads: the system starts no more of them (") + error.what() + ")",
                "ask for fewer threads");
  }
}

}  // namespace

Backend make_cpu_backend(int threads, const std::string& instructions) {
  const RowKernels* rows = row_kernels(instructions.c_str());
  if (rows == nullptr) {
    int count = 0;
    const char* const* names = supported_instructions(&count);
    std::string known;
    for (int i = 0; i < count; ++i) known += (i == 0 ? "" : ", ") + std::string(names[i]);
    throw Error(Exit::usage, "instructions: \"" + instructions + "\" (this processor has " + known + ")",
                "leave it empty for the best there is");
  }
  use_one_thread_a_call();
  std::shared_ptr<ThreadTeam> team = make_team(threads);
  auto device = std::make_unique<CpuDevice>(team, rows->instructions);
  auto ops = std::make_unique<CpuOps>(std::move(team), *rows);
  return {std::move(device), std::move(ops)};
}

}  // namespace nll::cpu
