// Benchmark: times single ops at a model's shapes, and whole training steps, on one device, in the types that a run
// there computes in.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/ops.h"
#include "src/config/config.h"
#include "src/model/numerics.h"
#include "src/train/plan.h"
#include "src/train/speed_of_light.h"

namespace nll {

struct OpTiming {
  std::string name;
  double seconds = 0;   // median
  double flops = 0;     // of one call
  double bytes = 0;     // read and written by one call if nothing stays in a cache
  double per_step = 0;  // calls in one training step; of the update, as if the whole arena were calls like this one
  Stage stage = Stage::block_products;
};

struct StepTiming {
  double seconds = 0, fastest = 0, slowest = 0;            // median and range
  double forward = 0, head = 0, backward = 0, update = 0;  // medians of its parts, all micro-batches together
  double first_loss = 0, last_loss = 0, last_norm = 0;
};

// What this device does at best, measured: operations and bytes a second.
struct MachineLimits {
  double matmul = 0, memory = 0;
};
MachineLimits measure_limits(Backend& backend, const Numerics& numerics);

// max(FLOPs / peak, bytes / bandwidth) / time: 1 where an op is as fast as the limits allow.
double share_of_roof(const OpTiming& op, const MachineLimits& limits);

// What a step's ops took, stage by stage; what is left of the whole step is "accumulation and gaps".
StepTime measured_stages(const std::vector<OpTiming>& ops, double step_seconds);

class Benchmark {
 public:
  // Of `config` counts what make_plan() and TrainStep read; model.context is the length of the sequences.
  Benchmark(const Config& config, Backend& backend);
  // All ops, or the one of that name. Stops early when asked. On a device that queues its work a recording of many
  // calls is timed, so that what it takes to queue a call does not count; the caches stay as the call before left them.
  std::vector<OpTiming> ops(const std::string& only, const std::function<bool()>& stop_requested);
  // Whole optimizer steps on random tokens as the trainer does them (TrainStep): micro-batches, update, loss and norm
  // read each step; then its parts by themselves, each waited for. Throws Error(diverged) when a norm is not finite.
  StepTiming steps(int count, const std::function<bool()>& stop_requested);
  std::string op_names() const;
  const TrainPlan& plan() const { return plan_; }

 private:
  struct Case {
    OpTiming timing;
    std::function<void()> run;
  };
  std::vector<Case> cases();
  double time_call(const std::function<void()>& run);
  void time_parts(StepTiming& timing, int count, const std::function<bool()>& stop_requested);
  Tensor filled(DType type, std::initializer_list<std::int64_t> dims);  // small random values
  Tensor random_tokens(std::initializer_list<std::int64_t> dims);

  Config config_;
  Backend& backend_;
  Device& device_;
  Ops& ops_;
  TrainPlan plan_;
  std::vector<Buffer> buffers_;
  Buffer random_;  // FP32 values that tensors are filled from
};

}  // namespace nll
