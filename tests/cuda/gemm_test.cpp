#include "kernels/cuda/gemm.h"

#include "kernels/cuda/product.h"
#include "tests/cuda/gemm_bench.h"

namespace nll::test {
namespace {

using cuda::Epilogue;
using cuda::GemmCall;
using cuda::Product;

const Product products[] = {Product::nn, Product::nt, Product::tn};
const Sizes sizes[] = {{1, 1, 1}, {3, 5, 7}, {33, 65, 17}, {64, 48, 80}, {128, 96, 40}, {1, 8, 300}};

// body(kind, sizes, in, out) for every product, shape and pair of types.
void for_every_kind(const std::function<void(Product, const Sizes&, DType, DType)>& body) {
  for (const Product kind : products) {
    for (const Sizes& s : sizes) {
      for (const DType in : number_types) {
        for (const DType out : {in, DType::f32}) {
          SCOPED_TRACE("product " + std::to_string(static_cast<int>(kind)) + " " + std::to_string(s.m) + "x" +
                       std::to_string(s.n) + "x" + std::to_string(s.k) + " " + type_name(in) + " to " + type_name(out));
          body(kind, s, in, out);
          if (in == DType::f32) break;
        }
      }
    }
  }
}

TEST(CudaGemm, EqualsItsFormulaAndAddsOnlyWhereAsked) {
  GemmBench bench;
  for_every_kind([&](Product kind, const Sizes& s, DType in, DType out) {
    const Operands operands(bench, kind, s, in);
    const Reals before = rounded(Random(2).normals(s.m * s.n), out);
    const Tensor c = bench.machine.put(before, {s.m, s.n}, out);
    GemmCall call = operands.call(kind, s, out, c);
    call.beta = 1;
    ASSERT_TRUE(bench.run(call));
    expect_close(bench.machine.get(c), sum(before, operands.expected), out, sum_terms(s.k));
    call.beta = 0;
    ASSERT_TRUE(bench.run(call));
    expect_close(bench.machine.get(c), operands.expected, out, sum_terms(s.k));
  });
}

TEST(CudaGemm, OurOwnProductEqualsItsFormulaToo) {
  GemmBench bench;
  cuda::Stream stream;
  for_every_kind([&](Product kind, const Sizes& s, DType in, DType out) {
    const Operands operands(bench, kind, s, in);
    const Reals before = rounded(Random(2).normals(s.m * s.n), out);
    const Tensor c = bench.machine.put(before, {s.m, s.n}, out);
    GemmCall call = operands.call(kind, s, out, c);
    for (const float beta : {1.0f, 0.0f}) {
      call.beta = beta;
      bench.machine.device().synchronize();
      cuda::own_product(stream, call);
      stream.synchronize();
      const Reals expected = beta == 1 ? sum(before, operands.expected) : operands.expected;
      expect_close(bench.machine.get(c), expected, out, sum_terms(s.k));
    }
  });
}

// Both epilogues that need the type of c to be that of a and b.
TEST(CudaGemm, BiasAndGeluAreDoneOnTheWayOut) {
  GemmBench bench;
  for_every_kind([&](Product kind, const Sizes& s, DType in, DType out) {
    if (in != out) return;
    const Operands operands(bench, kind, s, in);
    const Reals bias = rounded(Random(3).normals(s.n), out);
    Reals expected = operands.expected;
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += bias[i % bias.size()];
    const Tensor c = bench.machine.make({s.m, s.n}, out), auxiliary = bench.machine.make({s.m, s.n}, out);
    GemmCall call = operands.call(kind, s, out, c);
    call.bias = bench.machine.put(bias, {s.n}, out).data();
    call.epilogue = Epilogue::bias;
    if (bench.run(call)) expect_close(bench.machine.get(c), expected, out, sum_terms(s.k));
    call.epilogue = Epilogue::gelu_bias;
    call.auxiliary = auxiliary.data();
    if (bench.run(call)) {
      expect_close(bench.machine.get(auxiliary), expected, out, sum_terms(s.k));
      expect_gelu(bench.machine.get(c), expected, out, s.k);
    } else {
      // BF16 in whole tiles is what every network uses, and what the library has had for years.
      EXPECT_FALSE(in == DType::bf16 && kind == Product::nn && s.n % 8 == 0 && s.k % 8 == 0);
    }
  });
}

TEST(CudaGemm, TheSlopeOfGeluIsMultipliedOnTheWayOut) {
  GemmBench bench;
  for_every_kind([&](Product kind, const Sizes& s, DType in, DType out) {
    if (in != out) return;
    const Operands operands(bench, kind, s, in);
    const Reals pre = rounded(Random(4).normals(s.m * s.n, 2), out);
    const Tensor c = bench.machine.make({s.m, s.n}, out), kept = bench.machine.put(pre, {s.m, s.n}, out);
    GemmCall call = operands.call(kind, s, out, c);
    call.epilogue = Epilogue::gelu_backward;
    call.auxiliary = kept.data();
    if (!bench.run(call)) return;
    expect_close(bench.machine.get(c), times(operands.expected, gelu_slopes(pre)), out, sum_terms(s.k) + 16);
    EXPECT_EQ(bench.machine.get(kept), pre);
  });
}

TEST(CudaGemm, TheBiasGradientSumsTheSecondFactor) {
  GemmBench bench;
  for (const Sizes& s : sizes) {
    for (const DType in : number_types) {
      const Operands operands(bench, Product::tn, s, in);
      const Reals before = Random(5).normals(s.m * s.n), expected_sums = sums_over_rows(operands.b, s.n);
      for (const float beta : {0.0f, 1.0f}) {
        const Tensor c = bench.machine.put(before, {s.m, s.n});
        const Tensor sums = bench.machine.put(Reals(static_cast<std::size_t>(s.n), 7.0), {s.n});
        GemmCall call = operands.call(Product::tn, s, DType::f32, c);
        call.epilogue = Epilogue::bias_gradient;
        call.bias = sums.data();
        call.beta = beta;
        if (!bench.run(call)) continue;
        expect_close(bench.machine.get(sums), expected_sums, DType::f32, sum_terms(s.k));
        expect_close(bench.machine.get(c), beta == 1 ? sum(before, operands.expected) : operands.expected, DType::f32,
                     sum_terms(s.k));
      }
    }
  }
}

TEST(CudaGemm, ChoosesOnceForEachKindOfProduct) {
  GemmBench bench;
  const Sizes s{32, 48, 64};
  const Operands operands(bench, Product::nn, s, DType::bf16);
  const Tensor c = bench.machine.make({s.m, s.n}, DType::bf16);
  const GemmCall call = operands.call(Product::nn, s, DType::bf16, c);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(bench.run(call));
  EXPECT_EQ(bench.timed(), 1);
  GemmCall other = call;
  other.beta = 1;
  ASSERT_TRUE(bench.run(other));
  EXPECT_EQ(bench.timed(), 2);
}

TEST(CudaGemm, WithoutTuningTheFirstChoiceOfTheLibraryIsTaken) {
  BackendOptions options;
  options.product_tuning = false;
  GemmBench bench(options);
  const Sizes s{32, 48, 64};
  const Operands operands(bench, Product::nn, s, DType::f32);
  const Tensor c = bench.machine.make({s.m, s.n});
  ASSERT_TRUE(bench.run(operands.call(Product::nn, s, DType::f32, c)));
  EXPECT_EQ(bench.timed(), 0);
  expect_close(bench.machine.get(c), operands.expected, DType::f32, sum_terms(s.k));
}

TEST(CudaGemm, TensorFloatsRoundTheFactorsOnly) {
  BackendOptions options;
  options.tf32 = true;
  GemmBench bench(options);
  const Sizes s{64, 64, 128};
  const Operands operands(bench, Product::nt, s, DType::f32);
  const Tensor c = bench.machine.make({s.m, s.n});
  ASSERT_TRUE(bench.run(operands.call(Product::nt, s, DType::f32, c)));
  // Each factor has 11 bits: two errors of 2^-11 a product, whose sum grows like the root of their number.
  expect_close(bench.machine.get(c), operands.expected, DType::f32, sum_terms(s.k) * (1 << 13));
}

TEST(CudaGemm, SumsOverNothingAreZero) {
  GemmBench bench;
  const Tensor c = bench.machine.put({1, 2, 3, 4}, {2, 2});
  GemmCall call{Product::tn, 2, 2, 0, DType::f32, DType::f32, c.data(), c.data(), c.data(), 1};
  ASSERT_TRUE(bench.run(call));
  EXPECT_EQ(bench.machine.get(c), (Reals{1, 2, 3, 4}));
  call.beta = 0;
  ASSERT_TRUE(bench.run(call));
  EXPECT_EQ(bench.machine.get(c), Reals(4));
  EXPECT_EQ(bench.timed(), 0);
}

TEST(CudaGemm, RefusesCallsThatMakeNoSense) {
  GemmBench bench;
  const Tensor c = bench.machine.make({8, 8});
  GemmCall call{Product::nn, 8, 8, 8, DType::f32, DType::f32, c.data(), c.data(), c.data()};
  call.epilogue = Epilogue::bias_gradient;
  call.bias = c.data();
  EXPECT_THROW(bench.run(call), std::logic_error);
  call.product = Product::tn;
  call.bias = nullptr;
  EXPECT_THROW(bench.run(call), std::logic_error);
  call.epilogue = Epilogue::none;
  call.beta = 0.5f;
  EXPECT_THROW(bench.run(call), std::logic_error);
}

}  // namespace
}  // namespace nll::test
