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
#include "src/optim/zero1.h"

namespace nll {

// What AdamW begins with; in FP16 with a loss scale of 2^16.
UpdateState first_update_state(const Numerics& numerics);

class AdamWOptimizer {
 public:
  // `owned`: elements whose moments are kept here and that are updated here.
  static ArenaPlan plan(const ParameterTable& table, const Numerics& numerics, std::int64_t owned);
  AdamWOptimizer(const Config& config, const ParameterTable& table, Ops& ops, Device& device, const Numerics& numerics,
                 std::vector<OwnedSpan> owned);
  // Of one rank, which owns everything.
  AdamWOptimizer(const Config& config, const ParameterTable& table, Ops& ops, Device& device,
                 const Numerics& numerics = {})
      : AdamWOptimizer(config, table, ops, device, numerics, everything(table)) {}

  // Queues the sums of squares of the owned gradients, into their places in squares(). Arenas are of the table's stored
  // size.
  void sum_squares(Tensor gradients);
  // When squares() is complete: queues one update of the owned `weights` by `gradients` at the learning rate in
  // state(), and their `rounded` copies (empty: none). Nothing changes where the gradients or guard() are not finite.
  void apply(Tensor weights, Tensor rounded, Tensor gradients);
  // Both, for one rank.
  void update(Tensor weights, Tensor rounded, Tensor gradients) {
    sum_squares(gradients);
    apply(weights, rounded, gradients);
  }
  // Puts a state in place and waits until it is there.
  void set_state(const UpdateState& state);
  Tensor state() const { return arena_[state_]; }  // one UpdateState
  Tensor learning_rate() const { return field(offsetof(UpdateState, learning_rate)); }
  Tensor loss_scale() const { return field(offsetof(UpdateState, loss_scale)); }
  Tensor squares() const { return arena_[squares_]; }  // f64, one a block of Ops::norm_block elements of the arena
  Tensor guard() const { return arena_[guard_]; }      // (1): NaN where a loss of this step was not finite
  const std::vector<OwnedSpan>& owned() const { return owned_; }
  // Of the owned elements, one span after the other.
  Tensor first_moment() const { return arena_[m_]; }
  Tensor second_moment() const { return arena_[v_]; }

 private:
  Tensor field(std::size_t offset) const {
    return {static_cast<std::uint8_t*>(state().data()) + offset, DType::f32, {1}};
  }

  AdamW settings_;
  float weight_decay_;
  // Neighbours that are owned and share their weight decay: one call each.
  struct UpdateSpan {
    std::int64_t begin = 0, end = 0, offset = 0;  // in the arena; of its moments
    bool decay = false;
  };
  std::vector<OwnedSpan> owned_;
  std::vector<UpdateSpan> spans_;
  Ops& ops_;
  Device& device_;
  int m_ = 0, v_ = 1, norm_ = 2, squares_ = 3, guard_ = 4, state_ = 5;
  Arena arena_;
};

}  // namespace nll
