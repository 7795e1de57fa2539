// UpdateRig: the device memory of an update (norm, guard, UpdateState), for tests.
#pragma once
#include <vector>

#include "kernels/device.h"
#include "kernels/ops.h"

namespace nll::test {

class UpdateRig {
 public:
  explicit UpdateRig(Device& device, float learning_rate = 0)
      : device_(device),
        norm_(device.allocate(4)),
        guard_(device.allocate(4)),
        state_(device.allocate(sizeof(UpdateState))) {
    UpdateState state;
    state.learning_rate = learning_rate;
    set(state);
  }
  Tensor norm() const { return norm_.tensor(0, DType::f32, {1}); }
  Tensor guard() const { return guard_.tensor(0, DType::f32, {1}); }
  Tensor state() const { return state_.tensor(0, DType::u8, {sizeof(UpdateState)}); }
  void set(const UpdateState& state) {
    device_.upload(this->state(), &state);
    device_.synchronize();
  }
  UpdateState get() const {
    UpdateState state;
    device_.download(&state, this->state());
    return state;
  }
  void set_norm(float norm) { put(this->norm(), norm); }
  void set_guard(float guard) { put(this->guard(), guard); }

 private:
  void put(Tensor tensor, float value) {
    device_.upload(tensor, &value);
    device_.synchronize();
  }
  Device& device_;
  Buffer norm_, guard_, state_;
};

// norm (1) of all of `values`: both ops that a whole norm takes.
inline void global_norm(Ops& ops, Device& device, Tensor norm, Tensor values) {
  const std::int64_t blocks = (values.size() + Ops::norm_block - 1) / Ops::norm_block;
  const Buffer sums = device.allocate(blocks * 8);
  ops.square_sums(sums.tensor(0, DType::f64, {blocks}), values);
  ops.norm(norm, sums.tensor(0, DType::f64, {blocks}));
  device.synchronize();
}

}  // namespace nll::test
