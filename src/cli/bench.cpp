// nll bench: how fast ops and whole training steps are, beside what the machine can do.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "kernels/machine.h"
#include "src/cli/verbs.h"
#include "src/config/config.h"
#include "src/train/benchmark.h"

namespace nll {

namespace {

struct BenchOptions {
  std::string model, op;
  std::int64_t batch = 4, context = 64, steps = 5, threads = 0;
  bool json = false;
};

ModelConfig model_of(const BenchOptions& options) {
  ModelConfig model;  // GPT-2 124M
  if (!options.model.empty()) model = load_config(options.model, {}).model;
  if (options.context > model.context) {
    throw Error(Exit::usage,
                fmt::format("--context: {} is longer than model.context {}", options.context, model.context));
  }
  return model;
}

Exit bench(const BenchOptions& options, Invocation& invocation) {
  const ModelConfig model = model_of(options);
  Backend backend = make_backend("cpu", cpu_options(static_cast<int>(options.threads)));
  const DeviceInfo device = backend.device->info();
  Benchmark benchmark(model, options.batch, options.context, backend);
  std::vector<OpTiming> ops;
  StepTiming step;
  if (options.op != "step") ops = benchmark.ops(options.op, invocation.stop_requested);
  if (options.op.empty() || options.op == "step")
    step = benchmark.steps(static_cast<int>(options.steps), invocation.stop_requested);
  if (ops.empty() && step.seconds == 0) {
    throw Error(Exit::usage, fmt::format("--op: unknown op \"{}\"", options.op),
                "one of: step, " + benchmark.op_names());
  }
  // Measured before and after: a shared machine is not the same from one second to the next.
  const double sgemm = std::max(benchmark.sgemm_before(), measure_sgemm_gflops(device.threads, 0.5));
  const double tokens = static_cast<double>(options.batch * options.context);
  const double gflops =
      step.seconds > 0 ? training_flops_per_token(model, options.context) * tokens / step.seconds * 1e-9 : 0;
  if (options.json) {
    nlohmann::ordered_json out{{"program", "nll"},
                               {"model", fmt::format("gpt2-{}x{}", model.layers, model.width)},
                               {"precision", "fp32"},
                               {"batch", options.batch},
                               {"context", options.context}};
    if (step.seconds > 0) {
      out["tokens_per_second"] = tokens / step.seconds;
      out["step_seconds"] = {
          {"median", step.seconds}, {"minimum", step.fastest}, {"maximum", step.slowest}, {"steps", options.steps}};
      out["gflops"] = gflops;
      out["seconds"] = {
          {"forward", step.forward}, {"head", step.head}, {"backward", step.backward}, {"update", step.update}};
    }
    out["sgemm_gflops"] = sgemm;
    out["bandwidth_gbytes"] = benchmark.bandwidth_gbytes();
    out["device"] = device.name;
    out["threads"] = device.threads;
    for (const OpTiming& op : ops)
      out["ops"].push_back({{"op", op.name},
                            {"seconds", op.seconds},
                            {"gflops", op.flops / op.seconds * 1e-9},
                            {"gbytes", op.bytes / op.seconds * 1e-9}});
    print(out.dump(2) + "\n");
    return Exit::done;
  }
  std::string text = fmt::format(
      "{}\nmachine: sgemm {:.0f} GFLOP/s, memory {:.1f} GB/s\nmodel: {} layers, width {}, vocabulary {}; batch {} x {} "
      "tokens\n",
      device.name, sgemm, benchmark.bandwidth_gbytes(), model.layers, model.width, model.vocabulary, options.batch,
      options.context);
  if (!ops.empty())
    text += fmt::format("  {:<24}{:>11}{:>12}{:>9}{:>10}{:>11}\n", "op", "time ms", "GFLOP/s", "sgemm %", "GB/s",
                        "x a step");
  for (const OpTiming& op : ops) {
    text += fmt::format("  {:<24}{:>11.3f}{:>12.1f}{:>9.1f}{:>10.1f}{:>11}\n", op.name, op.seconds * 1e3,
                        op.flops / op.seconds * 1e-9, 100 * op.flops / op.seconds * 1e-9 / sgemm,
                        op.bytes / op.seconds * 1e-9, op.per_step);
  }
  if (step.seconds > 0) {
    text += fmt::format(
        "whole step with AdamW: {:.1f} ms (median of {}, {:.1f} to {:.1f}), {:.1f} tokens/s, {:.1f} GFLOP/s, {:.1f} % "
        "of sgemm\n",
        step.seconds * 1e3, options.steps, step.fastest * 1e3, step.slowest * 1e3, tokens / step.seconds, gflops,
        100 * gflops / sgemm);
    text += fmt::format("  forward {:.1f} ms, head {:.1f} ms, backward {:.1f} ms, norm and AdamW {:.1f} ms\n",
                        step.forward * 1e3, step.head * 1e3, step.backward * 1e3, step.update * 1e3);
  }
  print(text);
  return Exit::done;
}

}  // namespace

void add_bench(CLI::App& app, Invocation& invocation) {
  CLI::App* verb = app.add_subcommand("bench", "Time ops and whole training steps beside the machine's own limits");
  auto o = std::make_shared<BenchOptions>();
  verb->add_option("--model", o->model, "JSON config of the model; none: GPT-2 124M");
  verb->add_option("--batch", o->batch, "Sequences of a step")->capture_default_str()->check(CLI::Range(1, 1 << 20));
  verb->add_option("--context", o->context, "Tokens of a sequence")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 24));
  verb->add_option("--op", o->op, "Only this op, or `step`; none: all of them and whole steps");
  verb->add_option("--steps", o->steps, "Whole steps to time, after one that is not counted")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  verb->add_option("--threads", o->threads, "0: one for each core")->capture_default_str()->check(CLI::Range(0, 4096));
  verb->add_flag("--json", o->json, "Print JSON");
  verb->callback([&invocation, o] { invocation.run = [&invocation, o] { return bench(*o, invocation); }; });
}

}  // namespace nll
