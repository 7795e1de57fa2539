// Flash attention against FP64, through the op; and which way the op chooses.
#include <algorithm>
#include <set>

#include "kernels/cuda/flash_schedule.h"
#include "kernels/cuda/plain_attention.h"
#include "tests/cuda/attention_bounds.h"

namespace nll::test {
namespace {

// One call of the op, forward and backward, on outputs that hold NaN before.
struct Pass {
  Tensor y, lse, dqkv;
};
Pass run(CudaMachine& machine, const Reals& qkv, const Reals& dy, const AttentionDims& dims, DType type) {
  const Tensor packed = machine.put(qkv, {dims.batch, dims.time, 3 * dims.width()}, type);
  Pass pass;
  pass.y = machine.poisoned({dims.batch, dims.time, dims.width()}, type);
  pass.lse = machine.poisoned({dims.batch, dims.heads, dims.time});
  pass.dqkv = machine.poisoned({dims.batch, dims.time, 3 * dims.width()}, type);
  machine.ops().attention(pass.y, pass.lse, packed, dims.heads);
  const Tensor gradient = machine.put(dy, {dims.batch, dims.time, dims.width()}, type);
  machine.ops().attention_backward(pass.dqkv, gradient, pass.y, pass.lse, packed, dims.heads);
  return pass;
}

Reals random_packed(const AttentionDims& dims, DType type, double deviation, unsigned seed = 1) {
  Random random(seed);
  return rounded(random.normals(dims.batch * dims.time * 3 * dims.width(), deviation), type);
}
Reals random_gradient(const AttentionDims& dims, DType type) {
  Random random(2);
  return rounded(random.normals(dims.batch * dims.time * dims.width()), type);
}

void expect_right(CudaMachine& machine, const Reals& qkv, const AttentionDims& dims, DType type) {
  SCOPED_TRACE(type_name(type) + ", B " + std::to_string(dims.batch) + ", T " + std::to_string(dims.time) + ", H " +
               std::to_string(dims.heads) + ", D " + std::to_string(dims.head_size));
  const Reals dy = random_gradient(dims, type);
  const Pass pass = run(machine, qkv, dy, dims, type);
  const BoundedAttention expected = bounded_attention(qkv, dims, type);
  const Attention stored{machine.get(pass.y), machine.get(pass.lse)};
  expect_within(stored.y, expected.y);
  expect_within(stored.lse, expected.lse);
  expect_within(machine.get(pass.dqkv), bounded_attention_gradient(qkv, dy, stored, dims, type));
}

// Around the steps of 32 and 64 rows and the blocks of 64 and 128.
class FlashAttention : public testing::TestWithParam<std::tuple<DType, std::int64_t>> {
 protected:
  DType type() const { return std::get<0>(GetParam()); }
  std::int64_t head_size() const { return std::get<1>(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(, FlashAttention,
                         testing::Combine(testing::ValuesIn(half_types), testing::Values<std::int64_t>(64, 128)),
                         [](const auto& tested) {
                           return type_name(std::get<0>(tested.param)) + "_" +
                                  std::to_string(std::get<1>(tested.param));
                         });

TEST_P(FlashAttention, EqualsItsFormulaForLengthsAroundItsTiles) {
  CudaMachine machine;
  for (const std::int64_t time : {1, 2, 17, 63, 64, 65, 127, 128, 129, 200}) {
    const AttentionDims dims{1, time, 1, head_size()};
    expect_right(machine, random_packed(dims, type(), 1.5), dims, type());
  }
}

TEST_P(FlashAttention, EqualsItsFormulaForEveryHeadOfEverySequence) {
  CudaMachine machine;
  for (const AttentionDims& dims : {AttentionDims{3, 37, 2, head_size()}, AttentionDims{2, 66, 3, head_size()}}) {
    expect_right(machine, random_packed(dims, type(), 1), dims, type());
  }
}

// Scores up to several hundred: of most rows one key takes all, and its exponent would overflow.
TEST_P(FlashAttention, LargeScoresStayRight) {
  CudaMachine machine;
  const AttentionDims dims{1, 130, 1, head_size()};
  const Reals qkv = random_packed(dims, type(), 12);
  const BoundedAttention expected = bounded_attention(qkv, dims, type());
  const Reals& lse = expected.lse.value;
  EXPECT_GT(*std::max_element(lse.begin(), lse.end()), 300);
  expect_right(machine, qkv, dims, type());
}

// Every score is the same and far from zero: the running maximum is found in the first tile and never grows.
TEST_P(FlashAttention, EqualScoresWeighAllKeysAlike) {
  CudaMachine machine;
  const AttentionDims dims{1, 200, 1, head_size()};
  Reals qkv = random_packed(dims, type(), 1);
  for (std::size_t i = 0; i < qkv.size(); ++i) {
    const std::size_t which = i / static_cast<std::size_t>(dims.width()) % 3;
    if (which < 2) qkv[i] = which == 0 ? -4 : 4;
  }
  expect_right(machine, qkv, dims, type());
}

TEST_P(FlashAttention, RepeatsItsBits) {
  CudaMachine machine;
  const AttentionDims dims{1, 150, 2, head_size()};
  const Reals qkv = random_packed(dims, type(), 1), dy = random_gradient(dims, type());
  const Pass first = run(machine, qkv, dy, dims, type()), second = run(machine, qkv, dy, dims, type());
  EXPECT_EQ(machine.get_bytes(first.y), machine.get_bytes(second.y));
  EXPECT_EQ(machine.get_bytes(first.lse), machine.get_bytes(second.lse));
  EXPECT_EQ(machine.get_bytes(first.dqkv), machine.get_bytes(second.dqkv));
}

// What comes later changes no bit of what came before: of y, lse and dq.
TEST_P(FlashAttention, ThePastDoesNotSeeTheFuture) {
  CudaMachine machine;
  const AttentionDims dims{1, 140, 1, head_size()};
  const std::int64_t width = dims.width();
  const Reals qkv = random_packed(dims, type(), 1), dy = random_gradient(dims, type());
  const auto results = [&](const Pass& pass, std::int64_t before) {
    const auto all = [&](const Tensor& tensor) { return machine.get(tensor); };
    const Reals y = all(pass.y), lse = all(pass.lse), dqkv = all(pass.dqkv);
    Reals seen(y.begin(), y.begin() + before * width);
    seen.insert(seen.end(), lse.begin(), lse.begin() + before);
    for (std::int64_t t = 0; t < before; ++t) {
      seen.insert(seen.end(), dqkv.begin() + 3 * t * width, dqkv.begin() + (3 * t + 1) * width);
    }
    return seen;
  };
  const Pass untouched = run(machine, qkv, dy, dims, type());
  for (const std::int64_t token : {1, 31, 64, 100, 139}) {
    Reals changed = qkv;
    for (std::int64_t i = 3 * token * width; i < 3 * (token + 1) * width; ++i) changed[static_cast<std::size_t>(i)] = 7;
    const Pass pass = run(machine, changed, dy, dims, type());
    EXPECT_EQ(results(pass, token), results(untouched, token)) << "token " << token;
    EXPECT_NE(results(pass, token + 1), results(untouched, token + 1)) << "token " << token;
  }
}

// A sequence that is cut gives the bits of the whole one's beginning.
TEST_P(FlashAttention, TheLengthChangesNoBitOfARow) {
  CudaMachine machine;
  const AttentionDims whole{1, 170, 1, head_size()};
  const Reals qkv = random_packed(whole, type(), 1), dy = random_gradient(whole, type());
  const Reals y = machine.get(run(machine, qkv, dy, whole, type()).y);
  for (const std::int64_t time : {1, 40, 64, 129}) {
    const AttentionDims part{1, time, 1, head_size()};
    const Reals begin(qkv.begin(), qkv.begin() + time * 3 * part.width());
    const Reals gradient(dy.begin(), dy.begin() + time * part.width());
    EXPECT_EQ(machine.get(run(machine, begin, gradient, part, type()).y),
              Reals(y.begin(), y.begin() + time * part.width()))
        << "T " << time;
  }
}

TEST(FlashSchedule, HasEveryTileOfEveryHeadOnceAndLongTilesOfAGroupFirst) {
  cuda::AttentionCall call;
  call.type = DType::bf16;
  call.batch = 5, call.heads = 7, call.time = 8000, call.head_size = 128;
  const cuda::FlashSchedule schedule = cuda::flash_schedule(call, 128);
  EXPECT_EQ(schedule.tiles, 63);
  EXPECT_EQ(schedule.group, 4);  // 16 MiB / (2 * 8000 * 128 * 2 bytes)
  EXPECT_EQ(schedule.blocks(), 35u * 63u);
  std::set<std::pair<int, int>> done;
  int group = 0, order = 0;
  for (int block = 0; block < 35 * 63; ++block) {
    const cuda::FlashWork work = cuda::flash_work(schedule, block);
    ASSERT_TRUE(work.head >= 0 && work.head < 35 && work.order >= 0 && work.order < 63);
    EXPECT_TRUE(done.insert({work.head, work.order}).second);
    if (work.head / 4 != group) group = work.head / 4, order = 0;
    EXPECT_GE(work.order, order);
    order = work.order;
    EXPECT_EQ(work.own(schedule, 128), (work.head / 7 * std::int64_t{8000}) * 896 + work.head % 7 * 128);
    EXPECT_EQ(work.packed(schedule, 128), (work.head / 7 * std::int64_t{8000}) * 2688 + work.head % 7 * 128);
  }
  EXPECT_EQ(group, 8);
}

TEST(AttentionGradient, OfTheReferenceEqualsCentralDifferences) {
  Random random(3);
  const AttentionDims dims{2, 5, 2, 3};
  Reals qkv = random.normals(dims.batch * dims.time * 3 * dims.width());
  const Reals dy = random.normals(dims.batch * dims.time * dims.width());
  const Attention forward = attention(qkv, dims.batch, dims.time, dims.heads);
  const Reals expected =
      central_differences(qkv, [&] { return dot(dy, attention(qkv, dims.batch, dims.time, dims.heads).y); });
  const Reals found = attention_gradient(qkv, dy, forward, dims.batch, dims.time, dims.heads);
  // The differences of step h = 1e-5 are off by about h^2 and by the rounding of the loss (about 10) over h.
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-9) << "element " << i;
}

// Types and head sizes that flash does not take come from the plain kernels, bit for bit.
TEST(CudaAttention, OtherTypesAndHeadSizesAreComputedPlainly) {
  CudaMachine machine;
  const auto compare = [&](const AttentionDims& dims, DType type) {
    const Reals qkv = random_packed(dims, type, 1), dy = random_gradient(dims, type);
    const Pass pass = run(machine, qkv, dy, dims, type);
    cuda::Stream stream;
    cuda::Scratch scratch(stream);
    cuda::AttentionCall call;
    call.type = type;
    call.batch = dims.batch, call.time = dims.time, call.heads = dims.heads, call.head_size = dims.head_size;
    const Tensor packed = machine.put(qkv, {dims.batch, dims.time, 3 * dims.width()}, type);
    const Tensor gradient = machine.put(dy, {dims.batch, dims.time, dims.width()}, type);
    const Tensor y = machine.poisoned({dims.batch, dims.time, dims.width()}, type);
    const Tensor lse = machine.poisoned({dims.batch, dims.heads, dims.time});
    const Tensor dqkv = machine.poisoned({dims.batch, dims.time, 3 * dims.width()}, type);
    machine.device().synchronize();
    call.qkv = packed.data(), call.y = y.data(), call.lse = lse.as<float>();
    call.dy = gradient.data(), call.dqkv = dqkv.data();
    call.stream = stream.get(), call.scratch = &scratch;
    cuda::plain_attention_forward(call);
    cuda::plain_attention_backward(call);
    stream.synchronize();
    EXPECT_EQ(machine.get_bytes(pass.y), machine.get_bytes(y));
    EXPECT_EQ(machine.get_bytes(pass.lse), machine.get_bytes(lse));
    EXPECT_EQ(machine.get_bytes(pass.dqkv), machine.get_bytes(dqkv));
  };
  compare({1, 33, 1, 64}, DType::f32);
  compare({1, 20, 2, 32}, DType::bf16);
  compare({1, 20, 1, 80}, DType::f16);
}

TEST(CudaAttention, NothingIsNoWork) {
  CudaMachine machine;
  for (const AttentionDims& dims : {AttentionDims{0, 5, 2, 64}, AttentionDims{2, 0, 2, 64}}) {
    EXPECT_NO_THROW(run(machine, {}, {}, dims, DType::bf16));
  }
}

TEST(CudaAttention, RefusesTensorsThatDoNotFit) {
  CudaMachine machine;
  const Tensor qkv = machine.make({1, 4, 192}, DType::bf16), y = machine.make({1, 4, 64}, DType::bf16);
  const Tensor lse = machine.make({1, 1, 4});
  Ops& ops = machine.ops();
  EXPECT_THROW(ops.attention(y, lse, qkv, 5), std::logic_error);  // 64 is no multiple
  EXPECT_THROW(ops.attention(machine.make({1, 4, 64}), lse, qkv, 1), std::logic_error);
  EXPECT_THROW(ops.attention(y, machine.make({1, 1, 3}), qkv, 1), std::logic_error);
  EXPECT_THROW(ops.attention_backward(qkv, y, y, lse, qkv, 1), std::logic_error);  // into its own input
}

}  // namespace
}  // namespace nll::test
