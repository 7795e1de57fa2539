// nll plan: what a config needs, before anything is allocated.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/device.h"
#include "kernels/machine.h"
#include "kernels/ops.h"
#include "src/cli/plan_scaling.h"
#include "src/cli/verbs.h"
#include "src/config/config.h"
#include "src/train/plan.h"
#include "src/train/speed_of_light.h"
#include "src/train/starting_model.h"

namespace nll {

namespace {

struct PlanOptions {
  std::string config, device = "cpu";
  std::vector<std::string> overrides;
  std::int64_t ranks = 1;
  bool json = false;
  ScalingOptions scaling;
};

// What the time is estimated for.
struct Target {
  DeviceInfo device;
  Numerics numerics;
  DeviceRates rates;
  double peak = 0;     // what MFU is a share of, operations a second; 0: not known
  std::string source;  // of the matrix rate
};

Target this_processor(const Config& config) {
  Target target;
  target.device = make_backend("cpu").device->info();
  target.numerics = resolve_numerics(config, target.device);
  const double products = measure_sgemm_gflops(target.device.threads, 0.3) * 1e9,
               memory = measure_memory_gigabytes(target.device.threads, 0.3) * 1e9;
  target.rates = measured_rates(target.device, target.numerics, products, memory);
  target.source = fmt::format("sgemm measured here just now: {:.0f} GFLOP/s", products * 1e-9);
  // The memory of this moment says little about the run: no limit.
  target.device.available_memory_bytes = 0;
  return target;
}

Target named_gpu(const Config& config, const std::string& name) {
  Target target;
  for (const DeviceRates& known : known_device_rates()) {
    if (known.name != name) continue;
    target.rates = known;
    target.device = planned_device(known);
  }
  target.numerics = resolve_numerics(config, target.device);
  target.peak = peak_matmul_flops(target.device, target.numerics.compute);
  target.source = fmt::format("{}: {:.0f} TFLOP/s sustained bf16 matrix rate", name, target.rates.matmul * 1e-12);
  if (target.numerics.compute == DType::f32) {
    target.rates = measured_rates(target.device, target.numerics, target.peak, target.rates.memory);
    target.rates.source = "published FP32 peak, attention at the share of it that the best BF16 kernels reach";
    target.source = fmt::format("{}: {:.0f} TFLOP/s published fp32 rate", name, target.peak * 1e-12);
  }
  return target;
}

std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  return text;
}

struct TimeEstimate {
  StepTime limit, practical;
  double floor = 0;            // matrix work alone, seconds a step
  double tokens_per_step = 0;  // of all ranks
  double flops_per_step = 0;   // of one rank
  std::optional<ScalingEstimate> ranks;
  double rate(const StepTime& time) const { return tokens_per_step / time.total(); }
  double share(const StepTime& time, double peak) const { return flops_per_step / time.total() / peak; }
};

TimeEstimate estimate(const Config& config, const TrainPlan& plan, const Target& target,
                      const ScalingOptions& options) {
  TimeEstimate result;
  const auto bound = [&](Bound which) {
    return speed_of_light(config.model, plan.context, plan.sequences, plan.micro_batches, target.rates, which,
                          recompute_of(config.batch.recompute));
  };
  result.limit = bound(Bound::limit);
  result.practical = bound(Bound::practical);
  result.tokens_per_step = static_cast<double>(plan.positions_per_step());
  result.flops_per_step = plan.flops_per_token * result.tokens_per_step / static_cast<double>(plan.ranks);
  result.floor = result.flops_per_step / target.rates.matmul;
  if (plan.ranks == 1) return result;
  result.ranks =
      estimate_scaling(plan, config, result.practical, target.peak > 0 ? target.peak : target.rates.matmul, options);
  if (plan.sharded) {
    for (StepTime* time : {&result.limit, &result.practical})
      time->seconds[static_cast<int>(Stage::update)] /= static_cast<double>(plan.ranks);
  }
  return result;
}

std::string json_text(const TrainPlan& plan, const Target& target, const TimeEstimate& time) {
  nlohmann::ordered_json out{{"parameters", plan.parameters},
                             {"flops_per_token", plan.flops_per_token},
                             {"tokens_per_step", plan.positions_per_step()},
                             {"ranks", plan.ranks},
                             {"sequences", plan.sequences},
                             {"micro_batches", plan.micro_batches},
                             {"bytes", plan.bytes()},
                             {"seconds_per_step_at_least", time.floor}};
  for (const ArenaPlan& arena : plan.arenas)
    out["arenas"].push_back({{"name", arena.name()}, {"bytes", arena.bytes()}});
  out["device"] = target.device.name;
  out["precision"] = precision_name(plan.numerics.compute);
  out["memory_bytes"] = target.device.memory_bytes;
  out["rates"] = {{"matmul_flops", target.rates.matmul},
                  {"memory_bytes_per_second", target.rates.memory},
                  {"attention_forward_flops", target.rates.practical_attention_forward},
                  {"attention_backward_flops", target.rates.practical_attention_backward},
                  {"source", target.rates.source}};
  for (int i = 0; i < stage_count; ++i) {
    out["stages"].push_back({{"name", stage_name(static_cast<Stage>(i))},
                             {"limit_seconds", time.limit.seconds[i]},
                             {"practical_seconds", time.practical.seconds[i]}});
  }
  const auto bound = [&](const StepTime& step) {
    nlohmann::ordered_json one{{"seconds_per_step", step.total()}, {"tokens_per_second", time.rate(step)}};
    if (target.peak > 0) one["mfu"] = time.share(step, target.peak);
    return one;
  };
  out["limit"] = bound(time.limit);
  out["practical"] = bound(time.practical);
  if (time.ranks) out["scaling"] = scaling_json(*time.ranks);
  return out.dump(2) + "\n";
}

std::string stages_text(const Target& target, const TimeEstimate& time) {
  const bool both = target.rates.gpu;
  std::string text = both ? fmt::format("stages of a step, ms on one rank      {:>10} {:>10}\n", "limit", "practical")
                          : fmt::format("stages of a step, ms on one rank, at the rates measured here\n");
  const auto line = [&](const std::string& name, const std::string& limit, const std::string& practical,
                        const std::string& remark) {
    std::string added = both ? fmt::format("  {:<35} {:>10} {:>10}   {}", name, limit, practical, remark)
                             : fmt::format("  {:<23} {:>16}   {}", name, limit, remark);
    added.erase(added.find_last_not_of(' ') + 1);
    text += added + "\n";
  };
  const auto milliseconds = [](double seconds) { return fmt::format("{:.1f}", 1e3 * seconds); };
  for (int i = 0; i < stage_count; ++i) {
    if (static_cast<Stage>(i) == Stage::recomputation && time.limit.seconds[i] == 0) continue;
    line(stage_name(static_cast<Stage>(i)), milliseconds(time.limit.seconds[i]),
         milliseconds(time.practical.seconds[i]), "");
  }
  line("together", milliseconds(time.limit.total()), milliseconds(time.practical.total()), "");
  line("tokens a second", human_count(time.rate(time.limit)), human_count(time.rate(time.practical)), "");
  const auto percent = [&](const StepTime& step, double of) {
    return fmt::format("{:.1f} %", 100 * time.share(step, of));
  };
  if (target.peak > 0) {
    line("MFU", percent(time.limit, target.peak), percent(time.practical, target.peak),
         fmt::format("of the published {:.1f} TFLOP/s", target.peak * 1e-12));
  } else {
    line("share of sgemm", percent(time.limit, target.rates.matmul), "", "");
  }
  if (both) text += fmt::format("  rates: {}\n", target.rates.source);
  return text;
}

Exit plan(const PlanOptions& options, Console& console) {
  const Config config = load_run_config({options.config, options.overrides, false, {}, warn_of_refused(console)});
  check_config(config, options.config, options.ranks);
  const Target target = options.device == "cpu" ? this_processor(config) : named_gpu(config, options.device);
  const TrainPlan plan = make_plan(config, options.ranks, target.device.available_memory_bytes, target.numerics);
  const TimeEstimate time = estimate(config, plan, target, options.scaling);
  if (options.json) {
    print(json_text(plan, target, time));
    return Exit::done;
  }
  const double steps = static_cast<double>(config.schedule.steps);
  std::string text = fmt::format(
      "{}\n  parameters              {:>16}   {}\n  FLOPs per token         {:>16.4g}   forward and backward, 6 N + 6 "
      "L C T\n",
      options.config, plan.parameters, human_count(static_cast<double>(plan.parameters)), plan.flops_per_token);
  text += fmt::format(
      "  batch                   {:>16}   tokens a step: {} rank{} x {} micro-batch{} x {} sequence{} x {} tokens\n",
      plan.positions_per_step(), plan.ranks, plan.ranks == 1 ? "" : "s", plan.micro_batches,
      plan.micro_batches == 1 ? "" : "es", plan.sequences, plan.sequences == 1 ? "" : "s", plan.context);
  if (config.objective.of_records())
    text += "                                             as long as records may be; a run takes the longest it has\n";
  text += fmt::format("memory of one rank ({})\n", upper(precision_name(plan.numerics.compute)));
  for (const ArenaPlan& arena : plan.arenas)
    text += fmt::format("  {:<23} {:>16}   {}\n", arena.name(), arena.bytes(), human_bytes(arena.bytes()));
  text += fmt::format("  {:<23} {:>16}   {}\n", "together", plan.bytes(), human_bytes(plan.bytes()));
  if (plan.numerics.gpu) {
    text += fmt::format("  {:<23} {:>16}   {}\n", "of the device", target.device.memory_bytes,
                        human_bytes(target.device.memory_bytes));
  }
  text += fmt::format(
      "time ({})\n  a step                  {:>16}   at least: matrix work alone, at that rate\n  the run              "
      "   {:>16}   "
      "{} steps, {} tokens\n",
      target.source, human_seconds(time.floor), human_seconds(time.floor * steps), config.schedule.steps,
      human_count(time.tokens_per_step * steps));
  if (config.objective.of_rollouts())
    text += "                                             of training alone: texts are sampled on top of that\n";
  text += stages_text(target, time);
  if (time.ranks) text += scaling_text(plan, *time.ranks);
  print(text);
  return Exit::done;
}

}  // namespace

void add_plan(CLI::App& app, Invocation& invocation) {
  CLI::App* verb =
      app.add_subcommand("plan", "Show what a config needs: parameters, FLOPs, every arena, time; allocates nothing");
  auto o = std::make_shared<PlanOptions>();
  verb->add_option("CONFIG", o->config, "JSON config")->required();
  verb->add_option("--set", o->overrides, "Override one key: a.b=c (may be given several times)")
      ->allow_extra_args(false)
      ->type_name("a.b=c");
  verb->add_option("--device", o->device, "What the time is estimated for")
      ->capture_default_str()
      ->check(CLI::IsMember({"cpu", "h100", "h200"}));
  verb->add_option("--ranks,--gpus", o->ranks, "Processes that share the batch")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  verb->add_flag("--json", o->json, "Print JSON");
  add_scaling_options(*verb, o->scaling);
  verb->callback([&invocation, o] { invocation.run = [&invocation, o] { return plan(*o, invocation.console); }; });
}

}  // namespace nll
