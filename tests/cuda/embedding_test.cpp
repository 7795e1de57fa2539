#include <algorithm>
#include <limits>
#include <numeric>

#include "tests/cuda/machine.h"

namespace nll::test {
namespace {

using Tokens = std::vector<std::int32_t>;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

struct Case {
  std::int64_t batch, time, width, position;
  float rate;
};
const Case cases[] = {{1, 1, 1, 0, 0},       {2, 5, 7, 3, 0},   {3, 4, 33, 0, 0.25f},  {0, 4, 8, 0, 0.25f},
                      {1, 9, 64, 2, 0.5f},   {2, 7, 100, 9, 0}, {1, 9, 100, 2, 0.25f}, {2, 3, 768, 1, 0.1f},
                      {1, 3, 1600, 0, 0.9f}, {1, 2, 8200, 0, 0}};
constexpr std::int64_t vocabulary = 11, context = 16;

std::string text_of(const Case& c, const std::string& types) {
  return types + ", B " + std::to_string(c.batch) + ", T " + std::to_string(c.time) + ", C " + std::to_string(c.width);
}
Dropout dropout_of(const Case& c) { return {c.rate, 42, 77, 1000}; }

TEST(CudaEmbedding, AddsTokenAndPositionRows) {
  for (const StreamTypes& types : stream_types) {
    CudaMachine machine;
    for (const Case& c : cases) {
      SCOPED_TRACE(text_of(c, type_name(types)));
      Random random(1);
      const Reals wte = rounded(random.normals(vocabulary * c.width), types.compute);
      const Reals wpe = rounded(random.normals(context * c.width), types.compute);
      const Tokens tokens = random.below(vocabulary, c.batch * c.time);
      const Tensor x = machine.poisoned({c.batch, c.time, c.width}, types.residual);
      machine.ops().embedding(x, machine.put_ints(tokens, {c.batch, c.time}),
                              machine.put(wte, {vocabulary, c.width}, types.compute),
                              machine.put(wpe, {context, c.width}, types.compute), c.position, dropout_of(c));
      expect_close(machine.get(x), embedding(tokens, c.time, wte, wpe, c.width, c.position, dropout_of(c)),
                   types.residual, 3);
    }
  }
}

TEST(CudaEmbedding, HasTheBitsOfTheCpuInFp32) {
  for (const Case& c : cases) {
    if (c.batch == 0) continue;
    SCOPED_TRACE(text_of(c, "f32"));
    CudaMachine machine;
    Machine cpu;
    Random random(2);
    const Reals wte = random.normals(vocabulary * c.width), wpe = random.normals(context * c.width);
    const Tokens tokens = random.below(vocabulary, c.batch * c.time);
    const Tensor x = machine.make({c.batch, c.time, c.width}), on_cpu = cpu.make({c.batch, c.time, c.width});
    machine.ops().embedding(x, machine.put_ints(tokens, {c.batch, c.time}), machine.put(wte, {vocabulary, c.width}),
                            machine.put(wpe, {context, c.width}), c.position, dropout_of(c));
    cpu.ops().embedding(on_cpu, cpu.put_ints(tokens, {c.batch, c.time}), cpu.put(wte, {vocabulary, c.width}),
                        cpu.put(wpe, {context, c.width}), c.position, dropout_of(c));
    const std::vector<float> expected = cpu.get(on_cpu);
    EXPECT_EQ(machine.get(x), Reals(expected.begin(), expected.end()));
  }
}

TEST(CudaEmbedding, OfAnUnknownTokenIsNanAndLeavesTheOthersAlone) {
  for (const std::int64_t width : {7, 64}) {
    CudaMachine machine;
    const Tokens tokens = {
        0, -1, 10, 11, std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min()};
    const Tensor x = machine.make({1, 6, width});
    machine.ops().embedding(x, machine.put_ints(tokens, {1, 6}),
                            machine.put(Reals(at(vocabulary * width), 1.0), {vocabulary, width}),
                            machine.put(Reals(at(context * width), 2.0), {context, width}), 0, {});
    const Reals found = machine.get(x);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const std::int32_t token = tokens[i / at(width)];
      if (token >= 0 && token < vocabulary) {
        EXPECT_EQ(found[i], 3.0);
      } else {
        EXPECT_TRUE(std::isnan(found[i]));
      }
    }
  }
}

TEST(CudaEmbedding, RefusesPositionsOutsideTheContext) {
  CudaMachine machine;
  const Tensor x = machine.make({1, 2, 4}), wte = machine.make({5, 4}), wpe = machine.make({8, 4});
  EXPECT_THROW(machine.ops().embedding(x, machine.put_ints({0, 0}, {1, 2}), wte, wpe, 7, {}), std::logic_error);
  EXPECT_THROW(
      machine.ops().embedding_backward(wte, machine.make({1, 4}), Into::write, x, machine.put_ints({0, 0}, {1, 2}), {}),
      std::logic_error);
}

// One backward: gradients in FP64, by the formula of kernels/ops.h.
struct Gradients {
  Gradients(const Tokens& tokens, const Reals& dx, const Case& c, std::int64_t tokens_known)
      : dwte(at(tokens_known * c.width)), dwpe(at(context * c.width)) {
    const Reals factors = dropout_factors(dropout_of(c), c.batch * c.time, c.width);
    for (std::int64_t i = 0; i < c.batch * c.time; ++i) {
      const std::int64_t token = tokens[at(i)];
      for (std::int64_t column = 0; column < c.width; ++column) {
        const double gradient = factors[at(i * c.width + column)] * dx[at(i * c.width + column)];
        dwpe[at(i % c.time * c.width + column)] += gradient;
        if (token >= 0 && token < tokens_known) dwte[at(token * c.width + column)] += gradient;
      }
    }
  }
  Reals dwte, dwpe;
};

// A sum of up to n gradients of size 1: roundings of partial sums that grow like the root of n.
double sum_roundings(std::int64_t n) { return 2 * std::sqrt(static_cast<double>(n)) + 8; }
double sum_size(std::int64_t n) { return 4 * std::sqrt(static_cast<double>(n) + 1); }

void expect_backward(CudaMachine& machine, const Case& c, DType type, const Tokens& tokens, std::int64_t known) {
  Random random(3);
  const std::int64_t n = c.batch * c.time;
  const Reals dx = rounded(random.normals(n * c.width), type);
  const Reals dwte_before = random.normals(known * c.width), dwpe_before = random.normals(context * c.width);
  const Gradients expected(tokens, dx, c, known);
  const Tensor gradient = machine.put(dx, {c.batch, c.time, c.width}, type);
  const Tensor ids = machine.put_ints(tokens, {c.batch, c.time});
  for (const Into into : {Into::write, Into::add}) {
    const Tensor dwte = machine.put(dwte_before, {known, c.width});
    const Tensor dwpe =
        into == Into::add ? machine.put(dwpe_before, {context, c.width}) : machine.poisoned({context, c.width});
    machine.ops().embedding_backward(dwte, dwpe, into, gradient, ids, dropout_of(c));
    expect_close(machine.get(dwte), sum(dwte_before, expected.dwte), DType::f32, sum_roundings(n), sum_size(n));
    expect_close(machine.get(dwpe), into == Into::add ? sum(dwpe_before, expected.dwpe) : expected.dwpe, DType::f32,
                 sum_roundings(c.batch), sum_size(c.batch));
  }
}

TEST(CudaEmbedding, BackwardAddsEveryTokenToItsRow) {
  for (const DType type : number_types) {
    CudaMachine machine;
    for (const Case& c : cases) {
      SCOPED_TRACE(text_of(c, type_name(type)));
      expect_backward(machine, c, type, Random(4).below(vocabulary, c.batch * c.time), vocabulary);
    }
  }
}

// Runs that end in the middle of a tile, at its end, and many tiles later; with and without 16-byte accesses.
TEST(CudaEmbedding, BackwardAddsRunsOfAnyLength) {
  CudaMachine machine;
  for (const std::int64_t width : {3, 8}) {
    const Case c{150, 10, width, 0, 0.25f};
    const std::int64_t n = c.batch * c.time;
    SCOPED_TRACE("C " + std::to_string(width));
    Tokens tokens(at(n), 7);
    expect_backward(machine, c, DType::bf16, tokens, 11);  // one run
    std::iota(tokens.begin(), tokens.end(), 0);
    std::reverse(tokens.begin(), tokens.end());
    expect_backward(machine, c, DType::bf16, tokens, n);  // none
    for (std::int64_t i = 0; i < n; ++i) tokens[at(i)] = static_cast<std::int32_t>(i / 32 % 5);
    expect_backward(machine, c, DType::bf16, tokens, 5);
    for (std::int64_t i = 0; i < n; ++i) tokens[at(i)] = static_cast<std::int32_t>(i < 33 ? 0 : i < 1200 ? 1 : i % 300);
    expect_backward(machine, c, DType::bf16, tokens, 300);
  }
}

TEST(CudaEmbedding, BackwardSkipsUnknownTokens) {
  CudaMachine machine;
  const Case c{5, 16, 8, 0, 0};
  Tokens tokens = Random(5).below(vocabulary, c.batch * c.time);
  for (std::size_t i = 0; i < tokens.size(); i += 2)
    tokens[i] = static_cast<std::int32_t>(i % 3 == 0 ? -1 - i : 11 + i);
  expect_backward(machine, c, DType::f32, tokens, vocabulary);
  expect_backward(machine, c, DType::f32, Tokens(tokens.size(), -1), vocabulary);
}

TEST(CudaEmbedding, BackwardSortsByTheBitsOfTheVocabulary) {
  CudaMachine machine;
  const Case c{200, 14, 1, 0, 0};  // two tiles of the sort
  for (const std::int32_t known : {1, 2, 255, 256, 257, 70000}) {
    SCOPED_TRACE("V " + std::to_string(known));
    expect_backward(machine, c, DType::f32, Random(6).below(known, c.batch * c.time), known);
  }
}

TEST(CudaEmbedding, BackwardGivesTheSameBitsEachTime) {
  CudaMachine machine;
  const Case c{20, 16, 24, 0, 0.1f};
  Random random(7);
  const Tensor dx = machine.put(random.normals(c.batch * c.time * c.width), {c.batch, c.time, c.width}, DType::f16);
  const Tensor ids = machine.put_ints(random.below(4, c.batch * c.time), {c.batch, c.time});
  std::vector<std::uint8_t> first;
  for (int repeat = 0; repeat < 2; ++repeat) {
    const Tensor dwte = machine.make({4, c.width}), dwpe = machine.make({context, c.width});
    machine.ops().embedding_backward(dwte, dwpe, Into::write, dx, ids, dropout_of(c));
    if (repeat == 0) first = machine.get_bytes(dwte);
    EXPECT_EQ(machine.get_bytes(dwte), first);
  }
}

TEST(CudaDropout, SurvivesASplitInRows) {
  for (const std::int64_t width : {13, 16}) {
    CudaMachine machine;
    constexpr std::int64_t time = 6;
    const Tensor wte = machine.put(Reals(at(width), 1.0), {1, width}), wpe = machine.make({time, width});
    const auto embedded = [&](std::int64_t batch, std::int64_t first_row) {
      const Tensor x = machine.make({batch, time, width});
      machine.ops().embedding(x, machine.put_ints(Tokens(at(batch * time)), {batch, time}), wte, wpe, 0,
                              {0.3f, 9, 5, first_row});
      return machine.get(x);
    };
    const Reals whole = embedded(4, 0);
    EXPECT_GT(std::count(whole.begin(), whole.end(), 0.0), 0);
    for (std::int64_t b = 0; b < 4; ++b) {
      const auto part = whole.begin() + b * time * width;
      EXPECT_EQ(embedded(1, b * time), Reals(part, part + time * width));
    }
  }
}

TEST(CudaDropout, AddsTheOffsetThatLiesInMemory) {
  CudaMachine machine;
  constexpr std::int64_t time = 4, width = 12;
  const Tensor wte = machine.put(Reals(width, 1.0), {1, width}), wpe = machine.make({time, width});
  const Tensor ids = machine.put_ints(Tokens(time), {1, time});
  const auto embedded = [&](const Dropout& dropout) {
    const Tensor x = machine.make({1, time, width});
    machine.ops().embedding(x, ids, wte, wpe, 0, dropout);
    return machine.get(x);
  };
  const DropoutOffset offset{std::uint64_t{3} << 40, 100};
  const Tensor in_memory = machine.make({sizeof(DropoutOffset)}, DType::u8);
  machine.device().upload(in_memory, &offset);
  const Dropout dropout{0.5f, 9, 5, 7}, expected{0.5f, 9, 5 + offset.stream, 107};
  Dropout with_offset = dropout;
  with_offset.offset = in_memory;
  EXPECT_EQ(embedded(with_offset), embedded(expected));
  EXPECT_NE(embedded(with_offset), embedded(dropout));
}

}  // namespace
}  // namespace nll::test
