#include "src/train/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "src/eval/evaluate.h"
#include "src/infer/generate.h"
#include "src/model/gpt.h"
#include "src/model/head.h"
#include "src/objectives/objective.h"
#include "src/optim/adamw.h"
#include "src/report/console.h"
#include "src/train/rank_update.h"
#include "src/train/rollout_advantages.h"
#include "src/train/rollout_plan.h"
#include "src/train/scorer.h"
#include "src/train/step_passes.h"

namespace nll {

namespace {

// Enough rows that a GEMM runs at full speed, few enough that activations stay small.
constexpr std::int64_t cpu_micro_batch_tokens = 4096, gpu_micro_batch_tokens = 65536;
// Of a GPU's free memory, the rest is for the scratch of ops and for what libraries keep.
constexpr double plannable_share = 0.94;

std::int64_t parts_of(std::int64_t n, std::int64_t unit) { return (n + unit - 1) / unit; }

// Micro-batches of a step on one rank, of `sequences` each.
std::int64_t micro_batches_of(const TrainPlan& plan, std::int64_t sequences) {
  return parts_of(plan.sequences_per_rank, sequences / plan.widest * plan.widest);
}

ArenaPlan parameter_plan(const char* name, const ParameterTable& table, DType type) {
  ArenaPlan plan(name);
  plan.add(name, type, {table.stored_elements()});
  return plan;
}

std::vector<ArenaPlan> arenas_of(const Config& config, const ParameterTable& table, std::int64_t sequences,
                                 const TrainPlan& ranked) {
  const Numerics& numerics = ranked.numerics;
  const ModelConfig& model = config.model;
  const std::int64_t context = ranked.context, tokens = checked_product(sequences, context);
  std::vector<ArenaPlan> arenas{parameter_plan("weights", table, DType::f32)};
  if (numerics.rounded()) arenas.push_back(parameter_plan("rounded weights", table, numerics.compute));
  arenas.push_back(parameter_plan("gradients", table, DType::f32));
  if (config.dist.reduce == "tree") {
    // Sums of 1, 2, 4, ... micro-batches that wait for the next.
    const std::int64_t micro_batches = micro_batches_of(ranked, sequences);
    ArenaPlan tree("gradient tree");
    for (std::int64_t sum = 1; sum < micro_batches; sum *= 2)
      tree.add("sum of " + std::to_string(sum), DType::f32, {table.stored_elements()});
    if (micro_batches > 1) arenas.push_back(tree);
  }
  std::int64_t owned = 0;
  for (std::int64_t rank = 0; rank < ranked.ranks; ++rank) owned = std::max(owned, elements_of(ranked.owned(rank)));
  arenas.push_back(AdamWOptimizer::plan(table, numerics, owned));
  if (ranked.ranks > 1) {
    World world;
    world.size = static_cast<int>(ranked.ranks);
    arenas.push_back(RankUpdate::plan(ranked.ranks));
    arenas.push_back(Collective::plan(collective_settings(config, ranked.buckets), world));
  }
  arenas.push_back(
      Gpt::plan(model, sequences, context, Pass::training, numerics, recompute_of(config.batch.recompute)));
  const bool records = config.objective.of_records();
  arenas.push_back(
      Head::plan(model, config.head, tokens, numerics, nullptr, records ? RowChoice::chosen : RowChoice::all));
  arenas.push_back(StepPasses::plan_inputs(config, sequences, context));
  arenas.push_back(Gpt::plan(model, sequences, context, Pass::inference, numerics));
  if (!records) {
    arenas.push_back(evaluation_plan(sequences, context));
  } else {
    arenas.push_back(Scorer::plan(sequences, context));
  }
  if (keeps_reference(config)) {
    arenas.push_back(parameter_plan("reference weights", ParameterTable::gpt2(model), DType::f32));
    if (numerics.rounded())
      arenas.push_back(parameter_plan("rounded reference", ParameterTable::gpt2(model), numerics.compute));
  }
  if (config.objective.of_rollouts()) {
    for (ArenaPlan& plan : rollout_plans(config, ranked.ranks, numerics)) arenas.push_back(std::move(plan));
  }
  if (config.sample.every_steps > 0) {
    for (ArenaPlan& plan : Generator::plans(model, config.head, numerics)) arenas.push_back(std::move(plan));
  }
  return arenas;
}

std::int64_t bytes_of_all(const std::vector<ArenaPlan>& arenas) {
  std::int64_t bytes = 0;
  for (const ArenaPlan& arena : arenas) {
    if (__builtin_add_overflow(bytes, arena.bytes(), &bytes))
      throw Error(Exit::usage, "the plan's size does not fit 63 bits");
  }
  return bytes;
}

}  // namespace

std::int64_t TrainPlan::bytes() const { return bytes_of_all(arenas); }

std::vector<OwnedSpan> TrainPlan::owned(std::int64_t rank) const {
  if (sharded) return owned_spans(buckets, rank);
  return {{0, buckets.front().bucket.end(), 0}};
}

Collective::Settings collective_settings(const Config& config, const std::vector<GradientBucket>& buckets) {
  Collective::Settings settings;
  settings.order = config.dist.reduce == "tree" ? SumOrder::tree : SumOrder::sequence;
  settings.wire = config.dist.wire == "bf16" ? DType::bf16 : DType::f32;
  for (const GradientBucket& of : buckets) {
    const std::vector<std::int64_t>& cuts = of.bucket.cuts;
    settings.largest_bucket = std::max(settings.largest_bucket, of.bucket.size());
    for (std::size_t r = 1; r < cuts.size(); ++r)
      settings.largest_part = std::max(settings.largest_part, cuts[r] - cuts[r - 1]);
  }
  return settings;
}

bool compares_with_reference(const Config& config) {
  return keeps_reference(config) || make_objective(config.objective, config.rollout)->needs().reference_sums;
}

bool keeps_reference(const Config& config) {
  const Needs needs = make_objective(config.objective, config.rollout)->needs();
  return config.objective.of_rollouts() ? rollout_passes(config, needs).reference : needs.mismatched;
}

namespace {

// Text is cut evenly: every micro-batch is full.
void cut_text(const Config& config, TrainPlan& plan) {
  plan.samples_per_step = config.batch.tokens_per_step / config.model.context;
  plan.sequences_per_rank = plan.samples_per_step / plan.ranks;
  if (plan.sequences_per_rank == 0 ||
      plan.sequences_per_rank * plan.ranks * config.model.context != config.batch.tokens_per_step) {
    throw Error(Exit::usage, fmt::format("batch.tokens_per_step: {} is no multiple of ranks {} x model.context {}",
                                         config.batch.tokens_per_step, plan.ranks, config.model.context));
  }
}

// Of records the last micro-batch may be filled up, and some ranks may have one less than others.
void cut_records(const Config& config, TrainPlan& plan) {
  if (!config.objective.of_rollouts()) {
    plan.samples_per_step = config.records.per_step;
    plan.sequences_per_rank = parts_of(plan.samples_per_step, plan.ranks) * plan.widest;
    return;
  }
  plan.samples_per_step = config.rollout.prompts;
  const std::int64_t completions = plan.samples_per_step * completions_of_a_prompt(config);
  plan.sequences_per_rank = parts_of(parts_of(completions, config.rollout.mini_batches), plan.ranks);
}

}  // namespace

TrainPlan make_plan(const Config& config, std::int64_t ranks, std::int64_t memory_bytes, const Numerics& numerics,
                    const std::optional<RecordShape>& records) {
  const ParameterTable table = ParameterTable::gpt2(config.model, config.objective.has_scalar_head());
  const bool of_records = config.objective.of_records();
  TrainPlan plan;
  plan.ranks = ranks;
  plan.numerics = numerics;
  plan.sharded = config.dist.shard_optimizer;
  plan.parameters = table.parameters();
  plan.buckets = gradient_buckets(table, config.model.layers, ranks, config.dist.bucket_bytes);
  plan.context = config.model.context;
  std::int64_t least = 1;  // sequences of a micro-batch
  if (of_records) {
    const bool pairs = config.objective.of_pairs();
    const RecordShape shape = records.value_or(
        RecordShape{config.records.max_length.value_or(config.model.context), pairs ? std::int64_t{2} : 1});
    plan.context = shape.context;
    plan.widest = shape.widest;
    least = std::max<std::int64_t>({config.objective.kind == "kto" ? 2 : 1, plan.widest, shape.least});
    cut_records(config, plan);
  } else {
    cut_text(config, plan);
  }
  const std::int64_t per_rank = plan.sequences_per_rank;
  const auto fits = [&](std::int64_t n) {
    return memory_bytes <= 0 || n <= least || bytes_of_all(arenas_of(config, table, n, plan)) <= memory_bytes;
  };
  if (config.batch.sequences) {
    plan.sequences = *config.batch.sequences;
    if (plan.sequences < least) {
      throw Error(Exit::usage,
                  fmt::format("batch.sequences: {} cannot hold the {} sequences that are weighed together",
                              plan.sequences, least),
                  fmt::format("set batch.sequences to {} or more", least));
    }
  } else {
    // The most that keep to those tokens and to the memory there is.
    const std::int64_t tokens = numerics.gpu ? gpu_micro_batch_tokens : cpu_micro_batch_tokens;
    const std::int64_t most = std::max(least, std::min(per_rank, tokens / plan.context));
    if (numerics.gpu) memory_bytes = static_cast<std::int64_t>(plannable_share * static_cast<double>(memory_bytes));
    plan.sequences = least;
    for (std::int64_t n = most; n > least; --n) {
      // Of text a divisor of the rank's share; of records what fills the micro-batches that it takes about evenly.
      if (of_records ? n % plan.widest != 0 : per_rank % n != 0) continue;
      if (!fits(n)) continue;
      plan.sequences = n;
      if (of_records) {
        const std::int64_t share = parts_of(per_rank / plan.widest, micro_batches_of(plan, n));
        plan.sequences = std::max(least, share * plan.widest);
      }
      break;
    }
  }
  if (!of_records && per_rank % plan.sequences != 0) {
    throw Error(Exit::usage, fmt::format("batch.sequences: {} does not divide the {} sequences of a step on one rank",
                                         plan.sequences, per_rank));
  }
  plan.micro_batches = micro_batches_of(plan, plan.sequences);
  plan.flops_per_token = training_flops_per_token(config.model, plan.context);
  plan.arenas = arenas_of(config, table, plan.sequences, plan);
  return plan;
}

void check_memory(const TrainPlan& plan, std::int64_t available_bytes) {
  const std::int64_t needed = plan.bytes();
  if (available_bytes <= 0 || needed <= available_bytes) return;
  std::vector<const ArenaPlan*> largest;
  for (const ArenaPlan& arena : plan.arenas) largest.push_back(&arena);
  std::stable_sort(largest.begin(), largest.end(), [](auto* a, auto* b) { return a->bytes() > b->bytes(); });
  std::string parts;
  for (std::size_t i = 0; i < 3 && i < largest.size(); ++i) {
    parts += fmt::format("{}{} {}", i ? ", " : "", largest[i]->name(), human_bytes(largest[i]->bytes()));
  }
  throw Error(
      Exit::resources,
      fmt::format("memory: the run needs {} and {} are available (largest: {})", human_bytes(needed),
                  human_bytes(available_bytes), parts),
      "smaller batch.sequences or head.chunk_tokens shrink activations and head, batch.recompute \"block\" keeps "
      "hardly any activations; a smaller model.width or model.layers shrinks the rest; `nll plan CONFIG` shows "
      "every part");
}

}  // namespace nll
