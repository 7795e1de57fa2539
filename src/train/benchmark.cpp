// B batch, T time, N = B*T, C width, H heads, V vocabulary (stored), L layers.
#include "src/train/benchmark.h"

#include <algorithm>
#include <chrono>

#include "kernels/machine.h"
#include "kernels/philox.h"
#include "src/model/head.h"
#include "src/objectives/objective.h"
#include "src/optim/adamw.h"

namespace nll {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& work, Device& device) {
  const Clock::time_point start = Clock::now();
  work();
  device.synchronize();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

StepTiming summary(std::vector<double> seconds) {
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front(), seconds.back()};
}

constexpr double float_bytes = 4;

}  // namespace

Benchmark::Benchmark(const ModelConfig& model, std::int64_t batch, std::int64_t context, Backend& backend)
    : model_(model), B_(batch), T_(context), device_(*backend.device), ops_(*backend.ops) {
  sgemm_gflops_ = measure_sgemm_gflops(device_.info().threads, 0.5);
  bandwidth_gbytes_ = measure_memory_gigabytes(device_.info().threads, 0.3);
}

Tensor Benchmark::filled(std::initializer_list<std::int64_t> dims) {
  std::int64_t n = 1;
  for (std::int64_t dim : dims) n = checked_product(n, dim);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; i += 4) {
    const PhiloxBlock block = philox(1, buffers_.size(), static_cast<std::uint64_t>(i));
    for (std::int64_t k = 0; k < 4 && i + k < n; ++k)
      values[static_cast<std::size_t>(i + k)] = 0.1f * (unit_float(block.word[k]) - 0.5f);
  }
  buffers_.push_back(device_.allocate(4 * n));
  const Tensor tensor = buffers_.back().tensor(0, DType::f32, dims);
  device_.upload(tensor, values.data());
  device_.synchronize();
  return tensor;
}

Tensor Benchmark::random_tokens(std::initializer_list<std::int64_t> dims) {
  std::int64_t n = 1;
  for (std::int64_t dim : dims) n *= dim;
  std::vector<std::int32_t> values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t word = philox(2, buffers_.size(), static_cast<std::uint64_t>(i)).word[0];
    values[static_cast<std::size_t>(i)] =
        static_cast<std::int32_t>(word % static_cast<std::uint32_t>(model_.vocabulary));
  }
  buffers_.push_back(device_.allocate(4 * n));
  const Tensor tensor = buffers_.back().tensor(0, DType::i32, dims);
  device_.upload(tensor, values.data());
  device_.synchronize();
  return tensor;
}

std::vector<Benchmark::Case> Benchmark::cases() {
  const std::int64_t N = B_ * T_, C = model_.width, H = model_.heads, V = padded_vocabulary(model_.vocabulary),
                     L = model_.layers;
  const double n = static_cast<double>(N), c = static_cast<double>(C), v = static_cast<double>(V),
               t = static_cast<double>(T_);
  const Tensor tokens = random_tokens({B_, T_}), targets = random_tokens({N});
  const Tensor x = filled({N, C}), y = filled({N, C}), z = filled({N, C}), wide = filled({N, 4 * C}),
               pre = filled({N, 4 * C});
  const Tensor qkv = filled({B_, T_, 3 * C}), dqkv = filled({B_, T_, 3 * C}), lse = filled({B_, H, T_});
  const Tensor mean = filled({N}), rstd = filled({N}), vector = filled({C}), dvector = filled({C}),
               bias4 = filled({4 * C}), bias3 = filled({3 * C});
  const Tensor w_qkv = filled({C, 3 * C}), w_proj = filled({C, C}), w_fc = filled({C, 4 * C}),
               w_out = filled({4 * C, C});
  const Tensor g_qkv = filled({C, 3 * C}), g_proj = filled({C, C}), g_fc = filled({C, 4 * C}),
               g_out = filled({4 * C, C});
  const Tensor wte = filled({V, C}), g_wte = filled({V, C}), wpe = filled({model_.context, C}),
               g_wpe = filled({model_.context, C});
  const std::int64_t chunk = Head::chunks(model_, HeadConfig{}, N).chunk;
  const double k = static_cast<double>(chunk);
  const Tensor logits = filled({chunk, V}), coefficients = filled({chunk, 4}), norm = filled({1}), m = filled({V, C}),
               second = filled({V, C});
  const Tensor h = x.slice(0, chunk), dh = y.slice(0, chunk);
  UpdateState update;
  update.learning_rate = update.rate = 1e-6f;
  update.gradient_factor = update.root = 1;
  buffers_.push_back(device_.allocate(sizeof(UpdateState)));
  const Tensor state = buffers_.back().tensor(0, DType::u8, {sizeof(UpdateState)});
  device_.upload(state, &update);
  device_.synchronize();
  const auto flat = [](Tensor a) { return a.reshape({a.size()}); };
  const auto as_BTC = [this, C](Tensor a) { return a.reshape({B_, T_, C}); };
  HeadShape shape;
  shape.vocabulary = model_.vocabulary;
  Ops& ops = ops_;
  std::vector<Case> all;
  const auto add = [&](const char* name, double flops, double bytes, std::int64_t per_step, std::function<void()> run) {
    all.push_back({{name, 0, flops, bytes * float_bytes, per_step}, std::move(run)});
  };
  const auto linear = [&](const char* name, Tensor out, Tensor in, Tensor w, Tensor bias) {
    const double i = static_cast<double>(w.dim(0)), o = static_cast<double>(w.dim(1));
    add(name, 2 * n * i * o, n * (i + o) + i * o, L, [&ops, out, in, w, bias] { ops.linear(out, in, w, bias); });
  };
  const auto backward = [&](const char* name, Tensor dx, Tensor dw, Tensor db, Tensor dy, Tensor in, Tensor w) {
    const double i = static_cast<double>(w.dim(0)), o = static_cast<double>(w.dim(1));
    add(name, 4 * n * i * o, 2 * n * (i + o) + 2 * i * o, L,
        [&ops, dx, dw, db, dy, in, w] { ops.linear_backward(dx, dw, db, Into::write, dy, in, w); });
  };
  const Tensor qkv_rows = qkv.reshape({N, 3 * C}), dqkv_rows = dqkv.reshape({N, 3 * C});
  add("embedding", 0, 3 * n * c, 1, [=, &ops] { ops.embedding(as_BTC(x), tokens, wte, wpe, 0, {}); });
  add("layernorm", 0, 2 * n * c, 1, [=, &ops] { ops.layernorm(y, mean, rstd, x, vector, vector); });
  linear("linear qkv", qkv_rows, x, w_qkv, bias3);
  add("attention", 2 * n * t * c, 4 * n * c, L, [=, &ops] { ops.attention(as_BTC(y), lse, qkv, H); });
  linear("linear attention out", y, x, w_proj, vector);
  add("residual_layernorm", 0, 4 * n * c, 2 * L,
      [=, &ops] { ops.residual_layernorm(y, z, mean, rstd, x, x, vector, vector, {}); });
  add("linear_gelu fc", 8 * n * c * c, n * 9 * c + 4 * c * c, L,
      [=, &ops] { ops.linear_gelu(wide, pre, x, w_fc, bias4); });
  linear("linear mlp out", y, wide, w_out, vector);
  add("head_logits", 2 * k * c * v, k * (c + v) + c * v, (N + chunk - 1) / chunk,
      [=, &ops] { ops.head_logits(logits, h, wte); });
  add("cross_entropy_backward", 0, 2 * k * v, (N + chunk - 1) / chunk, [=, &ops] {
    ops.cross_entropy_backward({}, logits, logits, targets.slice(0, chunk), coefficients, Tensor(), shape);
  });
  add("head_backward", 4 * k * c * v, 2 * (k * v + c * v + k * c), (N + chunk - 1) / chunk,
      [=, &ops] { ops.head_backward(dh, g_wte, Into::write, logits, h, wte); });
  add("layernorm_backward", 0, 4 * n * c, 2 * L + 1, [=, &ops] {
    ops.layernorm_backward(z, Into::add, Tensor(), Dropout{}, dvector, dvector, Into::write, y, x, vector, mean, rstd);
  });
  add("linear_backward_gelu", 16 * n * c * c, n * 14 * c + 8 * c * c, L,
      [=, &ops] { ops.linear_backward_gelu(pre, g_out, dvector, Into::write, y, wide, w_out, pre); });
  backward("linear_backward fc", y, g_fc, bias4, pre, x, w_fc);
  backward("linear_backward out", y, g_proj, dvector, z, x, w_proj);
  add("attention_backward", 5 * n * t * c, 8 * n * c, L,
      [=, &ops] { ops.attention_backward(dqkv, as_BTC(z), as_BTC(y), lse, qkv, H); });
  backward("linear_backward qkv", y, g_qkv, bias3, dqkv_rows, x, w_qkv);
  add("embedding_backward", 0, 3 * n * c, 1,
      [=, &ops] { ops.embedding_backward(g_wte, g_wpe, Into::write, as_BTC(x), tokens, {}); });
  add("global_norm (wte)", 2 * v * c, v * c, 0, [=, &ops] { ops.global_norm(norm, flat(g_wte)); });
  add("adamw (wte)", 0, 7 * v * c, 0,
      [=, &ops] { ops.adamw(flat(wte), Tensor(), flat(m), flat(second), flat(g_wte), 0.1f, 0, state, AdamW{}); });
  return all;
}

std::string Benchmark::op_names() const {
  return "embedding, layernorm, linear, attention, residual_layernorm, linear_gelu, head_logits, "
         "cross_entropy_backward, head_backward, "
         "layernorm_backward, linear_backward, attention_backward, embedding_backward, global_norm, adamw";
}

std::vector<OpTiming> Benchmark::ops(const std::string& only, const std::function<bool()>& stop_requested) {
  std::vector<OpTiming> timings;
  for (Case& entry : cases()) {
    const std::string& name = entry.timing.name;
    if (!only.empty() && name != only && name.substr(0, name.find(' ')) != only) continue;
    if (stop_requested()) break;
    entry.run();  // scratch memory grows here
    std::vector<double> seconds;
    double spent = 0;
    while (seconds.size() < 3 || (spent < 0.15 && seconds.size() < 200)) {
      seconds.push_back(seconds_of(entry.run, device_));
      spent += seconds.back();
    }
    entry.timing.seconds = summary(seconds).seconds;
    timings.push_back(entry.timing);
  }
  buffers_.clear();
  return timings;
}

StepTiming Benchmark::steps(int count, const std::function<bool()>& stop_requested) {
  const std::int64_t N = B_ * T_;
  const ParameterTable table = ParameterTable::gpt2(model_);
  const Tensor weights = filled({table.stored_elements()}), gradients = filled({table.stored_elements()});
  initialize(table, 1, device_, weights);
  const GptTensors w = gpt_views(table, model_, weights), g = gpt_views(table, model_, gradients);
  AdamWOptimizer optimizer(Config{}, table, ops_, device_);
  UpdateState first;
  first.learning_rate = 1e-4f;
  optimizer.set_state(first);
  const Tensor guard = optimizer.guard();
  Gpt gpt(model_, ops_, device_, B_, T_, Pass::training);
  Head head(model_, HeadConfig{}, ops_, device_, N);
  const Tensor tokens = random_tokens({B_, T_}), targets = random_tokens({N});
  std::vector<float> host(static_cast<std::size_t>(4 * N));
  for (std::size_t i = 0; i < host.size(); i += 4) host[i] = -1.0f / static_cast<float>(N);
  const Tensor coefficients = filled({N, 4});
  device_.upload(coefficients, host.data());
  std::vector<float> logp(static_cast<std::size_t>(N));
  std::vector<double> whole, forward, head_part, backward, update;
  for (int i = 0; i <= count && !stop_requested(); ++i) {
    Tensor hidden;
    TokenStatistics statistics;
    const double parts[] = {
        seconds_of([&] { hidden = gpt.forward(w, tokens); }, device_),
        seconds_of(
            [&] { statistics = head.train(gpt.dhidden(), g.wte, Into::write, hidden, targets, coefficients, w.wte); },
            device_),
        seconds_of([&] { gpt.backward(w, g, Into::write, gpt.dhidden()); }, device_),
        seconds_of(
            [&] {
              device_.download(logp.data(), statistics.logp);
              ops_.find_nonfinite(guard, Into::write, statistics.logp);
              optimizer.update(weights, Tensor(), gradients);
            },
            device_)};
    if (i == 0) continue;  // the first step grows scratch memory
    whole.push_back(parts[0] + parts[1] + parts[2] + parts[3]);
    forward.push_back(parts[0]);
    head_part.push_back(parts[1]);
    backward.push_back(parts[2]);
    update.push_back(parts[3]);
  }
  buffers_.clear();
  if (whole.empty()) return {};
  StepTiming timing = summary(whole);
  timing.forward = summary(forward).seconds;
  timing.head = summary(head_part).seconds;
  timing.backward = summary(backward).seconds;
  timing.update = summary(update).seconds;
  return timing;
}

}  // namespace nll
