#include "src/config/check.h"

#include <fmt/format.h>

#include <limits>

#include "kernels/check.h"

namespace nll {
namespace {

using Integer = std::int64_t;
using Maybe = std::optional<Conflict>;

// Largest parameter count and activation size (elements of one layer input over all layers) that is taken for meant:
// beyond these no machine exists, and below them no 64-bit product of sizes overflows.
constexpr Integer most_elements = Integer{1} << 50;

// a * b, or `most` + 1 when it is more than `most`.
Integer bounded_product(Integer a, Integer b, Integer most) {
  Integer product = 0;
  return __builtin_mul_overflow(a, b, &product) || product > most ? most + 1 : product;
}

Maybe check_model(const Config& config) {
  const ModelConfig& model = config.model;
  if (model.width % model.heads != 0) {
    Integer below = model.heads, above = model.heads;
    while (model.width % below != 0) --below;
    while (above <= model.width && model.width % above != 0) ++above;
    const std::string hint = above > model.width ? fmt::format("the nearest that does is {}", below)
                                                 : fmt::format("the nearest that do are {} and {}", below, above);
    return Conflict{"model.heads", fmt::format("{} does not divide model.width {}", model.heads, model.width), hint};
  }
  // Twelve width x width matrices a layer are all but a small part of a GPT's blocks.
  const Integer square = bounded_product(model.width, model.width, most_elements);
  const Integer blocks = bounded_product(square, 12 * model.layers, most_elements);
  const Integer embeddings = bounded_product(model.width, model.vocabulary + model.context, most_elements);
  if (blocks > most_elements || embeddings > most_elements || blocks + embeddings > most_elements) {
    return Conflict{
        "model.width",
        fmt::format("{} with model.layers {}, model.context {} and model.vocabulary {} makes more than 2^50 "
                    "parameters",
                    model.width, model.layers, model.context, model.vocabulary),
        "no machine holds such a model"};
  }
  return std::nullopt;
}

Maybe check_batch(const Config& config, Integer ranks) {
  const Integer tokens = config.batch.tokens_per_step, context = config.model.context;
  const Integer sequences = config.batch.sequences.value_or(1);
  const Integer largest = Integer{1} << 40;  // of batch.tokens_per_step
  const Integer unit = bounded_product(bounded_product(context, sequences, largest), ranks, largest);
  if (!config.objective.of_records() && tokens % unit != 0) {
    std::string factors = ranks == 1 ? "" : fmt::format("{} ranks x ", ranks);
    if (config.batch.sequences) factors += fmt::format("batch.sequences {} x ", sequences);
    factors += fmt::format("model.context {}", context);
    if (ranks != 1 || config.batch.sequences) factors += unit > largest ? " (over 2^40)" : fmt::format(" = {}", unit);
    Integer nearest_multiple = (tokens + unit / 2) / unit * unit;
    if (nearest_multiple == 0) nearest_multiple = unit;
    if (nearest_multiple > largest) nearest_multiple -= unit;
    return Conflict{
        "batch.tokens_per_step", fmt::format("{} is not a multiple of {}", tokens, factors),
        unit > largest ? "take fewer or shorter sequences" : fmt::format("the nearest that is: {}", nearest_multiple)};
  }
  const Integer row = bounded_product(context, sequences, most_elements);
  const Integer layer = bounded_product(row, config.model.width, most_elements);
  if (bounded_product(layer, config.model.layers, most_elements) > most_elements) {
    return Conflict{
        config.batch.sequences ? "batch.sequences" : "model.context",
        fmt::format("a micro-batch of {} x {} tokens makes more than 2^50 activations at model.width {} and "
                    "model.layers {}",
                    sequences, context, config.model.width, config.model.layers),
        "take fewer or shorter sequences"};
  }
  Integer total = 0;
  if (!config.objective.of_records() && __builtin_mul_overflow(tokens, config.schedule.steps, &total)) {
    return Conflict{
        "schedule.steps",
        fmt::format("{} steps of batch.tokens_per_step {} are more than 2^63 tokens", config.schedule.steps, tokens),
        ""};
  }
  return std::nullopt;
}

Maybe check_schedule(const Config& config) {
  const ScheduleConfig& schedule = config.schedule;
  if (schedule.warmup_steps > schedule.steps) {
    return Conflict{"schedule.warmup_steps",
                    fmt::format("{} is more than schedule.steps {}", schedule.warmup_steps, schedule.steps),
                    fmt::format("a twentieth of the run is common: {}", schedule.steps / 20)};
  }
  if (schedule.kind != "wsd" && schedule.decay_steps > 0) {
    return Conflict{"schedule.decay_steps",
                    fmt::format("{} means nothing with schedule.kind \"{}\" (only \"wsd\" has it)",
                                schedule.decay_steps, schedule.kind),
                    "set schedule.decay_steps to 0 or schedule.kind to \"wsd\""};
  }
  const Integer decay = schedule.decay_steps > 0 ? schedule.decay_steps : schedule.steps / 5;
  const Integer room = schedule.steps - schedule.warmup_steps;
  if (schedule.kind == "wsd" && decay > room) {
    return Conflict{
        "schedule.decay_steps",
        fmt::format("{}{} and schedule.warmup_steps {} are more than schedule.steps {}", decay,
                    schedule.decay_steps > 0 ? "" : " (a fifth of the run)", schedule.warmup_steps, schedule.steps),
        room == 0 ? "lower schedule.warmup_steps" : fmt::format("at most {} are left to decay in", room)};
  }
  return std::nullopt;
}

Maybe check_rest(const Config& config) {
  if (config.run.directory.empty()) return Conflict{"run.directory", "is empty (expected the folder of the run)", ""};
  if (config.data.train.empty()) {
    return Conflict{"data.train", "is empty (expected where the training tokens are)",
                    config.objective.of_records() ? "name .jsonl files of records: docs/records.md"
                                                  : "name a folder made by `nll tokenize`"};
  }
  const bool half = config.precision.compute == "bf16" || config.precision.compute == "fp16";
  if (config.device == "cpu" && half) {
    return Conflict{"precision.compute",
                    fmt::format("\"{}\" needs a GPU, but device is \"cpu\"", config.precision.compute),
                    "set precision.compute to \"auto\" or \"fp32\""};
  }
  if (config.device == "cpu" && config.optimizer.moments != "fp32") {
    return Conflict{"optimizer.moments",
                    fmt::format("\"{}\" needs a GPU, but device is \"cpu\"", config.optimizer.moments),
                    "set optimizer.moments to \"fp32\""};
  }
  if (config.head.logits != "float32" &&
      (config.device == "cpu" || config.precision.compute == "fp32" || config.precision.compute == "fp16")) {
    return Conflict{"head.logits", fmt::format("\"{}\" needs precision.compute \"bf16\" on a GPU", config.head.logits),
                    "set head.logits to \"float32\""};
  }
  if (config.sample.top_k > config.model.vocabulary) {
    return Conflict{"sample.top_k",
                    fmt::format("{} is more than model.vocabulary {}", config.sample.top_k, config.model.vocabulary),
                    "0 means all"};
  }
  return std::nullopt;
}

}  // namespace

std::optional<Conflict> find_conflict(const Config& config, Integer ranks) {
  CHECK(ranks >= 1);
  if (Maybe conflict = check_rest(config)) return conflict;
  if (Maybe conflict = check_model(config)) return conflict;
  if (Maybe conflict = check_schedule(config)) return conflict;
  if (Maybe conflict = find_objective_conflict(config, ranks)) return conflict;
  return check_batch(config, ranks);
}

void check_config(const Config& config, const std::string& place, Integer ranks) {
  if (const Maybe conflict = find_conflict(config, ranks)) {
    throw Error(Exit::usage, place + ": " + conflict->key + ": " + conflict->message, conflict->hint);
  }
}

}  // namespace nll
