// GemmBench: a Gemm of its own beside a machine that holds its operands.
#pragma once
#include "tests/cuda/matrices.h"

namespace nll::test {

class GemmBench {
 public:
  explicit GemmBench(const BackendOptions& options = {})
      : stream_(std::make_shared<cuda::Stream>()), gemm_(stream_, options) {}
  // Runs the product and waits for it.
  bool run(const cuda::GemmCall& call) {
    machine.device().synchronize();
    const bool done = gemm_.run(call);
    stream_->synchronize();
    return done;
  }
  std::int64_t timed() const { return gemm_.timed(); }

  CudaMachine machine;

 private:
  std::shared_ptr<cuda::Stream> stream_;
  cuda::Gemm gemm_;
};

// The operands of a product as numbers of `in`, and its result in FP64.
struct Operands {
  Operands(GemmBench& bench, cuda::Product kind, const Sizes& s, DType in, unsigned seed = 1) {
    Random random(seed);
    a = rounded(random.normals(s.m * s.k), in);
    b = rounded(random.normals(s.k * s.n), in);
    expected = product(kind, a, b, s);
    first = bench.machine.put(a, {s.m * s.k}, in);
    second = bench.machine.put(b, {s.k * s.n}, in);
  }
  cuda::GemmCall call(cuda::Product kind, const Sizes& s, DType out, const Tensor& c) const {
    return {kind, s.m, s.n, s.k, first.type(), out, first.data(), second.data(), c.data()};
  }
  Reals a, b, expected;
  Tensor first, second;
};

}  // namespace nll::test
