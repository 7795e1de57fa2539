#include "kernels/ops.h"

#include "tests/cuda/matrices.h"

namespace nll::test {
namespace {

using cuda::Product;

struct Case {
  std::int64_t n, vocabulary, width;
};
const Case cases[] = {{1, 1, 1}, {3, 130, 7}, {9, 65, 33}, {40, 128, 64}, {1, 300, 24}};

void for_every_case(const std::function<void(CudaMachine&, const Case&, DType)>& body) {
  CudaMachine machine;
  for (const DType type : number_types) {
    for (const Case& c : cases) {
      SCOPED_TRACE(type_name(type) + ", " + std::to_string(c.n) + " tokens, " + std::to_string(c.vocabulary) + " x " +
                   std::to_string(c.width));
      body(machine, c, type);
    }
  }
}

TEST(CudaHead, LogitsAreNotRoundedToTheTypeOfTheirFactors) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type) {
    Random random(1);
    const Reals h = rounded(random.normals(c.n * c.width), type);
    const Reals wte = rounded(random.normals(c.vocabulary * c.width), type);
    const Reals expected = product(Product::nt, h, wte, {c.n, c.vocabulary, c.width});
    const Tensor in = machine.put(h, {c.n, c.width}, type), weight = machine.put(wte, {c.vocabulary, c.width}, type);
    for (const DType logits_type : {DType::f32, type}) {
      const Tensor logits = machine.make({c.n, c.vocabulary}, logits_type);
      machine.ops().head_logits(logits, in, weight);
      expect_close(machine.get(logits), expected, logits_type, sum_terms(c.width));
    }
  });
}

TEST(CudaHead, BackwardEqualsItsFormula) {
  for_every_case([](CudaMachine& machine, const Case& c, DType type) {
    Random random(2);
    const Reals h = rounded(random.normals(c.n * c.width), type);
    const Reals wte = rounded(random.normals(c.vocabulary * c.width), type);
    const Reals dlogits = rounded(random.normals(c.n * c.vocabulary), type);
    const Reals before = random.normals(c.vocabulary * c.width);
    const Reals expected_dh = product(Product::nn, dlogits, wte, {c.n, c.width, c.vocabulary});
    const Reals expected_dwte = product(Product::tn, dlogits, h, {c.vocabulary, c.width, c.n});
    const Tensor in = machine.put(h, {c.n, c.width}, type), weight = machine.put(wte, {c.vocabulary, c.width}, type);
    const Tensor gradient = machine.put(dlogits, {c.n, c.vocabulary}, type);
    for (const Into into : {Into::write, Into::add}) {
      const Tensor dh = machine.make({c.n, c.width}, type), dwte = machine.put(before, {c.vocabulary, c.width});
      machine.ops().head_backward(dh, dwte, into, gradient, in, weight);
      expect_close(machine.get(dh), expected_dh, type, sum_terms(c.vocabulary));
      expect_close(machine.get(dwte), into == Into::add ? sum(before, expected_dwte) : expected_dwte, DType::f32,
                   sum_terms(c.n));
    }
    const Tensor dh = machine.make({c.n, c.width}, type), dwte = machine.make({c.vocabulary, c.width});
    machine.ops().head_backward(dh, {}, Into::write, gradient, in, weight);
    machine.ops().head_backward({}, dwte, Into::write, gradient, in, weight);
    expect_close(machine.get(dh), expected_dh, type, sum_terms(c.vocabulary));
    expect_close(machine.get(dwte), expected_dwte, DType::f32, sum_terms(c.n));
  });
}

TEST(CudaHead, NamesTheTensorOfTheWrongType) {
  CudaMachine machine;
  const Tensor h = machine.make({2, 3}, DType::bf16), wte = machine.make({4, 3}, DType::bf16);
  try {
    machine.ops().head_logits(machine.make({2, 4}, DType::f16), h, wte);
    FAIL() << "logits of a third type went through";
  } catch (const std::logic_error& error) {
    EXPECT_NE(std::string(error.what()).find("logits f16 (2, 4) == logits f32 (2, 4)"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace nll::test
