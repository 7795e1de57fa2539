// Linear layers and products where cuBLASLt lacks algorithms: for one epilogue or another, or for the product at all.
#include <cublasLt.h>

#include "tests/cuda/gemm_bench.h"
#include "tests/cuda_on_host/pretended_gpu.h"

namespace nll::test {
namespace {

using cuda::Epilogue;
using cuda::GemmCall;
using cuda::Product;
using cuda_on_host::census;
using cuda_on_host::pretended_gpu;
using cuda_on_host::PretendedGpuScope;

const std::vector<int> every_epilogue = {CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
                                         CUBLASLT_EPILOGUE_DGELU, CUBLASLT_EPILOGUE_BGRADA};
constexpr std::int64_t rows = 24, inputs = 16, outputs = 40;

// One layer, forward and backward, against its formula. Returns how many kernels of our own it took.
std::uint64_t kernels_of_a_layer(CudaMachine& machine, DType type) {
  Random random(1);
  const Reals x = rounded(random.normals(rows * inputs), type), w = rounded(random.normals(inputs * outputs), type);
  const Reals bias = rounded(random.normals(outputs), type), dy = rounded(random.normals(rows * outputs), type);
  const Reals pre = rounded(random.normals(rows * inputs), type);
  const Tensor tx = machine.put(x, {rows, inputs}, type), tw = machine.put(w, {inputs, outputs}, type);
  const Tensor tbias = machine.put(bias, {outputs}, type), tdy = machine.put(dy, {rows, outputs}, type);
  const Tensor tpre = machine.put(pre, {rows, inputs}, type);
  const Tensor y = machine.make({rows, outputs}, type), kept = machine.make({rows, outputs}, type);
  const Tensor gelu_y = machine.make({rows, outputs}, type), dpre = machine.make({rows, inputs}, type);
  const Tensor dw = machine.make({inputs, outputs}), dbias = machine.make({outputs});
  machine.device().synchronize();
  const std::uint64_t before = census().kernels;
  machine.ops().linear(y, tx, tw, tbias);
  machine.ops().linear_gelu(gelu_y, kept, tx, tw, tbias);
  machine.ops().linear_backward_gelu(dpre, dw, dbias, Into::write, tdy, tx, tw, tpre);
  machine.device().synchronize();
  const std::uint64_t kernels = census().kernels - before;

  const Reals expected = linear(x, w, bias, inputs);
  expect_close(machine.get(y), expected, type, sum_terms(inputs));
  expect_close(machine.get(kept), expected, type, sum_terms(inputs));
  expect_gelu(machine.get(gelu_y), expected, type, inputs);
  const Reals dx = product(Product::nt, dy, w, {rows, inputs, outputs});
  const Reals slopes = gelu_slopes(pre), expected_dpre = times(dx, slopes);
  Reals bounds = expected_dpre;
  for (double& bound : bounds) {
    bound = 2.01 * unit_of(type) * std::abs(bound) + 1.13 * epsilon * (sum_terms(outputs) + 16) * largest(dx);
  }
  expect_within(machine.get(dpre), expected_dpre, bounds);
  expect_close(machine.get(dw), product(Product::tn, x, dy, {inputs, outputs, rows}), DType::f32, sum_terms(rows));
  expect_close(machine.get(dbias), sums_over_rows(dy, outputs), DType::f32, sum_terms(rows));
  return kernels;
}

TEST(ProductFallback, WithAllEpiloguesALayerTakesNoKernelOfOurOwn) {
  for (const DType type : number_types) {
    CudaMachine machine;
    EXPECT_EQ(kernels_of_a_layer(machine, type), 0u) << type_name(type);
  }
}

TEST(ProductFallback, EachMissingEpilogueIsDoneByAKernel) {
  const PretendedGpuScope scope;
  for (const DType type : number_types) {
    for (const int epilogue : every_epilogue) {
      pretended_gpu().epilogues_without_algorithm = {epilogue};
      CudaMachine machine;
      EXPECT_GT(kernels_of_a_layer(machine, type), 0u) << type_name(type) << ", epilogue " << epilogue;
    }
    pretended_gpu().epilogues_without_algorithm = every_epilogue;
    CudaMachine machine;
    // Rows of bias twice, GELU, its slope, and two passes for the bias gradient.
    EXPECT_EQ(kernels_of_a_layer(machine, type), 6u) << type_name(type);
  }
}

TEST(ProductFallback, WithoutAnyAlgorithmOurOwnProductIsTaken) {
  const PretendedGpuScope scope;
  pretended_gpu().epilogues_without_algorithm = every_epilogue;
  pretended_gpu().epilogues_without_algorithm.push_back(CUBLASLT_EPILOGUE_DEFAULT);
  for (const DType type : number_types) {
    CudaMachine machine;
    const std::uint64_t products = census().products;
    EXPECT_EQ(kernels_of_a_layer(machine, type), 10u) << type_name(type);
    EXPECT_EQ(census().products, products);
  }
}

TEST(ProductFallback, AMissingAlgorithmIsRememberedAndNothingIsQueued) {
  const PretendedGpuScope scope;
  pretended_gpu().epilogues_without_algorithm = {CUBLASLT_EPILOGUE_DGELU};
  GemmBench bench;
  const Sizes s{16, 24, 8};
  const Operands operands(bench, Product::nt, s, DType::bf16);
  const Tensor c = bench.machine.make({s.m, s.n}, DType::bf16), kept = bench.machine.make({s.m, s.n}, DType::bf16);
  GemmCall call = operands.call(Product::nt, s, DType::bf16, c);
  call.epilogue = Epilogue::gelu_backward;
  call.auxiliary = kept.data();
  const cuda_on_host::Census before = census();
  EXPECT_FALSE(bench.run(call));
  pretended_gpu().epilogues_without_algorithm = {};
  EXPECT_FALSE(bench.run(call)) << "the library was asked again";
  EXPECT_EQ(census().kernels, before.kernels);
  EXPECT_EQ(census().products, before.products);
}

TEST(ProductFallback, WithoutRoomForTimingTheFirstChoiceDoesAndIsNotKept) {
  const PretendedGpuScope scope;
  GemmBench bench;
  const Sizes s{16, 24, 8};
  const Operands operands(bench, Product::nn, s, DType::f32);
  const Tensor c = bench.machine.make({s.m, s.n});
  pretended_gpu().failing_mallocs = 1;
  EXPECT_TRUE(bench.run(operands.call(Product::nn, s, DType::f32, c)));
  EXPECT_EQ(bench.timed(), 0);
  expect_close(bench.machine.get(c), operands.expected, DType::f32, sum_terms(s.k));
}

TEST(ProductFallback, TimingTouchesNoResult) {
  // A product that adds would show it: each timed run would add once more.
  GemmBench bench;
  const Sizes s{16, 24, 8};
  const Operands operands(bench, Product::tn, s, DType::bf16);
  const Tensor c = bench.machine.put(Reals(16 * 24, 1.0), {s.m, s.n}), sums = bench.machine.put(Reals(24, 5.0), {s.n});
  GemmCall call = operands.call(Product::tn, s, DType::f32, c);
  call.beta = 1;
  call.epilogue = Epilogue::bias_gradient;
  call.bias = sums.data();
  const std::uint64_t before = census().products;
  ASSERT_TRUE(bench.run(call));
  EXPECT_GT(census().products - before, 4u) << "nothing was timed";
  expect_close(bench.machine.get(c), sum(Reals(16 * 24, 1.0), operands.expected), DType::f32, sum_terms(s.k));
  expect_close(bench.machine.get(sums), sums_over_rows(operands.b, s.n), DType::f32, sum_terms(s.k));
}

}  // namespace
}  // namespace nll::test
