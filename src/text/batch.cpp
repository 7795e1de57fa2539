#include "src/text/batch.h"

#include <algorithm>

#include "kernels/ops.h"

namespace nll {

std::int64_t Batch::valid_tokens() const {
  return std::count_if(targets.begin(), targets.end(), [](std::int32_t target) { return target != ignore_index; });
}

}  // namespace nll
