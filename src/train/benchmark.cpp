// B sequences, T time, N = B*T.
#include "src/train/benchmark.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "kernels/machine.h"
#include "kernels/philox.h"
#include "src/model/head.h"
#include "src/optim/adamw.h"
#include "src/train/train_step.h"

namespace nll {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A few micro-batches of random tokens, given out in turn: drawing them does not count.
class RandomBatches {
 public:
  RandomBatches(const ModelConfig& model, std::int64_t sequences, std::int64_t count) {
    const std::int64_t N = sequences * model.context;
    for (std::int64_t b = 0; b < count; ++b) {
      Batch batch{sequences, model.context, {}, {}};
      for (std::int64_t i = 0; i < N; ++i) {
        const PhiloxBlock block = philox(4, static_cast<std::uint64_t>(b), static_cast<std::uint64_t>(i));
        const auto id = [&](int word) {
          return static_cast<std::int32_t>(block.word[word] % static_cast<std::uint32_t>(model.vocabulary));
        };
        batch.tokens.push_back(id(0));
        batch.targets.push_back(id(1));
      }
      batches_.push_back(std::move(batch));
    }
  }
  Batch next() { return batches_[next_++ % batches_.size()]; }

 private:
  std::vector<Batch> batches_;
  std::size_t next_ = 0;
};

}  // namespace

MachineLimits measure_limits(Backend& backend, const Numerics& numerics) {
  if (numerics.gpu) {
    return {measure_matmul_flops(backend, numerics.compute, 1.0), measure_memory_bytes(backend, 0.3)};
  }
  const int threads = backend.device->info().threads;
  return {measure_sgemm_gflops(threads, 0.5) * 1e9, measure_memory_gigabytes(threads, 0.3) * 1e9};
}

double share_of_roof(const OpTiming& op, const MachineLimits& limits) {
  return std::max(op.flops / limits.matmul, op.bytes / limits.memory) / op.seconds;
}

StepTime measured_stages(const std::vector<OpTiming>& ops, double step_seconds) {
  StepTime time;
  for (const OpTiming& op : ops) time.seconds[static_cast<int>(op.stage)] += op.seconds * op.per_step;
  time.seconds[static_cast<int>(Stage::accumulation_and_gaps)] = step_seconds - time.total();
  return time;
}

Benchmark::Benchmark(const Config& config, Backend& backend)
    : config_(config), backend_(backend), device_(*backend.device), ops_(*backend.ops) {
  const DeviceInfo device = device_.info();
  plan_ = make_plan(config, 1, device.available_memory_bytes, resolve_numerics(config, device));
}

StepTiming Benchmark::steps(int count, const std::function<bool()>& stop_requested) {
  StepTiming timing;
  std::vector<double> seconds;
  {
    const ParameterTable table = ParameterTable::gpt2(config_.model);
    Collective alone(one_rank(), device_, ops_, {});
    TrainStep step(config_, plan_, table, backend_, alone);
    initialize(table, 1, device_, step.master());
    step.round_weights();
    RandomBatches batches(config_.model, plan_.sequences, std::min<std::int64_t>(plan_.micro_batches, 8));
    // As in the trainer, the next step is queued while the host reads of this one. Steps that are not counted grow
    // scratch memory, and on a GPU choose algorithms and record.
    const bool asynchronous = device_.info().asynchronous;
    const std::int64_t ahead = asynchronous ? TrainStep::most_ahead : 1, warm = asynchronous ? 3 : 1;
    Clock::time_point busy_since;
    bool stopped = false;
    for (std::int64_t queued = 0, done = 0; done < count + warm; ++done) {
      while (!stopped && step.ahead() < ahead && queued < count + warm) {
        if (step.ahead() == 0) busy_since = Clock::now();
        StepData data;
        for (std::int64_t i = 0; i < plan_.micro_batches; ++i) data.batches.emplace_back().batch = batches.next();
        stopped = !step.queue(queued++, 1e-4, std::move(data), stop_requested);
      }
      if (step.ahead() == 0) break;
      const StepOutcome outcome = step.finish();
      if (done >= warm) seconds.push_back(since(busy_since));
      busy_since = Clock::now();
      timing.last_norm = outcome.update.norm;
      timing.last_loss = outcome.sums.loss;
      if (done == 0) timing.first_loss = timing.last_loss;
      if (!std::isfinite(timing.last_norm) || !std::isfinite(timing.last_loss)) {
        throw Error(Exit::diverged, fmt::format("step {}: the loss or the gradient is not finite", done));
      }
    }
  }
  if (seconds.empty()) return {};
  timing.seconds = median(seconds);
  timing.fastest = *std::min_element(seconds.begin(), seconds.end());
  timing.slowest = *std::max_element(seconds.begin(), seconds.end());
  time_parts(timing, std::min(count, 5), stop_requested);
  return timing;
}

void Benchmark::time_parts(StepTiming& timing, int count, const std::function<bool()>& stop_requested) {
  const ModelConfig& model = config_.model;
  const Numerics& numerics = plan_.numerics;
  const std::int64_t B = plan_.sequences, T = model.context, N = B * T;
  const ParameterTable table = ParameterTable::gpt2(model);
  const auto arena = [&](DType type) {
    buffers_.push_back(device_.allocate(checked_product(table.stored_elements(), bytes_of(type))));
    return buffers_.back().tensor(0, type, {table.stored_elements()});
  };
  const Tensor weights = arena(DType::f32), gradients = arena(DType::f32),
               rounded = numerics.rounded() ? arena(numerics.compute) : Tensor();
  initialize(table, 1, device_, weights);
  if (numerics.rounded()) ops_.convert(rounded, weights);
  const GptTensors w = numerics.rounded() ? gpt_views(table, model, weights, rounded)
                                          : gpt_views(table, model, weights),
                   g = gpt_views(table, model, gradients);
  AdamWOptimizer optimizer(config_, table, ops_, device_, numerics);
  UpdateState first = first_update_state(numerics);
  first.learning_rate = 1e-4f;
  optimizer.set_state(first);
  Gpt gpt(model, ops_, device_, B, T, Pass::training, numerics, recompute_of(config_.batch.recompute));
  Head head(model, config_.head, ops_, device_, N, numerics);
  const Tensor tokens = random_tokens({B, T}), targets = random_tokens({N}), coefficients = filled(DType::f32, {N, 4});
  std::vector<float> host(static_cast<std::size_t>(4 * N));
  for (std::size_t i = 0; i < host.size(); i += 4) host[i] = -1.0f / static_cast<float>(N);
  device_.upload(coefficients, host.data());
  device_.synchronize();
  const Tensor scale = numerics.compute == DType::f16 ? optimizer.loss_scale() : Tensor();

  Tensor hidden;
  const std::function<void()> parts[] = {
      [&] { hidden = gpt.forward(w, tokens); },
      [&] { head.train(gpt.dhidden(), g.wte, Into::write, hidden, targets, coefficients, w.wte, scale); },
      [&] { gpt.backward(w, g, Into::write, gpt.dhidden()); },
      [&] {
        ops_.find_nonfinite(optimizer.guard(), Into::write, head.statistics_block().slice(0, Head::finite_rows));
        optimizer.update(weights, rounded, gradients);
      }};
  constexpr std::size_t part_count = std::size(parts);
  std::unique_ptr<Recording> recordings[part_count];
  std::vector<double> seconds[part_count];
  const bool recorded = config_.cuda.graphs;
  for (int i = 0; i <= count && !stop_requested(); ++i) {
    for (std::size_t part = 0; part < part_count; ++part) {
      if (i == 1 && recorded) {
        recordings[part] = device_.record(parts[part]);
        device_.synchronize();
      }
      const Clock::time_point start = Clock::now();
      if (recordings[part] != nullptr) {
        recordings[part]->replay();
      } else {
        parts[part]();
      }
      device_.synchronize();
      if (i > 0) seconds[part].push_back(since(start));  // the first round grows scratch memory
    }
  }
  buffers_.clear();
  if (seconds[part_count - 1].empty()) return;
  const double micro_batches = static_cast<double>(plan_.micro_batches);
  timing.forward = micro_batches * median(seconds[0]);
  timing.head = micro_batches * median(seconds[1]);
  timing.backward = micro_batches * median(seconds[2]);
  timing.update = median(seconds[3]);
}

}  // namespace nll
