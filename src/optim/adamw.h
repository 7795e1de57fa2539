// AdamW over the parameter arena (Loshchilov and Hutter, 2019): two FP32 moments, decoupled weight decay on matrices
// and embeddings as the parameter table says, gradients clipped by their global norm.
#pragma once
#include <vector>

#include "kernels/arena.h"
#include "kernels/ops.h"
#include "src/config/config.h"
#include "src/model/parameters.h"

namespace nll {

class AdamWOptimizer {
 public:
  static ArenaPlan plan(const ParameterTable& table);
  AdamWOptimizer(const OptimizerConfig& config, const ParameterTable& table, Ops& ops, Device& device);

  // One update of `weights` by `gradients` (arenas of the table's stored size). `update` counts from 1.
  // Returns the gradients' global norm before clipping; when it is not finite nothing was changed.
  float step(Tensor weights, Tensor gradients, double learning_rate, std::int64_t update);
  Tensor first_moment() const { return arena_[m_]; }
  Tensor second_moment() const { return arena_[v_]; }

 private:
  OptimizerConfig config_;
  std::vector<DecaySpan> spans_;
  Ops& ops_;
  Device& device_;
  int m_ = 0, v_ = 1, norm_ = 2;
  Arena arena_;
};

}  // namespace nll
