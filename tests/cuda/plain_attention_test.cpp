// Plain attention against FP64, called by itself: the op chooses it only where nothing faster fits.
#include "kernels/cuda/plain_attention.h"

#include "tests/cuda/attention_rows.h"

namespace nll::test {
namespace {

struct Case {
  std::int64_t batch, time, heads, head_size;
  std::int64_t width() const { return heads * head_size; }
};
// Around the tiles of 16, 32 and 64 rows and the head sizes where they change.
const Case cases[] = {{1, 1, 1, 1},   {2, 7, 3, 5},   {1, 65, 2, 16},  {1, 130, 1, 33},
                      {1, 70, 1, 64}, {1, 66, 1, 80}, {1, 33, 2, 130}, {1, 40, 1, 256}};

// A call on tensors of a machine, in a stream of its own.
class Plain {
 public:
  Plain(CudaMachine& machine, const Case& c, DType type) : machine_(machine), scratch_(stream_) {
    call.type = type;
    call.batch = c.batch, call.time = c.time, call.heads = c.heads, call.head_size = c.head_size;
    call.stream = stream_.get();
    call.scratch = &scratch_;
  }
  void forward() { run(cuda::plain_attention_forward); }
  void backward() { run(cuda::plain_attention_backward); }
  cuda::AttentionCall call;

 private:
  void run(void (*way)(const cuda::AttentionCall&)) {
    machine_.device().synchronize();
    way(call);
    stream_.synchronize();
  }
  CudaMachine& machine_;
  cuda::Stream stream_;
  cuda::Scratch scratch_;
};

std::string text(const Case& c, DType type) {
  return type_name(type) + ", B " + std::to_string(c.batch) + ", T " + std::to_string(c.time) + ", H " +
         std::to_string(c.heads) + ", D " + std::to_string(c.head_size);
}

// An element is a sum of `terms` FP32 roundings of parts up to `parts`, then rounded to its type.
void expect_rows(const Reals& found, const Reals& expected, DType type, double terms, double parts) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double bound = epsilon * terms * parts + unit_of(type) * std::abs(expected[i]) + std::ldexp(1.0, -25);
    ASSERT_NEAR(found[i], expected[i], bound) << "element " << i;
  }
}

double largest_of(const Reals& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// Scores are sums of D products; their error goes through exp.
double score_terms(const Case& c) { return 16 * std::sqrt(static_cast<double>(c.head_size)) + 32; }

TEST(PlainAttention, EqualsItsFormulaForEveryTypeAndRepeatsItsBits) {
  CudaMachine machine;
  for (const DType type : number_types) {
    for (const Case& c : cases) {
      SCOPED_TRACE(text(c, type));
      Random random(1);
      const Reals qkv = rounded(random.normals(c.batch * c.time * 3 * c.width(), 1.5), type);
      const Attention expected = attention(qkv, c.batch, c.time, c.heads);
      Plain plain(machine, c, type);
      const Tensor tqkv = machine.put(qkv, {c.batch, c.time, 3 * c.width()}, type);
      const Tensor y = machine.make({c.batch, c.time, c.width()}, type),
                   again = machine.make({c.batch, c.time, c.width()}, type);
      const Tensor lse = machine.make({c.batch, c.heads, c.time});
      plain.call.qkv = tqkv.data(), plain.call.y = y.data(), plain.call.lse = lse.as<float>();
      plain.forward();
      expect_rows(machine.get(y), expected.y, type, score_terms(c), largest_of(expected.y));
      expect_rows(machine.get(lse), expected.lse, DType::f32, score_terms(c), std::max(4.0, largest_of(expected.lse)));
      plain.call.y = again.data();
      plain.forward();
      EXPECT_EQ(machine.get_bytes(y), machine.get_bytes(again));
    }
  }
}

TEST(PlainAttention, BackwardEqualsItsFormulaForEveryTypeAndRepeatsItsBits) {
  CudaMachine machine;
  for (const DType type : number_types) {
    for (const Case& c : cases) {
      SCOPED_TRACE(text(c, type));
      Random random(2);
      const Reals qkv = rounded(random.normals(c.batch * c.time * 3 * c.width()), type);
      const Reals dy = rounded(random.normals(c.batch * c.time * c.width()), type);
      // The backward is given what the forward stored, with its roundings.
      Attention forward = attention(qkv, c.batch, c.time, c.heads);
      forward.y = rounded(forward.y, type);
      forward.lse = rounded(forward.lse, DType::f32);
      const Reals expected = attention_gradient(qkv, dy, forward, c.batch, c.time, c.heads);
      Plain plain(machine, c, type);
      const Tensor tqkv = machine.put(qkv, {c.batch, c.time, 3 * c.width()}, type);
      const Tensor tdy = machine.put(dy, {c.batch, c.time, c.width()}, type);
      const Tensor y = machine.put(forward.y, {c.batch, c.time, c.width()}, type);
      const Tensor lse = machine.put(forward.lse, {c.batch, c.heads, c.time});
      const Tensor dqkv = machine.make({c.batch, c.time, 3 * c.width()}, type);
      const Tensor again = machine.make({c.batch, c.time, 3 * c.width()}, type);
      plain.call.qkv = tqkv.data(), plain.call.y = y.data(), plain.call.lse = lse.as<float>();
      plain.call.dy = tdy.data(), plain.call.dqkv = dqkv.data();
      plain.backward();
      // Sums over up to T positions of products of such scores.
      const double terms = 2 * score_terms(c) + 8 * std::sqrt(static_cast<double>(c.time));
      expect_rows(machine.get(dqkv), expected, type, terms, std::max(1.0, largest_of(expected)));
      plain.call.dqkv = again.data();
      plain.backward();
      EXPECT_EQ(machine.get_bytes(dqkv), machine.get_bytes(again));
    }
  }
}

TEST(PlainAttention, LargeScoresDoNotOverflow) {
  CudaMachine machine;
  const Case c{1, 20, 1, 8};
  Random random(3);
  Reals qkv = random.normals(c.time * 3 * c.width(), 100);
  const Attention expected = attention(Reals(qkv.begin(), qkv.end()), 1, 1, 1);  // position 0 sees itself alone
  Plain plain(machine, c, DType::f32);
  const Tensor tqkv = machine.put(qkv, {1, c.time, 3 * c.width()}), y = machine.make({1, c.time, c.width()});
  const Tensor lse = machine.make({1, 1, c.time});
  plain.call.qkv = tqkv.data(), plain.call.y = y.data(), plain.call.lse = lse.as<float>();
  plain.forward();
  const Reals found = machine.get(y);
  for (const double value : found) EXPECT_TRUE(std::isfinite(value));
  for (const double value : machine.get(lse)) EXPECT_TRUE(std::isfinite(value));
  for (std::size_t d = 0; d < 8; ++d) EXPECT_NEAR(found[d], qkv[16 + d], 4 * epsilon * std::abs(qkv[16 + d]));
}

// What comes later has no influence on what came before, not even by a bit.
TEST(PlainAttention, ThePastDoesNotSeeTheFuture) {
  CudaMachine machine;
  const Case c{1, 90, 1, 12};
  Random random(4);
  Reals qkv = random.normals(c.time * 3 * c.width());
  const auto forward = [&] {
    Plain plain(machine, c, DType::f32);
    const Tensor tqkv = machine.put(qkv, {1, c.time, 3 * c.width()}), y = machine.make({1, c.time, c.width()});
    const Tensor lse = machine.make({1, 1, c.time});
    plain.call.qkv = tqkv.data(), plain.call.y = y.data(), plain.call.lse = lse.as<float>();
    plain.forward();
    return machine.get(y);
  };
  const Reals before = forward();
  for (std::size_t i = 70 * 36; i < qkv.size(); ++i) qkv[i] = 50;
  const Reals after = forward();
  for (std::size_t i = 0; i < 70 * 12; ++i) ASSERT_EQ(before[i], after[i]);
}

TEST(PlainAttention, NothingIsNoWork) {
  CudaMachine machine;
  Plain none(machine, {0, 5, 2, 4}, DType::f32), empty(machine, {2, 0, 2, 4}, DType::bf16);
  none.forward();
  none.backward();
  empty.forward();
  empty.backward();
}

}  // namespace
}  // namespace nll::test
