// B sequences, T time, N = B*T, C width, H heads, V vocabulary (stored), L layers. Types as in kernels/ops.h: T
// compute, R residual stream.
#include <algorithm>
#include <chrono>

#include "kernels/philox.h"
#include "src/model/head.h"
#include "src/model/parameters.h"
#include "src/train/benchmark.h"

namespace nll {

namespace {

constexpr std::int64_t random_values = std::int64_t{1} << 20;

double real(std::int64_t value) { return static_cast<double>(value); }

double bytes_of_all(std::initializer_list<Tensor> tensors) {
  double bytes = 0;
  for (const Tensor& tensor : tensors) bytes += real(tensor.bytes());
  return bytes;
}

Tensor flat(const Tensor& tensor) { return tensor.reshape({tensor.size()}); }

}  // namespace

Tensor Benchmark::filled(DType type, std::initializer_list<std::int64_t> dims) {
  if (random_.bytes() == 0) {
    std::vector<float> values(static_cast<std::size_t>(random_values));
    for (std::size_t i = 0; i < values.size(); i += 4) {
      const PhiloxBlock block = philox(1, 0, i);
      for (std::size_t k = 0; k < 4; ++k) values[i + k] = 0.1f * (unit_float(block.word[k]) - 0.5f);
    }
    random_ = device_.allocate(4 * random_values);
    device_.upload(random_.tensor(0, DType::f32, {random_values}), values.data());
    device_.synchronize();
  }
  std::int64_t size = 1;
  for (const std::int64_t dim : dims) size = checked_product(size, dim);
  buffers_.push_back(device_.allocate(checked_product(size, bytes_of(type))));
  const Tensor tensor = buffers_.back().tensor(0, type, dims), all = flat(tensor),
               source = random_.tensor(0, DType::f32, {random_values});
  // Each tensor begins elsewhere in the random values.
  const std::int64_t shift = static_cast<std::int64_t>(buffers_.size()) * 4096 % random_values;
  for (std::int64_t done = 0; done < size;) {
    const std::int64_t begin = (done + shift) % random_values, n = std::min(size - done, random_values - begin);
    if (type == DType::f32) {
      device_.copy(all.slice(done, n), source.slice(begin, n));
    } else {
      ops_.convert(all.slice(done, n), source.slice(begin, n));
    }
    done += n;
  }
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
        static_cast<std::int32_t>(word % static_cast<std::uint32_t>(config_.model.vocabulary));
  }
  buffers_.push_back(device_.allocate(4 * n));
  const Tensor tensor = buffers_.back().tensor(0, DType::i32, dims);
  device_.upload(tensor, values.data());
  device_.synchronize();
  return tensor;
}

std::vector<Benchmark::Case> Benchmark::cases() {
  const ModelConfig& model = config_.model;
  const Numerics& numerics = plan_.numerics;
  const DType type = numerics.compute, stream = numerics.residual, exact = DType::f32;
  const std::int64_t B = plan_.sequences, T = model.context, N = B * T, C = model.width, H = model.heads,
                     V = padded_vocabulary(model.vocabulary);
  const double n = real(N), c = real(C), v = real(V), t = real(T), row = n * c;
  const double micro = real(plan_.micro_batches), layers = real(model.layers) * micro;
  const Tensor tokens = random_tokens({B, T}), targets = random_tokens({N});
  const Tensor x = filled(stream, {N, C}), z = filled(stream, {N, C});
  const Tensor a = filled(type, {N, C}), y = filled(type, {N, C}), dy = filled(type, {N, C}),
               wide = filled(type, {N, 4 * C}), pre = filled(type, {N, 4 * C}),
               dpre = numerics.gpu ? filled(type, {N, 4 * C}) : pre;
  const Tensor qkv = filled(type, {B, T, 3 * C}), dqkv = filled(type, {B, T, 3 * C}), lse = filled(exact, {B, H, T});
  const Tensor mean = filled(exact, {N}), rstd = filled(exact, {N}), norm_weight = filled(exact, {C}),
               dvector = filled(exact, {C}), dbias4 = filled(exact, {4 * C}), dbias3 = filled(exact, {3 * C});
  const Tensor bias = filled(type, {C}), bias4 = filled(type, {4 * C}), bias3 = filled(type, {3 * C});
  const Tensor w_qkv = filled(type, {C, 3 * C}), w_proj = filled(type, {C, C}), w_fc = filled(type, {C, 4 * C}),
               w_out = filled(type, {4 * C, C});
  const Tensor g_qkv = filled(exact, {C, 3 * C}), g_proj = filled(exact, {C, C}), g_fc = filled(exact, {C, 4 * C}),
               g_out = filled(exact, {4 * C, C});
  const Tensor wte = filled(type, {V, C}), g_wte = filled(exact, {V, C}), wpe = filled(type, {T, C}),
               g_wpe = filled(exact, {T, C});
  const HeadChunks chunks = Head::chunks(model, config_.head, N, numerics);
  const double k = real(chunks.chunk), s = real(chunks.logits);
  const Tensor logits = filled(numerics.logits, {chunks.logits, V}),
               dlogits = numerics.logits == type ? logits : filled(type, {chunks.chunk, V});
  const Tensor dslice = dlogits.slice(0, chunks.logits), coefficients = filled(exact, {chunks.chunk, 4});
  const std::int64_t blocks = (V * C + Ops::norm_block - 1) / Ops::norm_block;
  buffers_.push_back(device_.allocate(8 * blocks));  // zeros: what a norm sums does not change its time
  const Tensor squares = buffers_.back().tensor(0, DType::f64, {blocks});
  const Tensor norm = filled(exact, {1}), m = filled(numerics.moments, {V, C}),
               second = filled(numerics.moments, {V, C}), master = numerics.rounded() ? filled(exact, {V, C}) : wte,
               rounded = numerics.rounded() ? flat(wte) : Tensor();
  UpdateState update;
  update.learning_rate = update.rate = 1e-6f;
  update.gradient_factor = update.root = 1;
  buffers_.push_back(device_.allocate(sizeof(UpdateState)));
  const Tensor state = buffers_.back().tensor(0, DType::u8, {sizeof(UpdateState)});
  device_.upload(state, &update);
  device_.synchronize();
  const auto as_BTC = [=](Tensor rows) { return rows.reshape({B, T, C}); };
  HeadShape shape;
  shape.vocabulary = model.vocabulary;
  Ops& ops = ops_;
  std::vector<Case> all;
  const auto add = [&](const char* name, Stage stage, double flops, double bytes, double per_step,
                       std::function<void()> run) {
    all.push_back({{name, 0, flops, bytes, per_step, stage}, std::move(run)});
  };
  const auto linear = [&](const char* name, Tensor out, Tensor in, Tensor w, Tensor b) {
    add(name, Stage::block_products, 2 * n * real(w.size()), bytes_of_all({out, in, w}), layers,
        [&ops, out, in, w, b] { ops.linear(out, in, w, b); });
  };
  const auto backward = [&](const char* name, Tensor dx, Tensor dw, Tensor db, Tensor dout, Tensor in, Tensor w) {
    add(name, Stage::block_products, 4 * n * real(w.size()), bytes_of_all({dout, dout, in, dx, w, dw}), layers,
        [&ops, dx, dw, db, dout, in, w] { ops.linear_backward(dx, dw, db, Into::write, dout, in, w); });
  };
  const Tensor qkv_rows = qkv.reshape({N, 3 * C}), dqkv_rows = dqkv.reshape({N, 3 * C});
  const double looked_up = 2 * row * real(bytes_of(type));
  add("embedding", Stage::embeddings, 0, bytes_of_all({x}) + looked_up, micro,
      [=, &ops] { ops.embedding(as_BTC(x), tokens, wte, wpe, 0, {}); });
  add("layernorm", Stage::embeddings, 0, bytes_of_all({x, y}), micro,
      [=, &ops] { ops.layernorm(y, mean, rstd, x, norm_weight, norm_weight); });
  linear("linear qkv", qkv_rows, a, w_qkv, bias3);
  add("attention", Stage::attention_forward, 2 * t * row, bytes_of_all({qkv, y}), layers,
      [=, &ops] { ops.attention(as_BTC(y), lse, qkv, H); });
  linear("linear attention out", y, a, w_proj, bias);
  add("residual_layernorm", Stage::norm_forward, 0, bytes_of_all({z, y, x, a}), 2 * layers,
      [=, &ops] { ops.residual_layernorm(z, y, mean, rstd, x, a, norm_weight, norm_weight, {}); });
  add("linear_gelu fc", Stage::block_products, 8 * c * row, bytes_of_all({wide, pre, a, w_fc}), layers,
      [=, &ops] { ops.linear_gelu(wide, pre, a, w_fc, bias4); });
  linear("linear mlp out", y, wide, w_out, bias);
  add("head_logits", Stage::head_products, 2 * s * c * v, bytes_of_all({logits, a.slice(0, chunks.logits), wte}),
      micro * n / s, [=, &ops] { ops.head_logits(logits, a.slice(0, chunks.logits), wte); });
  add("cross_entropy_backward", Stage::cross_entropy, 0, bytes_of_all({logits, dslice}), micro * n / s, [=, &ops] {
    ops.cross_entropy_backward({}, dslice, logits, targets.slice(0, chunks.logits),
                               coefficients.slice(0, chunks.logits), Tensor(), shape);
  });
  add("head_backward", Stage::head_products, 4 * k * c * v,
      2 * (bytes_of_all({dlogits, a.slice(0, chunks.chunk)})) + bytes_of_all({wte, g_wte}), micro * n / k, [=, &ops] {
        ops.head_backward(y.slice(0, chunks.chunk), g_wte, Into::write, dlogits, a.slice(0, chunks.chunk), wte);
      });
  add("layernorm_backward", Stage::norm_backward, 0, bytes_of_all({z, z, y, x}), 2 * layers + micro, [=, &ops] {
    ops.layernorm_backward(z, Into::add, Tensor(), Dropout{}, dvector, dvector, Into::write, y, x, norm_weight, mean,
                           rstd);
  });
  add("linear_backward_gelu", Stage::block_products, 16 * c * row,
      bytes_of_all({dy, dy, wide, pre, dpre, w_out, g_out}), layers,
      [=, &ops] { ops.linear_backward_gelu(dpre, g_out, dvector, Into::write, dy, wide, w_out, pre); });
  backward("linear_backward fc", y, g_fc, dbias4, dpre, a, w_fc);
  backward("linear_backward out", y, g_proj, dvector, dy, a, w_proj);
  add("attention_backward", Stage::attention_backward, 5 * t * row, bytes_of_all({dqkv, dy, y, qkv}), layers,
      [=, &ops] { ops.attention_backward(dqkv, as_BTC(dy), as_BTC(y), lse, qkv, H); });
  backward("linear_backward qkv", y, g_qkv, dbias3, dqkv_rows, a, w_qkv);
  add("embedding_backward", Stage::embeddings, 0, bytes_of_all({x}) + 2 * row * 4, micro,
      [=, &ops] { ops.embedding_backward(g_wte, g_wpe, Into::write, as_BTC(x), tokens, {}); });
  // The whole arena is a few times this tensor.
  const double arena = real(ParameterTable::gpt2(model).stored_elements()) / (v * c);
  add("square_sums (wte)", Stage::update, 2 * v * c, bytes_of_all({g_wte}), arena,
      [=, &ops] { ops.square_sums(squares, flat(g_wte)); });
  add("norm", Stage::update, 0, bytes_of_all({squares}), arena, [=, &ops] { ops.norm(norm, squares); });
  add("adamw (wte)", Stage::update, 0,
      2 * bytes_of_all({master, m, second}) + bytes_of_all({g_wte}) + real(rounded.empty() ? 0 : rounded.bytes()),
      arena,
      [=, &ops] { ops.adamw(flat(master), rounded, flat(m), flat(second), flat(g_wte), 0.1f, 0, state, AdamW{}); });
  const Recompute recompute = recompute_of(config_.batch.recompute);
  const double again = layers - micro;
  if (recompute == Recompute::block) {
    add("recompute block", Stage::recomputation, 16 * c * row + 2 * t * row,
        bytes_of_all({x, y, qkv, qkv, y, y, y, z, y, x, a, wide, pre, a, w_qkv, w_proj, w_fc}), again, [=, &ops] {
          ops.layernorm(y, mean, rstd, x, norm_weight, norm_weight);
          ops.linear(qkv_rows, a, w_qkv, bias3);
          ops.attention(as_BTC(y), lse, qkv, H);
          ops.linear(y, a, w_proj, bias);
          ops.residual_layernorm(z, y, mean, rstd, x, a, norm_weight, norm_weight, {});
          ops.linear_gelu(wide, pre, a, w_fc, bias4);
        });
  } else if (recompute != Recompute::none) {
    add("recompute gelu", Stage::recomputation, 0, bytes_of_all({wide, pre}), again,
        [=, &ops] { ops.gelu(wide, pre); });
    if (recompute == Recompute::norm) {
      add("recompute norm", Stage::recomputation, 0, bytes_of_all({x, y}), 2 * again,
          [=, &ops] { ops.layernorm(y, mean, rstd, x, norm_weight, norm_weight); });
    }
  }
  return all;
}

std::string Benchmark::op_names() const {
  const std::string names =
      "embedding, layernorm, linear, attention, residual_layernorm, linear_gelu, head_logits, "
      "cross_entropy_backward, head_backward, "
      "layernorm_backward, linear_backward, attention_backward, embedding_backward, square_sums, norm, adamw";
  return config_.batch.recompute == "none" ? names : names + ", recompute";
}

double Benchmark::time_call(const std::function<void()>& run) {
  using Clock = std::chrono::steady_clock;
  const auto seconds_of = [this](const std::function<void()>& work) {
    const Clock::time_point start = Clock::now();
    work();
    device_.synchronize();
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  seconds_of(run);  // scratch memory grows and algorithms are chosen here
  int calls = 1;
  std::unique_ptr<Recording> recording;
  std::function<void()> again = run;
  if (device_.info().asynchronous) {
    calls = static_cast<int>(std::clamp(5e-3 / seconds_of(run), 1.0, 50.0));
    recording = device_.record([&run, calls] {
      for (int i = 0; i < calls; ++i) run();
    });
    again = [&recording] { recording->replay(); };
    seconds_of(again);
  }
  std::vector<double> seconds;
  double spent = 0;
  while (seconds.size() < 3 || (spent < 0.15 && seconds.size() < 200)) {
    seconds.push_back(seconds_of(again));
    spent += seconds.back();
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
  return seconds[seconds.size() / 2] / calls;
}

std::vector<OpTiming> Benchmark::ops(const std::string& only, const std::function<bool()>& stop_requested) {
  std::vector<OpTiming> timings;
  for (Case& entry : cases()) {
    const std::string& name = entry.timing.name;
    if (!only.empty() && name != only && name.substr(0, name.find(' ')) != only) continue;
    if (stop_requested()) break;
    entry.timing.seconds = time_call(entry.run);
    timings.push_back(entry.timing);
  }
  buffers_.clear();
  return timings;
}

}  // namespace nll
