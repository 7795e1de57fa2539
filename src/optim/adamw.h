// AdamW over the parameter arena (Loshchilov and Hutter, 2019): two moments, decoupled weight decay on matrices and
// embeddings as the parameter table says, gradients clipped by their global norm. What changes from step to step is
// in an UpdateState in device memory, so that update() can be recorded.
#pragma once
#include <vector>

#include "kernels/arena.h"
#include "kernels/ops.h"
#include "src/config/config.h"
#include "src/model/numerics.h"
#include "src/model/parameters.h"

namespace nll {

// What AdamW begins with; in FP16 with a loss scale of 2^16.
UpdateState first_update_state(const Numerics& numerics);

class AdamWOptimizer {
 public:
  static ArenaPlan plan(const ParameterTable& table, const Numerics& numerics = {});
  AdamWOptimizer(const Config& config, const ParameterTable& table, Ops& ops, Device& device,
                 const Numerics& numerics = {});

  // Queues one update of `weights` by `gradients` (arenas of the table's stored size) at the learning rate in state(),
  // and their `rounded` copies (empty: none). Nothing changes where the gradients or guard() are not finite.
  void update(Tensor weights, Tensor rounded, Tensor gradients);
  // Puts a state in place and waits until it is there.
  void set_state(const UpdateState& state);
  Tensor state() const { return arena_[state_]; }  // one UpdateState
  Tensor learning_rate() const { return field(offsetof(UpdateState, learning_rate)); }
  Tensor loss_scale() const { return field(offsetof(UpdateState, loss_scale)); }
  Tensor guard() const { return arena_[guard_]; }  // (1): NaN where a loss of this step was not finite
  Tensor first_moment() const { return arena_[m_]; }
  Tensor second_moment() const { return arena_[v_]; }

 private:
  Tensor field(std::size_t offset) const {
    return {static_cast<std::uint8_t*>(state().data()) + offset, DType::f32, {1}};
  }

  AdamW settings_;
  float weight_decay_;
  std::vector<DecaySpan> spans_;
  Ops& ops_;
  Device& device_;
  int m_ = 0, v_ = 1, norm_ = 2, squares_ = 3, guard_ = 4, state_ = 5;
  Arena arena_;
};

}  // namespace nll
