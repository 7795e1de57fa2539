// Attention over a cache on CUDA: prompts, decoding, and a few positions at once, against FP64 and against itself.
#include "tests/cuda/machine.h"

namespace nll::test {
namespace {

struct Case {
  std::int64_t batch, time, heads, head_size;
  std::int64_t width() const { return heads * head_size; }
};

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Rows [begin, begin + count) of each sequence of x (batch, time, width).
Reals positions(const Reals& x, std::int64_t batch, std::int64_t time, std::int64_t begin, std::int64_t count) {
  const std::int64_t width = static_cast<std::int64_t>(x.size()) / (batch * time);
  Reals part;
  for (std::int64_t b = 0; b < batch; ++b) {
    const auto from = x.begin() + (b * time + begin) * width;
    part.insert(part.end(), from, from + count * width);
  }
  return part;
}

// Scores are sums of D products; their error goes through exp. Then one rounding to the type.
void expect_rows(const Reals& found, const Reals& expected, DType type, std::int64_t head_size) {
  ASSERT_EQ(found.size(), expected.size());
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  const double terms = 16 * std::sqrt(static_cast<double>(head_size)) + 32;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double bound = epsilon * terms * largest + unit_of(type) * std::abs(expected[i]) + std::ldexp(1.0, -25);
    ASSERT_NEAR(found[i], expected[i], bound) << "element " << i;
  }
}

TEST(CudaCachedAttention, EqualsFullAttentionRowByRowInAnySteps) {
  CudaMachine machine;
  for (const DType type : number_types) {
    for (const Case& c : {Case{2, 40, 3, 5}, Case{1, 150, 1, 64}, Case{1, 34, 2, 80}, Case{1, 30, 1, 130},
                          Case{1, 26, 1, 256}, Case{2, 20, 2, 1}}) {
      SCOPED_TRACE(type_name(type) + ", T " + std::to_string(c.time) + ", D " + std::to_string(c.head_size));
      const std::int64_t width = c.width(), context = c.time + 3;
      Random random(1);
      const Reals qkv = rounded(random.normals(c.batch * c.time * 3 * width), type);
      const Attention expected = attention(qkv, c.batch, c.time, c.heads);
      const Reals old(at(c.batch * context * width), 7.0);
      const Tensor keys = machine.put(old, {c.batch, context, width}, type);
      const Tensor values = machine.put(old, {c.batch, context, width}, type);
      // A prompt, then one at a time, then several, then a second prompt, then to the end.
      const std::int64_t wanted[] = {c.time / 2, 1, 1, 3, 9};
      std::int64_t position = 0;
      for (std::size_t step = 0; position < c.time; ++step) {
        const std::int64_t fresh = std::min(step < 5 ? wanted[step] : 7, c.time - position);
        const Tensor y = machine.put(Reals(at(c.batch * fresh * width), 9.0), {c.batch, fresh, width}, type);
        const Tensor part =
            machine.put(positions(qkv, c.batch, c.time, position, fresh), {c.batch, fresh, 3 * width}, type);
        machine.ops().attention_cached(y, keys, values, part, position, c.heads);
        SCOPED_TRACE("position " + std::to_string(position) + ", fresh " + std::to_string(fresh));
        expect_rows(machine.get(y), positions(expected.y, c.batch, c.time, position, fresh), type, c.head_size);
        position += fresh;
      }
      // The caches hold the keys and values as they came, and nothing else was touched.
      const Reals found_keys = machine.get(keys), found_values = machine.get(values);
      for (std::int64_t b = 0; b < c.batch; ++b) {
        for (std::int64_t t = 0; t < context; ++t) {
          for (std::int64_t i = 0; i < width; ++i) {
            const std::size_t cached = at((b * context + t) * width + i), row = at((b * c.time + t) * 3 * width + i);
            ASSERT_EQ(found_keys[cached], t < c.time ? qkv[row + at(width)] : 7.0);
            ASSERT_EQ(found_values[cached], t < c.time ? qkv[row + at(2 * width)] : 7.0);
          }
        }
      }
    }
  }
}

TEST(CudaCachedAttention, EqualsTheCpuAndRepeatsItsBits) {
  CudaMachine machine;
  Machine cpu;
  constexpr std::int64_t batch = 2, context = 300, heads = 2, width = 48, position = 270;
  Random random(2);
  const Reals keys = random.normals(batch * context * width), values = random.normals(batch * context * width);
  for (const std::int64_t fresh : {1, 2, 20}) {
    const Reals qkv = random.normals(batch * fresh * 3 * width);
    std::vector<std::vector<std::uint8_t>> bytes;
    Reals found;
    for (int repeat = 0; repeat < 2; ++repeat) {
      const Tensor y = machine.make({batch, fresh, width});
      machine.ops().attention_cached(y, machine.put(keys, {batch, context, width}),
                                     machine.put(values, {batch, context, width}),
                                     machine.put(qkv, {batch, fresh, 3 * width}), position, heads);
      found = machine.get(y);
      bytes.push_back(machine.get_bytes(y));
    }
    EXPECT_EQ(bytes[0], bytes[1]);
    const Tensor y = cpu.make({batch, fresh, width});
    cpu.ops().attention_cached(y, cpu.put(keys, {batch, context, width}), cpu.put(values, {batch, context, width}),
                               cpu.put(qkv, {batch, fresh, 3 * width}), position, heads);
    const std::vector<float> expected = cpu.get(y);
    expect_rows(found, Reals(expected.begin(), expected.end()), DType::f32, 2 * width / heads);
  }
}

TEST(CudaCachedAttention, RefusesToWriteBeyondTheCache) {
  CudaMachine machine;
  const Tensor cache = machine.make({1, 4, 8});
  EXPECT_THROW(machine.ops().attention_cached(machine.make({1, 2, 8}), cache, cache, machine.make({1, 2, 24}), 3, 2),
               std::logic_error);
}

}  // namespace
}  // namespace nll::test
