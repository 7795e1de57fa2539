// Rows of a matrix by index.                                           n rows of C, m of them chosen by `rows`, in
// order
//   gather: out[i] = in[rows[i]];   scatter: out[rows[i]] (+)= in[i], with Into::write all other rows become 0
// Bytes: gather 8 m C; scatter 4 m C + 4 n C written, or 12 m C added. One addition at most: nothing to order.
#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {
namespace {

std::size_t row_bytes(std::int64_t width) { return static_cast<std::size_t>(width) * sizeof(float); }

}  // namespace

void CpuOps::gather_rows(Tensor out, Tensor in, Tensor rows) {
  CHECK(in.rank() == 2);
  const std::int64_t m = rows.size(), n = in.dim(0), width = in.dim(1);
  float* to = expect(out, "out", {m, width});
  const float* from = in.as<float>();
  const std::int32_t* chosen = rows.as<std::int32_t>();
  team_->for_each_part(m, 1, [&](Range part, int) {
    for (std::int64_t i = part.begin; i < part.end; ++i) {
      CHECK(chosen[i] >= 0);
      CHECK(chosen[i] < n);
      std::memcpy(to + i * width, from + chosen[i] * width, row_bytes(width));
    }
  });
}

void CpuOps::scatter_rows(Tensor out, Into into, Tensor in, Tensor rows) {
  CHECK(out.rank() == 2);
  const std::int64_t m = rows.size(), n = out.dim(0), width = out.dim(1);
  float* to = out.as<float>();
  const float* from = expect(in, "in", {m, width});
  const std::int32_t* chosen = rows.as<std::int32_t>();
  for (std::int64_t i = 0; i < m; ++i) {
    CHECK(chosen[i] >= 0);
    CHECK(chosen[i] < n);
    if (i > 0) CHECK(chosen[i] > chosen[i - 1]);
  }
  if (into == Into::add) {
    team_->for_each_part(m, 1, [&](Range part, int) {
      for (std::int64_t i = part.begin; i < part.end; ++i) {
        rows_.add(to + chosen[i] * width, to + chosen[i] * width, from + i * width, width);
      }
    });
    return;
  }
  team_->for_each_part(n, 1, [&](Range part, int) {
    std::int64_t i = std::lower_bound(chosen, chosen + m, part.begin) - chosen;
    for (std::int64_t row = part.begin; row < part.end; ++row) {
      if (i < m && chosen[i] == row) {
        std::memcpy(to + row * width, from + i++ * width, row_bytes(width));
      } else {
        std::memset(to + row * width, 0, row_bytes(width));
      }
    }
  });
}

}  // namespace nll::cpu
