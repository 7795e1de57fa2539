// The matrix products of the ops: the packed product where it is the faster, else OpenBLAS (is_packed() decides).
#include "kernels/cpu/cpu_ops.h"

namespace nll::cpu {

Block CpuOps::block_of(const Gemm& gemm, int thread) const {
  return is_packed(gemm, rows_) ? packed_block_of(gemm, rows_, thread, team_->size())
                                : cpu::block_of(gemm, thread, team_->size());
}

void CpuOps::multiply(int thread, const Gemm& gemm, const Block& block, float* c, std::int64_t c_stride,
                      const float* bias) {
  if (block.empty()) return;
  if (is_packed(gemm, rows_)) {
    multiply_packed_block(gemm, rows_, block, c, c_stride, bias, packing_.floats(thread, rows_.product_scratch));
    return;
  }
  multiply_block(gemm, block, c, c_stride);
  for (std::int64_t i = 0; bias != nullptr && i < block.rows.size(); ++i) {
    float* row = c + i * c_stride;
    rows_.add(row, row, bias + block.columns.begin, block.columns.size());
  }
}

void CpuOps::multiply(int thread, const Gemm& gemm, const Block& block, const float* bias) {
  multiply(thread, gemm, block, gemm.c + block.rows.begin * gemm.c_stride + block.columns.begin, gemm.c_stride, bias);
}

}  // namespace nll::cpu
