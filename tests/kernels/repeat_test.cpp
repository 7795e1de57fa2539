// The same bits from run to run, from one number of threads to another, and through memory that is already there.
#include <cstdlib>
#include <cstring>
#include <map>
#include <new>

#include "tests/kernels/machine.h"

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
  ops.cross_entropy_backward(statistics, logits, targets, tensor({n, 4}, 0.01), {vocabulary, 1, 0, 1});
  const Tensor dh = make({n, width}), dwte = make({stored, width}), dup = make({n, 4 * width});
  const Tensor dw_down = make({4 * width, width}), db_down = make({width}), dy = make({n, width});
  const Tensor dw_up = make({width, 4 * width}), db_up = make({4 * width}), dx = make({n, width});
  const Tensor dbranch = make({n, width}), dgain = make({width}), dshift = make({width});
  const Tensor dqkv = make({batch, time, 3 * width}), dw_qkv = make({width, 3 * width}), db_qkv = make({3 * width});
  const Tensor dwpe = make({time, width}), norm = make({1}), m = make({stored, width}), v = make({stored, width});
  ops.head_backward(dh, dwte, Into::write, logits, h, wte);
  ops.linear_backward_gelu(dup, dw_down, db_down, Into::write, dh, up, w_down, pre);
  ops.linear_backward(dy, dw_up, db_up, Into::write, dup, y, w_up);
  ops.layernorm_backward(dx, Into::write, dbranch, dropout, dgain, dshift, Into::write, dy, residual, gain, mean, rstd);
  ops.attention_backward(dqkv, dbranch, a, lse, qkv, heads);
  ops.linear_backward(dy, dw_qkv, db_qkv, Into::write, dqkv, y, w_qkv);
  ops.embedding_backward(dwte, dwpe, Into::write, dy, tokens, dropout);
  ops.global_norm(norm, dwte);
  ops.adamw(wte, m, v, dwte, norm, 0.1f, {1e-3f, 0.9f, 0.95f, 1e-8f, 1, 1});
  std::map<std::string, std::vector<float>> results;
  for (const auto& [name, result] :
       {std::pair{"logp", logp}, std::pair{"dwte", dwte}, std::pair{"dw_down", dw_down}, std::pair{"db_down", db_down},
        std::pair{"dw_up", dw_up}, std::pair{"db_up", db_up}, std::pair{"dgain", dgain}, std::pair{"dshift", dshift},
        std::pair{"dqkv", dqkv}, std::pair{"dw_qkv", dw_qkv}, std::pair{"dwpe", dwpe}, std::pair{"norm", norm},
        std::pair{"wte", wte}, std::pair{"dup", dup}}) {
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

}  // namespace
}  // namespace nll::test
