// The same bits from run to run, from one number of threads to another, and through memory that is already there.
#include <malloc.h>

#include <cstring>
#include <map>

#include "tests/kernels/allocation_count.h"
#include "tests/kernels/machine.h"
#include "tests/kernels/update_rig.h"

namespace nll::test {
namespace {

// Forward and backward of one layer and the head, and an update: every op, at shapes that no tile divides.
std::map<std::string, std::vector<float>> one_step(Machine& machine) {
  constexpr std::int64_t batch = 2, time = 75, width = 48, heads = 3, vocabulary = 301, stored = 320, n = batch * time;
  Random random(9);
  const auto tensor = [&](Dims dims, double deviation) {
    std::int64_t size = 1;
    for (const std::int64_t dim : dims) size *= dim;
    return machine.put(random.normals(size, deviation), dims);
  };
  Ops& ops = machine.ops();
  const Dropout dropout{0.1f, 5, 6, 7};
  const Tensor tokens = machine.put_ints(random.below(vocabulary, n), {batch, time});
  const Tensor targets = machine.put_ints(random.below(vocabulary, n), {n});
  const Tensor wte = tensor({stored, width}, 0.5), wpe = tensor({time, width}, 0.1);
  const Tensor gain = tensor({width}, 1), shift = tensor({width}, 1);
  const Tensor w_qkv = tensor({width, 3 * width}, 0.2), b_qkv = tensor({3 * width}, 0.1);
  const Tensor w_up = tensor({width, 4 * width}, 0.2), b_up = tensor({4 * width}, 0.1);
  const Tensor w_down = tensor({4 * width, width}, 0.1), b_down = tensor({width}, 0.1);
  const auto make = [&](Dims dims) { return machine.make(dims); };
  const Tensor x = make({batch, time, width}), y = make({n, width}), mean = make({n}), rstd = make({n});
  const Tensor qkv = make({batch, time, 3 * width}), a = make({batch, time, width}), lse = make({batch, heads, time});
  const Tensor residual = make({n, width}), pre = make({n, 4 * width}), up = make({n, 4 * width}), h = make({n, width});
  const Tensor logits = make({n, stored}), logp = make({n});
  ops.embedding(x, tokens, wte, wpe, 0, dropout);
  ops.layernorm(y, mean, rstd, x, gain, shift);
  ops.linear(qkv, y, w_qkv, b_qkv);
  ops.attention(a, lse, qkv, heads);
  ops.residual_layernorm(residual, y, mean, rstd, x, a, gain, shift, dropout);
  ops.linear_gelu(up, pre, y, w_up, b_up);
  ops.linear(h, up, w_down, b_down);
  ops.head_logits(logits, h, wte);
  TokenStatistics statistics;
  statistics.logp = logp;
  ops.cross_entropy_backward(statistics, logits, logits, targets, tensor({n, 4}, 0.01), {}, {vocabulary, 1, 0, 1});
  const Tensor dh = make({n, width}), dwte = make({stored, width}), dup = make({n, 4 * width});
  const Tensor dw_down = make({4 * width, width}), db_down = make({width}), dy = make({n, width});
  const Tensor dw_up = make({width, 4 * width}), db_up = make({4 * width}), dx = make({n, width});
  const Tensor dbranch = make({n, width}), dgain = make({width}), dshift = make({width});
  const Tensor dqkv = make({batch, time, 3 * width}), dw_qkv = make({width, 3 * width}), db_qkv = make({3 * width});
  const Tensor dwpe = make({time, width}), norm = make({1}), m = make({stored, width}), v = make({stored, width});
  ops.head_backward(dh, dwte, Into::write, logits, h, wte);
  const Tensor rows = machine.put_ints({3, 40, 41, 149}, {4}), few = make({4, width}), scattered = make({n, width});
  const Tensor score = tensor({width}, 1), dscore = make({width}), values = make({n});
  ops.gather_rows(few, h, rows);
  ops.scatter_rows(scattered, Into::write, few, rows);
  ops.scalar_head(values, h, score);
  ops.scalar_head_backward(scattered, Into::add, dscore, Into::write, values, h, score, {});
  ops.linear_backward_gelu(dup, dw_down, db_down, Into::write, dh, up, w_down, pre);
  ops.linear_backward(dy, dw_up, db_up, Into::write, dup, y, w_up);
  ops.layernorm_backward(dx, Into::write, dbranch, dropout, dgain, dshift, Into::write, dy, residual, gain, mean, rstd);
  ops.attention_backward(dqkv, dbranch, a, lse, qkv, heads);
  ops.linear_backward(dy, dw_qkv, db_qkv, Into::write, dqkv, y, w_qkv);
  ops.embedding_backward(dwte, dwpe, Into::write, dy, tokens, dropout);
  const UpdateRig update(machine.device(), 1e-3f);
  AdamW settings;
  settings.clip_norm = 1;
  global_norm(ops, machine.device(), norm, dwte);
  ops.begin_update(update.state(), norm, update.guard(), settings);
  ops.adamw(wte, {}, m, v, dwte, 0.1f, 0, update.state(), settings);
  std::map<std::string, std::vector<float>> results;
  for (const auto& [name, result] :
       {std::pair{"logp", logp}, std::pair{"dwte", dwte}, std::pair{"dw_down", dw_down}, std::pair{"db_down", db_down},
        std::pair{"dw_up", dw_up}, std::pair{"db_up", db_up}, std::pair{"dgain", dgain}, std::pair{"dshift", dshift},
        std::pair{"dqkv", dqkv}, std::pair{"dw_qkv", dw_qkv}, std::pair{"dwpe", dwpe}, std::pair{"norm", norm},
        std::pair{"wte", wte}, std::pair{"dup", dup}, std::pair{"scattered", scattered}, std::pair{"values", values},
        std::pair{"dscore", dscore}}) {
    results[name] = machine.get(result);
  }
  return results;
}

TEST(Ops, GiveTheSameBitsInEveryRunAndForEveryNumberOfThreads) {
  int count = 0;
  const char* const* names = cpu::supported_instructions(&count);
  for (int i = 0; i < count; ++i) {
    Machine reference(1, names[i]);
    const auto expected = one_step(reference);
    ASSERT_TRUE(std::isfinite(expected.at("norm")[0]));
    for (const int threads : {1, 2, 3, 8}) {
      Machine machine(threads, names[i]);
      for (int run = 0; run < 2; ++run) {
        for (const auto& [name, values] : one_step(machine)) {
          ASSERT_EQ(std::memcmp(values.data(), expected.at(name).data(), values.size() * sizeof(float)), 0)
              << name << " with " << names[i] << ", " << threads << " threads, run " << run;
        }
      }
    }
  }
}

std::int64_t heap_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<std::int64_t>(info.uordblks) + static_cast<std::int64_t>(info.hblkhd);
}

// Once it has seen a shape, an op takes no memory: neither by operator new nor for its working space.
TEST(Ops, AllocateNothingAfterTheFirstCallWithAShape) {
  Machine machine(3);
  constexpr std::int64_t batch = 2, time = 70, width = 32, heads = 2, vocabulary = 100, n = batch * time;
  Ops& ops = machine.ops();
  const Dropout dropout{0.1f, 1, 2, 3};
  const Tensor tokens = machine.put_ints(std::vector<std::int32_t>(n, 7), {batch, time}), targets = tokens.reshape({n});
  const Tensor wte = machine.make({vocabulary, width}), wpe = machine.make({time, width}), gain = machine.make({width});
  const Tensor x = machine.make({batch, time, width}), y = machine.make({batch, time, width}), mean = machine.make({n});
  const Tensor rstd = machine.make({n}), qkv = machine.make({batch, time, 3 * width}), up = machine.make({n, 64});
  const Tensor pre = machine.make({n, 64}), w = machine.make({width, 64}), w_down = machine.make({64, width});
  const Tensor lse = machine.make({batch, heads, time}), logits = machine.make({n, vocabulary}),
               norm = machine.make({1});
  const Tensor cache = machine.make({batch, time, width}), bias = machine.make({64}),
               coefficients = machine.make({n, 4});
  const Tensor w_qkv = machine.make({width, 3 * width}), b_qkv = machine.make({3 * width}),
               dh = machine.make({n, width});
  const Tensor m = machine.make({vocabulary, width}), v = machine.make({vocabulary, width});
  const Tensor dqkv = machine.make({batch, time, 3 * width}), dwte = machine.make({vocabulary, width});
  const Tensor dw_qkv = machine.make({width, 3 * width}), dw_down = machine.make({64, width});
  const Tensor db_qkv = machine.make({3 * width}), dgain = machine.make({width});
  const Tensor rows = machine.put_ints({3, 40, 41, n - 1}, {4}), few = machine.make({4, width});
  TokenStatistics statistics;
  statistics.logp = mean;
  const HeadShape shape{vocabulary - 3, 1, 20, 1};
  const UpdateRig update(machine.device(), 1e-3f);
  const Buffer of_squares = machine.device().allocate(8);
  const Tensor squares = of_squares.tensor(0, DType::f64, {1});
  const std::pair<const char*, std::function<void()>> calls[] = {
      {"embedding", [&] { ops.embedding(x, tokens, wte, wpe, 0, dropout); }},
      {"embedding_backward", [&] { ops.embedding_backward(wte, wpe, Into::write, x, tokens, dropout); }},
      {"linear", [&] { ops.linear(qkv, x, w_qkv, b_qkv); }},
      {"linear_gelu", [&] { ops.linear_gelu(up, pre, x, w, bias); }},
      {"linear_backward", [&] { ops.linear_backward(x, dw_qkv, db_qkv, Into::add, qkv, y, w_qkv); }},
      {"linear_backward_gelu", [&] { ops.linear_backward_gelu(pre, dw_down, dgain, Into::add, y, up, w_down, pre); }},
      {"layernorm", [&] { ops.layernorm(y, mean, rstd, x, gain, gain); }},
      {"residual_layernorm", [&] { ops.residual_layernorm(x, y, mean, rstd, x, y, gain, gain, dropout); }},
      {"layernorm_backward",
       [&] { ops.layernorm_backward(x, Into::add, y, dropout, gain, gain, Into::add, y, x, gain, mean, rstd); }},
      {"attention", [&] { ops.attention(y, lse, qkv, heads); }},
      {"attention_backward", [&] { ops.attention_backward(dqkv, x, y, lse, qkv, heads); }},
      {"attention_cached", [&] { ops.attention_cached(y, cache, cache, qkv, 0, heads); }},
      {"head_logits", [&] { ops.head_logits(logits, x, wte); }},
      {"cross_entropy", [&] { ops.cross_entropy(statistics, logits, targets, shape); }},
      {"cross_entropy_backward",
       [&] { ops.cross_entropy_backward(statistics, logits, logits, targets, coefficients, {}, shape); }},
      {"head_backward", [&] { ops.head_backward(dh, dwte, Into::add, logits, x, wte); }},
      {"gather_rows", [&] { ops.gather_rows(few, dh, rows); }},
      {"scatter_rows", [&] { ops.scatter_rows(dh, Into::write, few, rows); }},
      {"scalar_head", [&] { ops.scalar_head(mean, dh, gain); }},
      {"scalar_head_backward", [&] { ops.scalar_head_backward(dh, Into::add, dgain, Into::add, mean, x, gain, {}); }},
      {"square_sums", [&] { ops.square_sums(squares, wte); }},
      {"norm", [&] { ops.norm(norm, squares); }},
      {"add", [&] { ops.add(wte, dwte); }},
      {"adamw",
       [&] {
         ops.begin_update(update.state(), norm, update.guard(), {});
         ops.adamw(wte, {}, m, v, dwte, 0.1f, 0, update.state(), {});
         ops.end_update(update.state(), {});
       }},
  };
  for (const auto& [name, call] : calls) {
    call();
    const std::int64_t before = allocation_count(), heap = heap_bytes();
    call();
    EXPECT_EQ(allocation_count(), before) << name;
    EXPECT_EQ(heap_bytes(), heap) << name;
  }
}

TEST(Attention, TakesWorkingSpaceInProportionToTheLength) {
  const cpu::RowKernels& rows = *cpu::row_kernels("");
  constexpr std::int64_t size = 64;
  for (const std::int64_t time : {1024, 4096, 65536}) {
    // A (T,T) buffer would be T * T floats; these hold a few rows of `size` for each position, and some tiles.
    EXPECT_LE(rows.attention_scratch(time, time, size), 2 * time * size + 32 * 1024);
    EXPECT_LE(rows.attention_backward_scratch(time, size), 3 * time * size + 2 * time + 64 * 1024);
  }
}

}  // namespace
}  // namespace nll::test
