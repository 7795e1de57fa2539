#include "src/cli/verbs.h"
#include "src/train/backend.h"

namespace nll {

void DeviceOptions::add_to(CLI::App& verb) {
  verb.add_option("--device", device, "auto, cpu or cuda")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  verb.add_option("--precision", precision.compute, "auto, fp32, bf16 or fp16; auto: fp32 on a CPU, bf16 on a GPU")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "fp32", "bf16", "fp16"}));
  verb.add_option("--threads", threads, "CPU: 0: one for each core")->capture_default_str()->check(CLI::Range(0, 4096));
}

Backend DeviceOptions::make(const Invocation& invocation) const {
  Config config;
  config.cpu.threads = threads;
  config.precision = precision;
  return make_backend(device, backend_options(config, invocation.cache_folder));
}

}  // namespace nll
