#include "src/train/run.h"

#include <fmt/format.h>

#include <filesystem>

#include "src/checkpoint/hash.h"
#include "src/dist/agreement.h"
#include "src/dist/patience.h"
#include "src/train/backend.h"
#include "src/train/model_folder.h"
#include "src/train/rank_transport.h"
#include "src/train/run_folder.h"
#include "src/train/trainer.h"

namespace nll {

namespace {

namespace fs = std::filesystem;

// What rank 0 says, on all ranks.
std::string of_rank_0(Transport& transport, const char* name, const std::string& text) {
  if (transport.world().size == 1) return text;
  return exchange_texts(transport, transport.world().rank == 0 ? text : "", {name, -1, -1}).front();
}

std::string computes_in(const Numerics& numerics) {
  return numerics.compute == DType::bf16 ? "bf16" : numerics.compute == DType::f16 ? "fp16" : "fp32";
}

// A run, from what was asked to the first step. Each part is done on all ranks before the next begins, so that a fault
// on one of them ends all with its message.
struct Preparation {
  const RunRequest& request;
  Transport& transport;
  Console& console;
  bool existing = false;
  std::optional<RecordCacheFolder> cache{};
  TrainData data{};
  std::string initial_weights{}, reference{};  // checkpoints; empty: none
  std::optional<Backend> backend{};
  DeviceInfo device{};
  TrainPlan plan{};

  const Config& config() const { return request.config; }
  const std::string& run() const { return request.config.run.directory; }
  bool first() const { return transport.world().rank == 0; }

  void look_at_folder() {
    existing = of_rank_0(transport, "a look at the run's folder", first() && holds_run(run()) ? "yes" : "no") == "yes";
    if (existing && (request.resume == ResumePolicy::refuse || request.resume == ResumePolicy::never)) {
      throw Error(Exit::usage, fmt::format("{}: already holds a run, and nothing of it is overwritten", run()),
                  fmt::format("to go on with it: {}; for a new one: --set run.directory=NEW", request.resume_command));
    }
  }

  // A run's folder stands for a checkpoint in it, which rank 0 chooses for all.
  void find_models() {
    const auto found = [&](const std::string& folder) {
      if (folder.empty()) return folder;
      return resolve_checkpoint(posix_file_ops(), folder, [&](const std::string& refused, const std::string& why) {
        console.warning(fmt::format("{}: passed over: {}", refused, why));
      });
    };
    if (!first()) return;
    const bool compares = compares_with_reference(config());
    if (!existing || (compares && config().objective.reference.empty()))
      initial_weights = found(config().run.initial_weights);
    if (compares)
      reference = config().objective.reference.empty() ? initial_weights : found(config().objective.reference);
  }

  // Rank 0 tokenizes the records, the others read what it kept.
  void open_records(bool mine) {
    if (!config().objective.of_records() || first() != mine) return;
    cache.emplace(config(), !first());
    data.records = std::make_unique<RecordData>(
        open_record_data(config(), *cache, console, static_cast<int>(config().cpu.threads), request.stop_requested));
    data.tokenizer = std::move(data.records->tokenizer);
  }

  std::optional<RecordShape> shape() const {
    if (!data.records) return std::nullopt;
    return RecordShape{record_context(*data.records, config()), data.records->train->widest(),
                       record_width(*data.records, config())};
  }

  void open() {
    const int ranks = transport.world().size;
    if (!config().objective.of_records()) data = open_train_data(config());
    BackendOptions options = backend_options(config(), request.cache_folder);
    share_host(options, config(), transport.world());
    backend.emplace(make_backend(config().device, options));
    device = backend->device->info();
    check_transport(config(), device);
    if (device.kind == "cuda" && options.product_tuning && options.product_cache.empty()) {
      console.warning("cuda.product_cache: chosen algorithms are not kept, so another run may round differently");
    }
    const Numerics numerics = resolve_numerics(config(), device);
    const std::int64_t available = available_memory(device, config(), transport.world());
    plan = make_plan(config(), ranks, available, numerics, shape());
    check_memory(plan, available);
    for (const std::string& folder : {initial_weights, reference}) {
      if (!folder.empty())
        check_weights(CheckpointFolder(posix_file_ops(), folder), folder, ParameterTable::gpt2(config().model));
    }
  }

  void compare_ranks() {
    require_same(transport, "config", hash_64(dump_config(config())));
    require_same(transport, "data.train", fmt::format("{:016x}", data.fingerprint()));
    require_same(transport, "device", device.kind);
    require_same(transport, "precision.compute", computes_in(plan.numerics));
    require_same(transport, "micro-batches", fmt::format("{} of {} sequences", plan.micro_batches, plan.sequences));
  }

  void check_start(const TrainStart& start) const {
    if (!start.checkpoint) return;
    if (start.state.samples_per_step != plan.samples_per_step) {
      throw Error(Exit::usage, fmt::format("{}: saved with {} {} a step, this config has {}", *start.checkpoint,
                                           start.state.samples_per_step, samples_name(), plan.samples_per_step));
    }
    if (start.state.data_fingerprint != data.fingerprint() && !config().data.allow_change) {
      throw Error(Exit::bad_data, fmt::format("data.train: is not the data of {}", *start.checkpoint),
                  "put the same token files back, or say --set data.allow_change=true");
    }
  }

  const char* samples_name() const {
    return config().objective.of_rollouts() ? "prompts" : config().objective.of_records() ? "records" : "sequences";
  }

  void introduce_data() const {
    const double steps = static_cast<double>(config().schedule.steps);
    if (data.records) {
      const RecordDataset* validation = data.records->validation.get();
      const auto updates = static_cast<double>(
          config().objective.of_rollouts() ? config().rollout.epochs * config().rollout.mini_batches : 1);
      const double epochs = steps / updates * static_cast<double>(plan.samples_per_step) /
                            static_cast<double>(data.records->train->records());
      console.info(fmt::format("data: {} {}, {} held out; {} steps are {:.2f} epochs", data.records->train->records(),
                               config().objective.of_rollouts() ? "prompts" : "records",
                               validation != nullptr ? validation->records() : 0, config().schedule.steps, epochs));
      if (validation == nullptr) console.warning("no held-out records: nothing is measured on what was not trained on");
      return;
    }
    const double epoch = static_cast<double>(data.train->tokens());
    const double all = static_cast<double>(config().batch.tokens_per_step) * steps;
    console.info(fmt::format("data: {} training tokens, {} validation tokens; {} steps of {} tokens are {:.2f} epochs",
                             human_count(epoch),
                             human_count(data.validation ? static_cast<double>(data.validation->tokens()) : 0.0),
                             config().schedule.steps, config().batch.tokens_per_step, all / epoch));
    if (!data.validation) console.warning("no validation text: the loss on held-out text is not measured");
  }

  void introduce(const TrainStart& start) const {
    const World& world = transport.world();
    console.info(fmt::format("{}, {} memory", device.name, human_bytes(device.memory_bytes)));
    if (world.size > 1) {
      console.info(fmt::format("{} ranks over {}, {} on this host; moments {}", world.size, transport.name(),
                               world.local_size, config().dist.shard_optimizer ? "sharded" : "on every rank"));
    }
    const ModelConfig& model = config().model;
    console.info(fmt::format("model: {} parameters, {} layers, {} heads, width {}, context {}, vocabulary {}",
                             human_count(static_cast<double>(plan.parameters)), model.layers, model.heads, model.width,
                             model.context, model.vocabulary));
    introduce_data();
    console.info(fmt::format("plan: {} of memory, micro-batches of {} x {} tokens, {} a step",
                             human_bytes(plan.bytes()), plan.sequences, plan.context, plan.micro_batches));
    if (start.checkpoint) {
      console.info(
          fmt::format("resuming {} at step {} of {}", *start.checkpoint, start.state.step, config().schedule.steps));
      if (start.state.step >= config().schedule.steps)
        console.info("the schedule is complete; nothing is left to train");
    }
  }
};

}  // namespace

Exit run_training(const RunRequest& request, Console& console) {
  const std::shared_ptr<Transport> transport = request.transport ? request.transport : one_rank();
  const auto on_all = [&](const char* name, const std::function<void()>& work) { together(*transport, name, work); };
  const bool first = transport->world().rank == 0;
  const Config& config = request.config;
  const std::string& run = config.run.directory;
  Preparation at{request, *transport, console};
  on_all("a look at the run's folder", [&] { at.look_at_folder(); });
  on_all("the config", [&] { check_config(config, "config", transport->world().size); });
  on_all("looking for models", [&] { at.find_models(); });
  at.initial_weights = of_rank_0(*transport, "the weights to begin with", at.initial_weights);
  at.reference = of_rank_0(*transport, "the reference model", at.reference);
  // Tokenizing takes as long as it takes.
  std::optional<Patience> patience(*transport);
  on_all("tokenizing records", [&] { at.open_records(true); });
  on_all("opening records", [&] { at.open_records(false); });
  patience.reset();
  on_all("opening data and device", [&] { at.open(); });
  at.compare_ranks();

  // Rank 0 holds the folder. It verifies checkpoints, which takes the time that reading them takes.
  patience.emplace(*transport);
  std::optional<FreshFolder> folder;
  std::optional<RunLock> lock;
  std::optional<CheckpointStore> store;
  TrainStart start;
  on_all("taking the run's folder", [&] {
    if (!first) return;
    folder.emplace(run, !at.existing);
    std::error_code failed;
    fs::create_directories(run, failed);
    if (failed) throw Error(Exit::io, fmt::format("{}: cannot be made: {}", run, failed.message()));
    lock.emplace(run);
    store.emplace(posix_file_ops(), run);
    start = decide_start(request, *store, console, at.existing);
    at.check_start(start);
    check_disk(run, at.plan, config.checkpoint.keep_last, console);
    write_text(run + "/config.json", dump_config(config));
  });
  const std::string checkpoint = of_rank_0(*transport, "the checkpoint to go on from", start.checkpoint.value_or(""));
  on_all("opening the checkpoint", [&] {
    if (first) return;
    store.emplace(CheckpointStore::of_other_rank(posix_file_ops(), run));
    if (!checkpoint.empty()) start = load_start(checkpoint, config);
  });
  at.introduce(start);

  std::optional<Collective> collective;
  std::optional<Trainer> trainer;
  patience.reset();
  on_all("connecting tensors", [&] {
    collective.emplace(tensor_transport(transport, config, *at.backend), *at.backend->device, *at.backend->ops,
                       collective_settings(config, at.plan.buckets));
  });
  patience.emplace(*transport);
  on_all("the start", [&] {
    // A transport of tensors has a limit of its own.
    std::optional<Patience> of_tensors;
    if (&collective->transport() != transport.get()) of_tensors.emplace(collective->transport());
    trainer.emplace(config, at.plan, start,
                    TrainInputs{std::move(at.data), at.initial_weights, at.reference, at.cache ? at.cache->path() : ""},
                    *at.backend, *store, console, request.stop_requested, request.probe_seconds, *collective);
  });
  patience.reset();
  if (folder) folder->keep();
  if (at.cache) at.cache->keep();
  const Exit exit = trainer->run(request.step_limit);
  console.finish_live();
  const TrainingState& state = trainer->state();
  const bool complete = state.step >= config.schedule.steps;
  if (exit == Exit::stopped || !complete) {
    console.info(fmt::format("stopped at step {} of {}{}", state.step, config.schedule.steps,
                             state.step > 0 ? ", saved" : "; no step was complete, nothing to save"));
    console.info(fmt::format("to go on: {}", request.resume_command));
  } else {
    console.info(fmt::format("done: {} steps, {} tokens in {}; checkpoint {}", state.step,
                             human_count(static_cast<double>(state.tokens)), human_seconds(state.seconds),
                             store->folder(state.step)));
  }
  return exit;
}

}  // namespace nll
