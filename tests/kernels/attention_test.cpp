#include "tests/kernels/reference.h"

namespace nll::test {
namespace {

struct Case {
  std::int64_t batch, time, heads, head_size;
};
// Lengths around the block of 64; heads fewer than threads, and of sizes that fill no vector.
const Case cases[] = {{1, 1, 1, 1}, {2, 7, 3, 5}, {1, 64, 1, 64}, {1, 65, 2, 16}, {2, 129, 2, 20}, {1, 200, 1, 33}};

TEST(Attention, EqualsItsFormula) {
  for (const Case& c : cases) {
    const std::int64_t width = c.heads * c.head_size;
    Random random(1);
    const Reals qkv = random.normals(c.batch * c.time * 3 * width, 1.5);
    const Attention expected = attention(qkv, c.batch, c.time, c.heads);
    on_every_machine([&](Machine& machine) {
      const Tensor y = machine.make({c.batch, c.time, width}), lse = machine.make({c.batch, c.heads, c.time});
      machine.ops().attention(y, lse, machine.put(qkv, {c.batch, c.time, 3 * width}), c.heads);
      // Scores are sums of head_size products; their error goes through exp.
      const double terms = 16 * std::sqrt(static_cast<double>(c.head_size)) + 32;
      expect_near(machine.get(y), expected.y, terms);
      expect_near(machine.get(lse), expected.lse, terms, 4);
    });
  }
}

TEST(Attention, BackwardEqualsCentralDifferences) {
  for (const Case& c : {Case{1, 1, 1, 1}, Case{2, 5, 3, 3}, Case{1, 66, 1, 2}}) {
    const std::int64_t width = c.heads * c.head_size;
    Random random(2);
    Reals qkv = random.normals(c.batch * c.time * 3 * width);
    const Reals dy = random.normals(c.batch * c.time * width);
    const Reals expected =
        central_differences(qkv, [&] { return dot(dy, attention(qkv, c.batch, c.time, c.heads).y); });
    on_every_machine([&](Machine& machine) {
      const Tensor y = machine.make({c.batch, c.time, width}), lse = machine.make({c.batch, c.heads, c.time});
      const Tensor tqkv = machine.put(qkv, {c.batch, c.time, 3 * width});
      const Tensor dqkv = machine.make({c.batch, c.time, 3 * width});
      machine.ops().attention(y, lse, tqkv, c.heads);
      machine.ops().attention_backward(dqkv, machine.put(dy, {c.batch, c.time, width}), y, lse, tqkv, c.heads);
      expect_near(machine.get(dqkv), expected, 128);
    });
  }
}

// dq, dk, dv by their formulas in FP64, for shapes that central differences would take too long for.
Reals attention_gradient(const Reals& qkv, const Reals& dy, const Case& c) {
  const std::int64_t width = c.heads * c.head_size;
  const Attention forward = attention(qkv, c.batch, c.time, c.heads);
  Reals gradient(qkv.size());
  const double scale = 1 / std::sqrt(static_cast<double>(c.head_size));
  for (std::int64_t b = 0; b < c.batch; ++b) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const auto at = [&](std::int64_t t, std::int64_t which) {
        return static_cast<std::size_t>(((b * c.time + t) * 3 + which) * width + h * c.head_size);
      };
      const auto y_at = [&](std::int64_t t) {
        return static_cast<std::size_t>((b * c.time + t) * width + h * c.head_size);
      };
      for (std::int64_t t = 0; t < c.time; ++t) {
        for (std::int64_t j = 0; j <= t; ++j) {
          double score = 0, from_value = 0, own = 0;
          for (std::size_t d = 0; d < static_cast<std::size_t>(c.head_size); ++d) {
            score += qkv[at(t, 0) + d] * qkv[at(j, 1) + d] * scale;
            from_value += dy[y_at(t) + d] * qkv[at(j, 2) + d];
            own += dy[y_at(t) + d] * forward.y[y_at(t) + d];
          }
          const double p = std::exp(score - forward.lse[static_cast<std::size_t>((b * c.heads + h) * c.time + t)]);
          const double ds = p * (from_value - own) * scale;
          for (std::size_t d = 0; d < static_cast<std::size_t>(c.head_size); ++d) {
            gradient[at(t, 0) + d] += ds * qkv[at(j, 1) + d];
            gradient[at(j, 1) + d] += ds * qkv[at(t, 0) + d];
            gradient[at(j, 2) + d] += p * dy[y_at(t) + d];
          }
        }
      }
    }
  }
  return gradient;
}

TEST(Attention, BackwardIsRightAcrossBlocksAndTheSameForAnyNumberOfThreads) {
  for (const Case& c : cases) {
    const std::int64_t width = c.heads * c.head_size;
    Random random(3);
    const Reals qkv = random.normals(c.batch * c.time * 3 * width), dy = random.normals(c.batch * c.time * width);
    const Reals expected = attention_gradient(qkv, dy, c);
    int count = 0;
    const char* const* names = cpu::supported_instructions(&count);
    for (int i = 0; i < count; ++i) {
      std::vector<float> first_y, first_gradient;
      for (const int threads : {1, 2, 3, 5}) {  // 5 threads deal blocks instead of heads
        Machine machine(threads, names[i]);
        const Tensor y = machine.make({c.batch, c.time, width}), lse = machine.make({c.batch, c.heads, c.time});
        const Tensor tqkv = machine.put(qkv, {c.batch, c.time, 3 * width});
        const Tensor dqkv = machine.make({c.batch, c.time, 3 * width});
        machine.ops().attention(y, lse, tqkv, c.heads);
        machine.ops().attention_backward(dqkv, machine.put(dy, {c.batch, c.time, width}), y, lse, tqkv, c.heads);
        if (threads == 1) {
          first_y = machine.get(y);
          first_gradient = machine.get(dqkv);
          expect_near(first_gradient, expected, 32 * std::sqrt(static_cast<double>(c.time)) + 128);
        }
        EXPECT_EQ(machine.get(y), first_y) << names[i] << ", " << threads;
        EXPECT_EQ(machine.get(dqkv), first_gradient) << names[i] << ", " << threads;
      }
    }
  }
}

TEST(Attention, LargeScoresDoNotOverflow) {
  on_every_machine([](Machine& machine) {
    constexpr std::int64_t time = 70, width = 4;
    Reals qkv(time * 3 * width);
    for (std::size_t i = 0; i < qkv.size(); ++i) qkv[i] = static_cast<double>(i % 7) * 100 - 300;
    const Tensor y = machine.make({1, time, width}), lse = machine.make({1, 1, time});
    machine.ops().attention(y, lse, machine.put(qkv, {1, time, 3 * width}), 1);
    for (const float value : machine.get(y)) {
      ASSERT_TRUE(std::isfinite(value));
      ASSERT_LE(std::abs(value), 300);
    }
  });
}

TEST(Attention, CachedStepsEqualOnePass) {
  for (const Case& c : {Case{2, 9, 3, 5}, Case{1, 150, 2, 16}}) {
    const std::int64_t width = c.heads * c.head_size, context = c.time + 3;
    Random random(4);
    const Reals qkv = random.normals(c.batch * c.time * 3 * width);
    const Attention expected = attention(qkv, c.batch, c.time, c.heads);
    on_every_machine([&](Machine& machine) {
      const Tensor keys = machine.make({c.batch, context, width}), values = machine.make({c.batch, context, width});
      // One prompt, then one at a time, then several: each way through the op.
      for (std::int64_t position = 0, step = 0; position < c.time; ++step) {
        const std::int64_t wanted = step == 0 ? c.time / 2 : step < 3 ? 1 : step == 3 ? 2 : 20;
        const std::int64_t fresh = std::min(wanted, c.time - position);
        Reals part, y;
        for (std::int64_t b = 0; b < c.batch; ++b) {
          const auto begin = qkv.begin() + (b * c.time + position) * 3 * width;
          part.insert(part.end(), begin, begin + fresh * 3 * width);
          const auto y_begin = expected.y.begin() + (b * c.time + position) * width;
          y.insert(y.end(), y_begin, y_begin + fresh * width);
        }
        const Tensor ty = machine.make({c.batch, fresh, width});
        machine.ops().attention_cached(ty, keys, values, machine.put(part, {c.batch, fresh, 3 * width}), position,
                                       c.heads);
        expect_near(machine.get(ty), y, 96);
        position += fresh;
      }
    });
  }
}

TEST(Attention, RefusesToWriteBeyondTheCache) {
  Machine machine;
  const Tensor cache = machine.make({1, 4, 8});
  EXPECT_THROW(machine.ops().attention_cached(machine.make({1, 2, 8}), cache, cache, machine.make({1, 2, 24}), 3, 2),
               std::logic_error);
}

}  // namespace
}  // namespace nll::test
