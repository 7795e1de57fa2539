// nll plan: what a config needs, before anything is allocated.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "kernels/device.h"
#include "kernels/machine.h"
#include "kernels/ops.h"
#include "src/cli/verbs.h"
#include "src/config/config.h"
#include "src/train/plan.h"

namespace nll {

namespace {

struct PlanOptions {
  std::string config, device = "cpu";
  std::vector<std::string> overrides;
  std::int64_t ranks = 1;
  bool json = false;
};

// Sustained rate of large dense bf16 matrix products on one GPU. Measured, but not by this program, which has no GPU
// backend yet: an estimate to plan with, and no more.
struct KnownDevice {
  const char* name;
  double matrix_flops;  // per second
};
constexpr KnownDevice known_devices[] = {{"h100", 798e12}, {"h200", 790e12}};

Exit plan(const PlanOptions& options) {
  const Config config = load_config(options.config, options.overrides);
  check_config(config, options.config, options.ranks);
  // The memory of this machine says nothing about another device.
  const TrainPlan plan = make_plan(config, options.ranks, 0);
  double rate = 0;
  std::string source;
  if (options.device == "cpu") {
    rate = measure_sgemm_gflops(make_backend("cpu").device->info().threads, 0.3) * 1e9;
    source = fmt::format("sgemm measured here just now: {:.0f} GFLOP/s", rate * 1e-9);
  }
  for (const KnownDevice& device : known_devices) {
    if (options.device != device.name) continue;
    rate = device.matrix_flops;
    source = fmt::format("{}: {:.0f} TFLOP/s sustained bf16 matrix rate", device.name, rate * 1e-12);
  }
  const double tokens_per_step = static_cast<double>(config.batch.tokens_per_step);
  const double floor = plan.flops_per_token * tokens_per_step / (rate * static_cast<double>(options.ranks));
  const double steps = static_cast<double>(config.schedule.steps);
  if (options.json) {
    nlohmann::ordered_json out{{"parameters", plan.parameters},
                               {"flops_per_token", plan.flops_per_token},
                               {"tokens_per_step", config.batch.tokens_per_step},
                               {"ranks", plan.ranks},
                               {"sequences", plan.sequences},
                               {"micro_batches", plan.micro_batches},
                               {"bytes", plan.bytes()},
                               {"seconds_per_step_at_least", floor}};
    for (const ArenaPlan& arena : plan.arenas)
      out["arenas"].push_back({{"name", arena.name()}, {"bytes", arena.bytes()}});
    print(out.dump(2) + "\n");
    return Exit::done;
  }
  std::string text = fmt::format(
      "{}\n  parameters              {:>16}   {}\n  FLOPs per token         {:>16.4g}   forward and backward, 6 N + 6 "
      "L C T\n",
      options.config, plan.parameters, human_count(static_cast<double>(plan.parameters)), plan.flops_per_token);
  text += fmt::format(
      "  batch                   {:>16}   tokens a step: {} rank{} x {} micro-batch{} x {} sequence{} x {} tokens\n",
      config.batch.tokens_per_step, plan.ranks, plan.ranks == 1 ? "" : "s", plan.micro_batches,
      plan.micro_batches == 1 ? "" : "es", plan.sequences, plan.sequences == 1 ? "" : "s", config.model.context);
  text += fmt::format("memory of one rank (FP32)\n");
  for (const ArenaPlan& arena : plan.arenas)
    text += fmt::format("  {:<23} {:>16}   {}\n", arena.name(), arena.bytes(), human_bytes(arena.bytes()));
  text += fmt::format("  {:<23} {:>16}   {}\n", "together", plan.bytes(), human_bytes(plan.bytes()));
  text += fmt::format(
      "time ({})\n  a step                  {:>16}   at least: matrix work alone, at that rate\n  the run              "
      "   {:>16}   "
      "{} steps, {} tokens\n",
      source, human_seconds(floor), human_seconds(floor * steps), config.schedule.steps,
      human_count(tokens_per_step * steps));
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
  verb->add_option("--ranks", o->ranks, "Processes that share the batch")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  verb->add_flag("--json", o->json, "Print JSON");
  verb->callback([&invocation, o] { invocation.run = [o] { return plan(*o); }; });
}

}  // namespace nll
