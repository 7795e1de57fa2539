#include "kernels/cpu/scratch.h"

#include "kernels/check.h"

namespace nll::cpu {

void* Scratch::Piece::grow(std::int64_t wanted) {
  CHECK(wanted >= 0);
  if (wanted <= bytes) return memory.get();
  const std::int64_t rounded = (wanted + 4095) / 4096 * 4096;
  memory.reset();
  bytes = 0;
  memory.reset(std::aligned_alloc(4096, static_cast<std::size_t>(rounded)));
  if (memory == nullptr) {
    throw Error(Exit::resources, "cpu: no memory for " + std::to_string(rounded) + " bytes of working space of an op",
                "lower batch.sequences, head.chunk_tokens or model.context");
  }
  bytes = rounded;
  return memory.get();
}

}  // namespace nll::cpu
