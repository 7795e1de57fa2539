// ReferenceModel: the model that an objective compares with, kept beside the one that is trained.
#pragma once
#include <memory>
#include <string>

#include "kernels/arena.h"
#include "src/model/parameters.h"
#include "src/train/task.h"

namespace nll {

class ReferenceModel {
 public:
  explicit ReferenceModel(const TaskContext& context);
  const GptTensors& weights() const { return weights_; }
  Tensor master() const { return master_[0]; }  // FP32

 private:
  Arena master_, rounded_;
  GptTensors weights_;
};

// Where the plan keeps one (keeps_reference), else null.
std::unique_ptr<ReferenceModel> load_reference(const TaskContext& context);

}  // namespace nll
