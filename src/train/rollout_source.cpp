// P prompts of a rollout, G completions of each, R ranks
#include "src/train/rollout_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>
#include <utility>

#include "kernels/check.h"
#include "src/objectives/advantages.h"
#include "src/objectives/reinforce.h"
#include "src/text/loader.h"
#include "src/train/rollout_plan.h"

namespace nll {
namespace {

constexpr int steps_between_meetings = 16;  // tokens that each text of a rank becomes longer by
// Random numbers of held-out prompts are apart from those of rollouts: texts of a run never become so many.
constexpr std::uint64_t held_out = std::uint64_t{1} << 55;

// Metrics that are the same on all ranks count on the first; the others have their names.
Metrics counted_once(const Metrics& metrics, bool here) {
  Metrics counted;
  for (const Metric& metric : metrics.all()) {
    Metric& mine = counted.at(metric.name(), metric.kind());
    if (here) mine += metric;
  }
  return counted;
}

std::vector<float> part(const std::vector<float>& row, std::size_t begin, std::size_t count) {
  CHECK(begin + count <= row.size());
  return {row.begin() + static_cast<std::ptrdiff_t>(begin), row.begin() + static_cast<std::ptrdiff_t>(begin + count)};
}

// The part of `count` things that a rank has.
struct Share {
  std::int64_t begin = 0, end = 0;
};
Share share_of(std::int64_t count, const World& world) {
  return {world.rank * count / world.size, (world.rank + 1) * count / world.size};
}

}  // namespace

struct RolloutSource::Prompt {
  Completion begun;  // the prompt, and gold tokens behind it
  std::uint64_t sequence = 0;
};

RolloutSource::RolloutSource(RolloutParts parts)
    : parts_(std::move(parts)),
      cut_(rollout_cut(parts_.config, parts_.collective.world().rank, parts_.collective.world().size, parts_.sequences,
                       parts_.context)),
      passes_(rollout_passes(parts_.config, parts_.needs)),
      group_(completions_of_a_prompt(parts_.config)) {
  const bool mixed = parts_.config.objective.kind == "mixer";
  CHECK(parts_.dataset.kind() == (mixed ? RecordKind::supervised : RecordKind::prompt_only));
  CHECK((parts_.reference != nullptr || !passes_.reference));
  cut_.padding = parts_.dataset.padding();
}

RolloutSource::~RolloutSource() = default;

RolloutSource::Prompt RolloutSource::prompt_of(const RecordDataset& dataset, std::int64_t record, std::int64_t gold,
                                               std::uint64_t sequence) const {
  const RecordSequence whole = dataset.sequences(record).front();
  const std::int64_t prompt = dataset.kind() == RecordKind::prompt_only ? static_cast<std::int64_t>(whole.tokens.size())
                                                                        : whole.info.prompt_tokens;
  Prompt made;
  Completion& c = made.begun;
  c.record = record;
  c.prompt_tokens = prompt;
  c.gold_tokens =
      std::min({gold, parts_.config.rollout.max_tokens, static_cast<std::int64_t>(whole.tokens.size()) - prompt});
  c.tokens.assign(whole.tokens.begin(), whole.tokens.begin() + prompt + c.gold_tokens);
  c.ended = c.gold_tokens > 0 && c.tokens.back() == parts_.tokenizer.end_of_text();
  made.sequence = sequence;
  return made;
}

std::vector<RolloutSource::Prompt> RolloutSource::prompts_at(std::int64_t position, std::int64_t gold) const {
  const std::int64_t records = parts_.dataset.records();
  const Share mine = share_of(parts_.config.rollout.prompts, parts_.collective.world());
  std::vector<Prompt> prompts;
  for (std::int64_t index = position + mine.begin; index < position + mine.end; ++index) {
    const std::int64_t record = permuted_index(cut_.seed, index / records, records, index % records);
    for (std::int64_t g = 0; g < group_; ++g) {
      prompts.push_back(prompt_of(parts_.dataset, record, gold, static_cast<std::uint64_t>(index * group_ + g)));
    }
  }
  return prompts;
}

bool RolloutSource::write(std::vector<Completion>& texts, const std::vector<Prompt>& prompts, SharedPace& pace) {
  const RolloutConfig& rollout = parts_.config.rollout;
  BatchRequest request;
  request.rules.temperature = rollout.temperature;
  request.rules.top_k = rollout.top_k;
  request.rules.top_p = rollout.top_p;
  request.seed = cut_.seed;
  request.end_of_text = parts_.tokenizer.end_of_text();
  request.vocabulary = parts_.tokenizer.vocabulary();
  std::int64_t gold = 0;
  std::vector<std::size_t> open;  // texts that are to be gone on with; all have as many gold tokens
  for (const Prompt& prompt : prompts) {
    const Completion& c = texts.emplace_back(prompt.begun);
    if (c.ended || c.gold_tokens == rollout.max_tokens) continue;
    open.push_back(texts.size() - 1);
    request.prompts.push_back({c.tokens, prompt.sequence});
    gold = std::max(gold, c.gold_tokens);
  }
  request.max_tokens = rollout.max_tokens - gold;
  const std::vector<WrittenText> written =
      parts_.generator.generate(parts_.weights(), request, [&](std::int64_t) { return pace.tick(); });
  for (std::size_t i = 0; i < open.size(); ++i) {
    if (written[i].reason == StopReason::asked) return false;
    Completion& c = texts[open[i]];
    c.tokens.insert(c.tokens.end(), written[i].tokens.begin(), written[i].tokens.end());
    c.ended = written[i].reason == StopReason::end_of_text;
    c.sampled_logp.assign(static_cast<std::size_t>(c.gold_tokens), 0);
    for (double logp : written[i].logp) c.sampled_logp.push_back(static_cast<float>(logp));
  }
  return true;
}

bool RolloutSource::score(std::vector<Completion>& texts, SharedPace& pace) {
  if (!passes_.policy && !passes_.values && !passes_.reference) return true;
  const auto B = static_cast<std::size_t>(cut_.sequences), T = static_cast<std::size_t>(cut_.context);
  for (std::size_t first = 0; first < texts.size(); first += B) {
    std::vector<const Completion*> rows;
    for (std::size_t i = first; i < std::min(texts.size(), first + B); ++i) rows.push_back(&texts[i]);
    const Batch batch = rollout_batch(rows, cut_, {}).batch;
    TokenScores policy, reference;
    if (passes_.policy || passes_.values) {
      policy = parts_.scorer.score(parts_.weights(), batch, passes_.policy, passes_.values);
      if (!pace.tick()) return false;
    }
    if (passes_.reference) {
      reference = parts_.scorer.score(*parts_.reference, batch);
      if (!pace.tick()) return false;
    }
    for (std::size_t row = 0; row < rows.size(); ++row) {
      Completion& c = texts[first + row];
      const std::size_t begin = row * T + static_cast<std::size_t>(c.prompt_tokens) - 1;
      const auto n = static_cast<std::size_t>(c.completion_tokens());
      if (passes_.policy) c.logp = part(policy.logp, begin, n);
      if (passes_.values) c.values = part(policy.values, begin, n + 1);
      if (passes_.reference) c.reference_logp = part(reference.logp, begin, n);
    }
  }
  return true;
}

void RolloutSource::give_rewards(std::vector<Completion>& texts, const RecordDataset& dataset) {
  const Tokenizer& tokenizer = parts_.tokenizer;
  std::vector<RewardRequest> requests;
  for (const Completion& c : texts) {
    const std::span<const std::int32_t> all(c.tokens);
    RewardRequest& request = requests.emplace_back();
    request.prompt = tokenizer.decode(all.first(static_cast<std::size_t>(c.prompt_tokens)));
    request.completion = tokenizer.decode(all.subspan(static_cast<std::size_t>(c.prompt_tokens)));
    request.place = dataset.place(c.record);
    request.tokens = c.completion_tokens() - (c.ended ? 1 : 0);
    request.ids = c.tokens;
    if (dataset.kind() == RecordKind::prompt_only) {
      request.columns = dataset.columns(c.record);
    } else {
      const RecordSequence whole = dataset.sequences(c.record).front();
      request.gold = tokenizer.decode(
          std::span<const std::int32_t>(whole.tokens).subspan(static_cast<std::size_t>(c.prompt_tokens)));
    }
  }
  Rewards rewards = parts_.rewards(requests);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    texts[i].reward = rewards.total[i];
    for (const std::vector<double>& rule : rewards.by_rule) texts[i].rule_rewards.push_back(rule[i]);
  }
}

std::vector<Completion> RolloutSource::of_all_ranks(std::vector<Completion> mine) const {
  if (parts_.collective.alone()) return mine;
  std::vector<Completion> all;
  for (const std::string& bytes : parts_.collective.exchange(pack_completions(mine), "completions")) {
    std::vector<Completion> theirs =
        unpack_completions(bytes, parts_.config.model.vocabulary, parts_.config.model.context, "completions of a rank");
    std::move(theirs.begin(), theirs.end(), std::back_inserter(all));
  }
  return all;
}

void RolloutSource::report(const std::vector<Completion>& texts, Metrics& metrics) const {
  const std::vector<WeightedName>& rules = parts_.rewards.rules();
  for (std::size_t rule = 0; rule < rules.size(); ++rule) {
    std::vector<double> values;
    for (const Completion& c : texts) values.push_back(c.rule_rewards[rule]);
    report_rewards(rules[rule].name, values, metrics);
  }
}

bool RolloutSource::make(std::int64_t step, std::int64_t position) {
  const MixerConfig& mixer = parts_.config.objective.mixer;
  const bool mixed = parts_.config.objective.kind == "mixer";
  const std::int64_t gold =
      mixed ? mixer_gold_tokens(mixer.gold_tokens, step / mixer.every_steps, mixer.fewer_gold_tokens) : 0;
  std::vector<Completion> mine;
  SharedPace pace(parts_.collective, parts_.stop_requested, steps_between_meetings);
  const bool done = pace.run("rollout", [&] {
    if (write(mine, prompts_at(position, gold), pace) && score(mine, pace)) give_rewards(mine, parts_.dataset);
  });
  if (!done) return false;

  Rollout made{position, 0, gold, of_all_ranks(std::move(mine))};
  CHECK(static_cast<std::int64_t>(made.completions.size()) == cut_.completions);
  metrics_ = {};
  report(made.completions, metrics_);
  add_advantages(made.completions, parts_.config, metrics_);
  for (Completion& c : made.completions) {  // only what its steps read is kept
    c.sampled_logp.clear();
    c.rule_rewards.clear();
    if (!parts_.needs.old_logp) c.logp.clear();
    if (!parts_.needs.old_values) c.values.clear();
    if (!parts_.needs.reference_logp) c.reference_logp.clear();
  }
  rollout_ = std::move(made);
  ++rollouts_;
  place_ = "this run";
  return true;
}

bool RolloutSource::next(std::int64_t step, std::int64_t position, StepData& data) {
  const std::int64_t prompts = parts_.config.rollout.prompts;
  if (!rollout_ || rollout_->steps_begun == cut_.steps()) {
    if (!make(step, position)) return false;
  } else if (position != rollout_->position + prompts) {
    throw Error(Exit::bad_data, fmt::format("{}: the state of a rollout ends at position {} in the data (expected {})",
                                            place_, rollout_->position + prompts, position));
  }
  const std::int64_t k = rollout_->steps_begun++;
  data = {};
  data.batches = rollout_batches(*rollout_, cut_, rollout_->position / prompts, k, parts_.needs);
  data.samples = k == 0 ? prompts : 0;
  data.gold_tokens = rollout_->gold_tokens;
  if (k == 0) data.metrics = counted_once(metrics_, parts_.collective.world().rank == 0);
  return true;
}

RolloutShape RolloutSource::shape() const {
  return {.objective = parts_.config.objective.kind,
          .prompts = parts_.config.rollout.prompts,
          .completions = group_,
          .epochs = cut_.epochs,
          .mini_batches = cut_.mini_batches,
          .vocabulary = parts_.config.model.vocabulary,
          .context = cut_.context,
          .records = parts_.dataset.records(),
          .needs = parts_.needs};
}

void RolloutSource::take_back() {
  CHECK(rollout_.has_value());
  // A rollout without a step is made again: under the same weights it is the same.
  if (--rollout_->steps_begun == 0) rollout_.reset();
}

std::string RolloutSource::state() {
  const bool inside = rollout_ && rollout_->steps_begun < cut_.steps();
  return inside && parts_.collective.world().rank == 0 ? rollout_state(*rollout_, shape()) : std::string();
}

void RolloutSource::restore(const std::string& state, const std::string& place) {
  if (state.empty()) return;
  rollout_ = parse_rollout_state(state, shape(), place);
  place_ = place;
}

std::vector<RolloutSource::Example> RolloutSource::examples(std::size_t most) const {
  std::vector<Example> examples;
  if (!rollout_) return examples;
  // Of different prompts.
  for (std::size_t i = 0; i < rollout_->completions.size() && examples.size() < most;
       i += static_cast<std::size_t>(group_)) {
    const Completion& c = rollout_->completions[i];
    const std::span<const std::int32_t> all(c.tokens);
    const auto prompt = static_cast<std::size_t>(c.prompt_tokens);
    examples.push_back(
        {parts_.tokenizer.decode(all.first(prompt)), parts_.tokenizer.decode(all.subspan(prompt)), c.reward});
  }
  return examples;
}

std::optional<Metrics> RolloutSource::evaluate(const RecordDataset& dataset, std::int64_t most) {
  const Share share = share_of(std::min(most, dataset.records()), parts_.collective.world());
  std::vector<Completion> mine;
  SharedPace pace(parts_.collective, parts_.stop_requested, steps_between_meetings);
  const bool done = pace.run("held-out prompts", [&] {
    std::vector<Prompt> prompts;
    for (std::int64_t record = share.begin; record < share.end; ++record) {
      prompts.push_back(prompt_of(dataset, record, 0, held_out + static_cast<std::uint64_t>(record)));
    }
    if (write(mine, prompts, pace)) give_rewards(mine, dataset);
  });
  if (!done) return std::nullopt;
  const std::vector<Completion> all = of_all_ranks(std::move(mine));
  Metrics metrics;
  metrics.at("reward");
  for (const Completion& c : all) {
    if (!std::isnan(c.reward)) metrics.at("reward").add(c.reward);
    report_completion(c.completion_tokens(), c.ended, metrics);
  }
  report(all, metrics);
  return metrics;
}

}  // namespace nll
