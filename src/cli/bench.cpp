// nll bench: how fast ops and whole training steps are, beside what the machine can do.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/machine.h"
#include "src/cli/verbs.h"
#include "src/config/config.h"
#include "src/model/gpt.h"
#include "src/train/backend.h"
#include "src/train/benchmark.h"

namespace nll {

namespace {

struct BenchOptions {
  std::string model, op, run;
  std::vector<std::string> overrides;
  std::optional<std::int64_t> batch, context, tokens_per_step;
  std::int64_t steps = 5;
  DeviceOptions device;
  bool json = false;
};

struct Published {
  const char* name;
  std::int64_t layers, heads, width;
};
constexpr Published published_models[] = {
    {"124m", 12, 12, 768}, {"355m", 24, 16, 1024}, {"774m", 36, 20, 1280}, {"1558m", 48, 25, 1600}};

// The config of --model, and the name that its record gets.
std::pair<Config, std::string> config_of(const BenchOptions& options) {
  for (const Published& published : published_models) {
    if (options.model != published.name) continue;
    Config config = parse_config("{}", "nll bench", options.overrides);
    config.model.layers = published.layers;
    config.model.heads = published.heads;
    config.model.width = published.width;
    return {config, fmt::format("gpt2-{}", published.name)};
  }
  Config config = options.model.empty() ? parse_config("{}", "nll bench", options.overrides)
                                        : load_config(options.model, options.overrides);
  return {config, fmt::format("gpt2-{}x{}", config.model.layers, config.model.width)};
}

// A CPU is asked for little unless more is said; a GPU for what it is made for.
void set_batch(Config& config, const BenchOptions& options, bool gpu) {
  constexpr std::int64_t cpu_batch = 4, cpu_context = 64, gpu_tokens = 524288;
  const std::int64_t context = options.context.value_or(gpu ? config.model.context : cpu_context);
  if (context > config.model.context) {
    throw Error(Exit::usage,
                fmt::format("--context: {} is longer than model.context {}", context, config.model.context));
  }
  config.model.context = context;
  config.batch.sequences = options.batch;
  if (!gpu && !options.batch) config.batch.sequences = cpu_batch;
  const std::int64_t micro_batch = checked_product(config.batch.sequences.value_or(1), context);
  const std::int64_t wanted = gpu ? std::max(gpu_tokens / micro_batch, std::int64_t{1}) * micro_batch : micro_batch;
  config.batch.tokens_per_step = options.tokens_per_step.value_or(wanted);
}

// What was measured, and what it is held against.
struct Report {
  std::string model, command, run;
  DeviceInfo device;
  Config config;
  TrainPlan plan;
  int steps = 0;
  std::vector<OpTiming> ops;
  StepTiming step;
  MachineLimits measured, roof;  // roof: what the maker publishes where that is known, else the same
  double peak = 0;               // of MFU, operations a second; 0: not known
  double tokens_per_second() const { return static_cast<double>(config.batch.tokens_per_step) / step.seconds; }
  double flops_per_second() const { return plan.flops_per_token * tokens_per_second(); }
  bool gpu() const { return plan.numerics.gpu; }
};

// Rates that a step on a GPU is held against: of such a GPU where they are known, else what was measured.
DeviceRates rates_of(const Report& report) {
  const DeviceRates* known = report.plan.numerics.compute == DType::f32 ? nullptr : find_device_rates(report.device);
  return known != nullptr
             ? *known
             : measured_rates(report.device, report.plan.numerics, report.measured.matmul, report.measured.memory);
}
StepTime least_time(const Report& report, Bound bound) {
  return speed_of_light(report.config.model, report.config.model.context, report.plan.sequences,
                        report.plan.micro_batches, rates_of(report), bound,
                        recompute_of(report.config.batch.recompute));
}
double tokens_per_second_at(const Report& report, Bound bound) {
  return static_cast<double>(report.config.batch.tokens_per_step) / least_time(report, bound).total();
}

// Stage by stage what a step took beside what it could take.
struct Gaps {
  StepTime measured, practical;
};
std::optional<Gaps> gaps_of(const Report& report) {
  if (!report.gpu() || report.ops.size() < 2 || report.step.seconds == 0) return std::nullopt;
  return Gaps{measured_stages(report.ops, report.step.seconds), least_time(report, Bound::practical)};
}

std::string json_text(const Report& report) {
  const StepTiming& step = report.step;
  nlohmann::ordered_json out{{"program", "nll"},
                             {"model", report.model},
                             {"precision", precision_name(report.plan.numerics.compute)},
                             {"batch", report.plan.sequences},
                             {"context", report.config.model.context},
                             {"tokens_per_step", report.config.batch.tokens_per_step}};
  if (step.seconds > 0) {
    out["tokens_per_second"] = report.tokens_per_second();
    if (report.gpu()) {
      out["limit_tokens_per_second"] = tokens_per_second_at(report, Bound::limit);
      out["practical_tokens_per_second"] = tokens_per_second_at(report, Bound::practical);
    }
    out["mfu"] = report.peak > 0 ? nlohmann::ordered_json(report.flops_per_second() / report.peak) : nullptr;
    out["step_seconds"] = {
        {"median", step.seconds}, {"minimum", step.fastest}, {"maximum", step.slowest}, {"steps", report.steps}};
    out["gflops"] = report.flops_per_second() * 1e-9;
    out["seconds"] = {
        {"forward", step.forward}, {"head", step.head}, {"backward", step.backward}, {"update", step.update}};
    out["loss"] = {{"first", step.first_loss}, {"last", step.last_loss}};
  }
  out[report.gpu() ? "matmul_gflops" : "sgemm_gflops"] = report.measured.matmul * 1e-9;
  out["bandwidth_gbytes"] = report.measured.memory * 1e-9;
  if (report.peak > 0) out["peak_gflops"] = report.peak * 1e-9;
  out["device"] = report.device.name;
  out["threads"] = report.device.threads;
  if (!report.device.software.empty()) out["software"] = report.device.software;
  out["date"] = fmt::format("{:%Y-%m-%d}", fmt::gmtime(std::time(nullptr)));
  out["command"] = report.command;
  out["run"] = report.run;
  for (const OpTiming& op : report.ops)
    out["ops"].push_back({{"op", op.name},
                          {"seconds", op.seconds},
                          {"gflops", op.flops / op.seconds * 1e-9},
                          {"gbytes", op.bytes / op.seconds * 1e-9},
                          {"share_of_roof", share_of_roof(op, report.roof)},
                          {"calls_per_step", op.per_step},
                          {"seconds_per_step", op.seconds * op.per_step}});
  if (const std::optional<Gaps> gaps = gaps_of(report)) {
    for (int i = 0; i < stage_count; ++i)
      out["stages"].push_back({{"name", stage_name(static_cast<Stage>(i))},
                               {"measured_seconds", gaps->measured.seconds[i]},
                               {"practical_seconds", gaps->practical.seconds[i]}});
  }
  return out.dump(2) + "\n";
}

std::string ops_text(const Report& report) {
  if (report.ops.empty()) return {};
  const double unit = report.gpu() ? 1e-12 : 1e-9;
  std::string text = fmt::format("  {:<24}{:>11}{:>12}{:>9}{:>10}{:>11}{:>9}{:>11}\n", "op", "time ms",
                                 report.gpu() ? "TFLOP/s" : "GFLOP/s", report.gpu() ? "matmul %" : "sgemm %", "GB/s",
                                 "x a step", "roof %", "ms a step");
  for (const OpTiming& op : report.ops) {
    text += fmt::format("  {:<24}{:>11.3f}{:>12.1f}{:>9.1f}{:>10.1f}{:>11.4g}{:>9.1f}{:>11.2f}\n", op.name,
                        op.seconds * 1e3, op.flops / op.seconds * unit,
                        100 * op.flops / op.seconds / report.measured.matmul, op.bytes / op.seconds * 1e-9, op.per_step,
                        100 * share_of_roof(op, report.roof), op.seconds * op.per_step * 1e3);
  }
  const std::string roof =
      report.gpu() && report.peak > 0
          ? fmt::format("published: {:.1f} TFLOP/s, {:.0f} GB/s", report.roof.matmul * 1e-12, report.roof.memory * 1e-9)
          : std::string("measured above");
  return text + fmt::format("  roof: max(FLOPs / rate of products, bytes / rate of memory) / time, rates {}; {}\n",
                            roof,
                            report.gpu() ? "recorded calls, caches as the call before left them"
                                         : "caches as the call before left them, so small ops exceed it");
}

std::string step_text(const Report& report) {
  const StepTiming& step = report.step;
  if (step.seconds == 0) return {};
  const double unit = report.gpu() ? 1e-12 : 1e-9;
  std::string text = fmt::format(
      "whole step with AdamW: {:.1f} ms (median of {}, {:.1f} to {:.1f}), {:.1f} tokens/s, {:.1f} {}, {:.1f} % of {}\n",
      step.seconds * 1e3, report.steps, step.fastest * 1e3, step.slowest * 1e3, report.tokens_per_second(),
      report.flops_per_second() * unit, report.gpu() ? "TFLOP/s" : "GFLOP/s",
      100 * report.flops_per_second() / report.measured.matmul,
      report.gpu() ? "the measured rate of products" : "sgemm");
  text += fmt::format("  forward {:.1f} ms, head {:.1f} ms, backward {:.1f} ms, norm and AdamW {:.1f} ms\n",
                      step.forward * 1e3, step.head * 1e3, step.backward * 1e3, step.update * 1e3);
  const std::string mfu = report.peak > 0
                              ? fmt::format("{:.1f} % of {:.1f} TFLOP/s ({}, published, dense)",
                                            100 * report.flops_per_second() / report.peak, report.peak * 1e-12,
                                            precision_name(report.plan.numerics.compute))
                              : std::string("n/a (no published peak of this device is known)");
  text += fmt::format("  MFU {}; loss {:.4f} to {:.4f}\n", mfu, step.first_loss, step.last_loss);
  if (!report.gpu()) return text;
  const double practical = tokens_per_second_at(report, Bound::practical);
  return text + fmt::format("  {:.1f} % of the practical {:.0f} tokens/s (limit {:.0f}): {}\n",
                            100 * report.tokens_per_second() / practical, practical,
                            tokens_per_second_at(report, Bound::limit), rates_of(report).source);
}

std::string gaps_text(const Report& report) {
  const std::optional<Gaps> gaps = gaps_of(report);
  if (!gaps) return {};
  std::string text = fmt::format("  {:<28}{:>12}{:>12}{:>10}\n", "stage, ms a step", "measured", "practical", "gap");
  const auto line = [&](const char* name, double measured, double practical) {
    text += fmt::format("  {:<28}{:>12.1f}{:>12.1f}{:>10.1f}\n", name, measured * 1e3, practical * 1e3,
                        (measured - practical) * 1e3);
  };
  for (int i = 0; i < stage_count; ++i) {
    if (static_cast<Stage>(i) == Stage::recomputation && gaps->practical.seconds[i] == 0) continue;
    line(stage_name(static_cast<Stage>(i)), gaps->measured.seconds[i], gaps->practical.seconds[i]);
  }
  line("together", gaps->measured.total(), gaps->practical.total());
  return text;
}

std::string text_of(const Report& report) {
  const ModelConfig& model = report.config.model;
  std::string text = report.device.name + "\n";
  if (report.gpu()) {
    text += fmt::format("{}\nmachine: {} products {:.1f} TFLOP/s, memory {:.0f} GB/s\n", report.device.software,
                        precision_name(report.plan.numerics.compute), report.measured.matmul * 1e-12,
                        report.measured.memory * 1e-9);
  } else {
    text += fmt::format("machine: sgemm {:.0f} GFLOP/s, memory {:.1f} GB/s\n", report.measured.matmul * 1e-9,
                        report.measured.memory * 1e-9);
  }
  text += fmt::format("model: {} layers, width {}, vocabulary {}; batch {} x {} tokens", model.layers, model.width,
                      model.vocabulary, report.plan.sequences, model.context);
  if (report.plan.micro_batches > 1) {
    text += fmt::format(", {} micro-batches a step of {} tokens", report.plan.micro_batches,
                        report.config.batch.tokens_per_step);
  }
  return text + "\n" + ops_text(report) + step_text(report) + gaps_text(report);
}

std::string command_of(const Invocation& invocation) {
  std::string command = "nll";
  for (std::size_t i = 1; i < invocation.arguments.size(); ++i) command += " " + invocation.arguments[i];
  return command;
}

Exit bench(const BenchOptions& options, Invocation& invocation) {
  Report report;
  std::tie(report.config, report.model) = config_of(options);
  Config& config = report.config;
  config.cpu.threads = options.device.threads;
  if (options.device.precision.compute != "auto") config.precision.compute = options.device.precision.compute;
  Backend backend = make_backend(options.device.device, backend_options(config, invocation.cache_folder));
  report.device = backend.device->info();
  set_batch(config, options, report.device.kind == "cuda");
  report.command = command_of(invocation);
  report.run = options.run;
  report.steps = static_cast<int>(options.steps);
  const Numerics numerics = resolve_numerics(config, report.device);
  const MachineLimits before = measure_limits(backend, numerics);
  Benchmark benchmark(config, backend);
  report.plan = benchmark.plan();
  if (options.op != "step") report.ops = benchmark.ops(options.op, invocation.stop_requested);
  if (options.op.empty() || options.op == "step")
    report.step = benchmark.steps(report.steps, invocation.stop_requested);
  if (report.ops.empty() && report.step.seconds == 0) {
    if (invocation.stop_requested()) return Exit::stopped;
    throw Error(Exit::usage, fmt::format("--op: unknown op \"{}\"", options.op),
                "one of: step, " + benchmark.op_names());
  }
  // Measured before and after: a shared machine is not the same from one second to the next.
  const MachineLimits after = measure_limits(backend, numerics);
  report.measured = {std::max(before.matmul, after.matmul), std::max(before.memory, after.memory)};
  report.roof = report.measured;
  report.peak = peak_matmul_flops(report.device, numerics.compute);
  if (report.peak > 0) report.roof = {report.peak, peak_memory_bytes(report.device)};
  print(options.json ? json_text(report) : text_of(report));
  return Exit::done;
}

}  // namespace

void add_bench(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("bench", "Time ops and whole training steps beside the machine's own limits");
  auto o = std::make_shared<BenchOptions>();
  verb->add_option("--model", o->model, "JSON config of the model, or a GPT-2: 124m, 355m, 774m, 1558m; none: 124m");
  verb->add_option("--set", o->overrides, "Override one key of the config: a.b=c (may be given several times)")
      ->allow_extra_args(false)
      ->type_name("a.b=c");
  verb->add_option("--batch", o->batch, "Sequences of a micro-batch; default: 4 on a CPU, what fits on a GPU")
      ->check(CLI::Range(1, 1 << 20));
  verb->add_option("--context", o->context, "Tokens of a sequence; default: 64 on a CPU, model.context on a GPU")
      ->check(CLI::Range(1, 1 << 24));
  verb->add_option("--tokens-per-step", o->tokens_per_step,
                   "Tokens of an optimizer step; default: one micro-batch on a CPU, about 524288 on a GPU")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  verb->add_option("--op", o->op, "Only this op, or `step`; none: all of them and whole steps");
  verb->add_option("--steps", o->steps, "Whole steps to time, after some that are not counted")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  o->device.add_to(*verb);
  verb->add_option("--run", o->run, "Name of the series of measurements that this is a part of, for the record");
  verb->add_flag("--json", o->json, "Print JSON");
  verb->callback([&invocation, o] { invocation.run = [&invocation, o] { return bench(*o, invocation); }; });
}

}  // namespace nll
