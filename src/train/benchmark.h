// Benchmark: times single ops at a model's shapes, and whole training steps, on one device.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/ops.h"
#include "src/config/config.h"
#include "src/model/gpt.h"

namespace nll {

struct OpTiming {
  std::string name;
  double seconds = 0;         // median
  double flops = 0;           // of one call
  double bytes = 0;           // read and written by one call if nothing stays in a cache
  std::int64_t per_step = 0;  // calls in one training step
};

struct StepTiming {
  double seconds = 0, fastest = 0, slowest = 0;            // median and range
  double forward = 0, head = 0, backward = 0, update = 0;  // medians of its parts
};

class Benchmark {
 public:
  Benchmark(const ModelConfig& model, std::int64_t batch, std::int64_t context, Backend& backend);
  // All ops, or the one of that name. Stops early when asked.
  std::vector<OpTiming> ops(const std::string& only, const std::function<bool()>& stop_requested);
  // Forward, head, backward and AdamW on random tokens.
  StepTiming steps(int count, const std::function<bool()>& stop_requested);
  std::string op_names() const;
  double sgemm_before() const { return sgemm_gflops_; }
  double bandwidth_gbytes() const { return bandwidth_gbytes_; }

 private:
  struct Case {
    OpTiming timing;
    std::function<void()> run;
  };
  std::vector<Case> cases();
  Tensor filled(std::initializer_list<std::int64_t> dims);  // small random values, FP32
  Tensor random_tokens(std::initializer_list<std::int64_t> dims);

  ModelConfig model_;
  std::int64_t B_, T_;
  Device& device_;
  Ops& ops_;
  double sgemm_gflops_ = 0, bandwidth_gbytes_ = 0;
  std::vector<Buffer> buffers_;
};

}  // namespace nll
