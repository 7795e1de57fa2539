#include "src/cli/plan_scaling.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "src/report/console.h"

namespace nll {

namespace {

// H100 hosts: NVLink as published, one adapter of 400 Gb/s a host. Other hosts: a rank each, 10 Gb/s Ethernet.
Interconnect wires_of(const ScalingOptions& options, bool gpu, std::int64_t ranks) {
  Interconnect wires;
  wires.ranks_per_host = options.ranks_per_host.value_or(gpu ? 8 : 1);
  const double latency = options.latency.value_or(gpu ? 5 : 50) / 1e6;
  // The ranks of a host send at the same time.
  const double outside = 1e9 * options.interconnect.value_or(gpu ? 50 : 1.25);
  wires.outside = {latency, outside / static_cast<double>(neighbours(wires, ranks))};
  wires.inside = {latency, 1e9 * options.inside.value_or(gpu ? 450 : 10)};
  return wires;
}

std::string milliseconds(double seconds) { return fmt::format("{:.1f} ms", 1e3 * seconds); }

}  // namespace

void add_scaling_options(CLI::App& verb, ScalingOptions& options) {
  constexpr const char* group = "Several ranks";
  verb.add_option("--interconnect", options.interconnect,
                  "GB/s each way between a host and the others, shared by its ranks [50; cpu: 1.25]")
      ->check(CLI::PositiveNumber)
      ->group(group);
  verb.add_option("--inside", options.inside, "GB/s each way between a rank and those on its host [450; cpu: 10]")
      ->check(CLI::PositiveNumber)
      ->group(group);
  verb.add_option("--latency", options.latency, "Microseconds of a message [5; cpu: 50]")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  verb.add_option("--ranks-per-host", options.ranks_per_host, "Ranks on a host [8; cpu: 1]")
      ->check(CLI::Range(1, 1 << 20))
      ->group(group);
  verb.add_option("--mfu", options.mfu,
                  "Per cent of the peak that a rank's own work reaches [the practical bound; cpu: of sgemm]")
      ->check(CLI::Range(0.1, 100.0))
      ->group(group);
}

ScalingEstimate estimate_scaling(const TrainPlan& plan, const Config& config, const StepTime& compute, double peak,
                                 const ScalingOptions& options) {
  ScalingEstimate result;
  result.wires = wires_of(options, plan.numerics.gpu, plan.ranks);
  result.latency = result.wires.outside.latency;
  ScalingRequest request;
  request.ranks = plan.ranks;
  for (const GradientBucket& bucket : plan.buckets) request.buckets.push_back(bucket.bucket.size());
  request.wire_bytes = config.dist.wire == "bf16" ? 2 : 4;
  request.sharded = plan.sharded;
  request.micro_batches = plan.micro_batches;
  const double tokens = static_cast<double>(plan.positions_per_step());
  const double flops = plan.flops_per_token * tokens / static_cast<double>(plan.ranks);
  double passes = 0;
  if (options.mfu) {
    result.assumed = true;
    passes = flops / (peak * *options.mfu / 100);
  } else {
    request.update = compute.seconds[static_cast<int>(Stage::update)];
    passes = compute.total() - request.update;
  }
  // Of every product one is forward and two are backward.
  request.forward = passes / static_cast<double>(plan.micro_batches) / 3;
  request.backward = 2 * request.forward;
  result.volume = volume(request, result.wires);
  result.scaling = scaling(request, result.wires);
  result.tokens_per_second = tokens / result.scaling.step();
  result.mfu = flops / result.scaling.compute / peak;
  return result;
}

std::string scaling_text(const TrainPlan& plan, const ScalingEstimate& estimate) {
  const Interconnect& wires = estimate.wires;
  const Scaling& s = estimate.scaling;
  const std::int64_t on_host = neighbours(wires, plan.ranks);
  std::string text = fmt::format(
      "between ranks, a model (docs/scaling.md): {} ranks, {} on a host, {:.1f} us a message; GB/s each way of a rank: "
      "{:.4g} inside",
      plan.ranks, on_host, 1e6 * estimate.latency, 1e-9 * wires.inside.bandwidth);
  text += plan.ranks > on_host ? fmt::format(", {:.4g} to other hosts\n", 1e-9 * wires.outside.bandwidth) : "\n";
  const auto line = [&](const char* name, const std::string& value, const std::string& remark) {
    text += fmt::format("  {:<23} {:>16}{}{}\n", name, value, remark.empty() ? "" : "   ", remark);
  };
  const auto bytes = [](double count) { return human_bytes(static_cast<std::int64_t>(count)); };
  const auto travelling = [&](double outside, double seconds, double exposed, const char* pass) {
    return fmt::format("{} to other hosts; {}, of which {} are not behind the {} pass", bytes(outside),
                       milliseconds(seconds), milliseconds(exposed), pass);
  };
  line("gradients out", bytes(estimate.volume.gradients),
       travelling(estimate.volume.gradients_outside, s.reduce, s.exposed_reduce, "backward"));
  line(plan.sharded ? "weights out" : "sums out", bytes(estimate.volume.weights),
       travelling(estimate.volume.weights_outside, s.gather, s.exposed_gather, "forward"));
  line("norm, agreement", milliseconds(s.norm + s.control), "small messages that everybody waits for");
  line("buckets", std::to_string(plan.buckets.size()), "dist.bucket_bytes");
  line("own work", milliseconds(s.compute),
       fmt::format("{:.1f} % of the peak, {}", 100 * estimate.mfu,
                   estimate.assumed ? "as --mfu says" : "assumed: the practical bound above"));
  line("waiting", milliseconds(s.waiting()), "");
  line("a step", milliseconds(s.step()), "");
  line("tokens a second", human_count(estimate.tokens_per_second), "of all ranks");
  line("scaling efficiency", fmt::format("{:.1f} %", 100 * s.efficiency),
       fmt::format("of {} times the speed of one rank without others", plan.ranks));
  return text;
}

nlohmann::ordered_json scaling_json(const ScalingEstimate& estimate) {
  const Scaling& s = estimate.scaling;
  const Interconnect& wires = estimate.wires;
  return {{"ranks_per_host", wires.ranks_per_host},
          {"latency_seconds", estimate.latency},
          {"inside_bytes_per_second", wires.inside.bandwidth},
          {"outside_bytes_per_second", wires.outside.bandwidth},
          {"gradient_bytes", estimate.volume.gradients},
          {"gradient_bytes_to_other_hosts", estimate.volume.gradients_outside},
          {"weight_bytes", estimate.volume.weights},
          {"weight_bytes_to_other_hosts", estimate.volume.weights_outside},
          {"reduce_seconds", s.reduce},
          {"reduce_exposed_seconds", s.exposed_reduce},
          {"gather_seconds", s.gather},
          {"gather_exposed_seconds", s.exposed_gather},
          {"norm_seconds", s.norm},
          {"control_seconds", s.control},
          {"compute_seconds", s.compute},
          {"compute_mfu", estimate.mfu},
          {"seconds_per_step", s.step()},
          {"tokens_per_second", estimate.tokens_per_second},
          {"efficiency", s.efficiency}};
}

}  // namespace nll
