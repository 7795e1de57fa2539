#include "src/train/record_evaluation.h"

#include <algorithm>
#include <deque>

#include "kernels/check.h"
#include "kernels/ops.h"
#include "src/text/record_batches.h"
#include "src/train/mismatched.h"
#include "src/train/rank_sums.h"
#include "src/train/record_data.h"
#include "src/train/shared_pace.h"
#include "src/train/step_source.h"

namespace nll {
namespace {

// A micro-batch and what the policy says of it.
struct Scored {
  StepBatch data;
  TokenScores scores;
  std::vector<double> mismatched;

  MicroBatch view() const {
    MicroBatch seen = data.view();
    if (!scores.logp.empty()) seen.scored = scores.view(data.batch);
    seen.values = scores.values;
    seen.mismatched_sums = mismatched;
    return seen;
  }
};

class RecordEvaluator {
 public:
  RecordEvaluator(const RecordEvaluation& request, Scorer& scorer, const GptTensors& weights, Collective& collective)
      : request_(request),
        scorer_(scorer),
        weights_(weights),
        collective_(collective),
        needs_(request.objective.needs()),
        records_(std::min(request.records, request.dataset.records())),
        batching_(batching()),
        batches_(request.dataset, batching_) {
    CHECK(batches_.micro_batches() == 1);
    if (needs_.reference_sums) CHECK(request.reference_sums != nullptr);
    if (needs_.mismatched) CHECK(request.reference != nullptr);
  }

  std::optional<StepSums> run(const std::function<bool()>& stop_requested, const Progress& progress) {
    StepCounts counts;
    for (std::int64_t position = 0; position < records_; position += batching_.records_per_step) {
      const Batch batch = batch_at(position);
      const MicroBatch seen{.batch = &batch};
      counts += count(Step({&seen, 1}));
    }
    totals_.counts = add_over_ranks(collective_, counts);
    SharedPace pace(collective_, stop_requested, 1);
    const bool done = pace.run("held-out records", [&] {
      for (std::int64_t position = 0; position < records_; position += batching_.records_per_step) {
        if (!pace.tick()) return;
        look_at(position);
        if (progress) progress(std::min(position + batching_.records_per_step, records_), records_);
      }
    });
    if (!done) return std::nullopt;
    totals_.statistics = add_over_ranks(collective_, totals_.statistics, "statistics of held-out records");
    for (const Scored& scored : waiting_) weigh(scored);
    return of_all_ranks();
  }

 private:
  RecordBatching batching() const {
    RecordBatching made = in_order(request_.dataset, request_.sequences, request_.context, collective_.world());
    made.prompt_targets = request_.prompt_targets;
    return made;
  }

  // The one micro-batch of this rank there, without records that are not asked for.
  Batch batch_at(std::int64_t position) const {
    Batch batch = batches_.micro_batch(position, 0);
    for (std::size_t row = 0; row < batch.sequence_info.size(); ++row) {
      if (batch.sequence_info[row].record < records_) continue;
      batch.sequence_info[row] = {};
      const auto begin = batch.targets.begin() + static_cast<std::ptrdiff_t>(row) * batch.context;
      std::fill(begin, begin + batch.context, ignore_index);
    }
    return batch;
  }

  // Of each record the one half of all away: an order by prompt has another prompt there.
  Batch partners_of(const Batch& batch) const {
    Batch partners = fillers(batch, request_.dataset.padding());
    for (std::size_t row = 0; row < batch.sequence_info.size(); ++row) {
      const std::int64_t record = batch.sequence_info[row].record;
      if (record < 0) continue;
      const RecordSequence other = request_.dataset.sequences((record + records_ / 2) % records_).front();
      const std::size_t begin = row * static_cast<std::size_t>(batch.context);
      std::copy(other.tokens.begin(), other.tokens.end(), partners.tokens.begin() + static_cast<std::ptrdiff_t>(begin));
      for (const TokenSpan& span : other.trained) {
        for (auto token = static_cast<std::size_t>(span.begin); token < static_cast<std::size_t>(span.end); ++token) {
          partners.targets[begin + token - 1] = other.tokens[token];
        }
      }
      partners.sequence_info[row] = other.info;
    }
    return partners;
  }

  Batch mismatched(const Batch& batch) const {
    Batch made = fillers(batch, request_.dataset.padding());
    if (records_ < 2) return made;
    const Batch partners = partners_of(batch);
    for (std::size_t row = 0; row < batch.sequence_info.size(); ++row) {
      if (batch.sequence_info[row].record >= 0) put_mismatched(made, row, batch, row, partners, row);
    }
    return made;
  }

  void look_at(std::int64_t position) {
    Scored scored;
    StepBatch& data = scored.data;
    data.batch = batch_at(position);
    if (needs_.reference_sums) data.reference_sums = request_.reference_sums->rows(data.batch);
    scored.scores = scorer_.score(weights_, data.batch, needs_.head, needs_.values);
    if (needs_.mismatched) {
      data.mismatched = mismatched(data.batch);
      scored.mismatched = mismatched_sums(scorer_, weights_, *data.mismatched);
      data.mismatched_reference_sums = mismatched_sums(scorer_, *request_.reference, *data.mismatched);
    }
    const MicroBatch seen = scored.view();
    const std::vector<double> statistics = request_.objective.statistics(Step({&seen, 1}));
    if (statistics.empty()) return weigh(scored);
    // One micro-batch has the statistics of one step of it, and their sum is that of a step of all.
    totals_.statistics.resize(statistics.size(), 0.0);
    for (std::size_t i = 0; i < statistics.size(); ++i) totals_.statistics[i] += statistics[i];
    waiting_.push_back(std::move(scored));
  }

  void weigh(const Scored& scored) {
    const MicroBatch seen = scored.view();
    sums_ += request_.objective.weigh(Step({&seen, 1}), totals_, {});
  }

  StepSums of_all_ranks() const {
    const ObjectiveSums& mine = sums_.tokens;
    const std::vector<double> numbers = add_over_ranks(
        collective_,
        {sums_.loss, static_cast<double>(mine.tokens), static_cast<double>(mine.correct), mine.nll, mine.entropy},
        "sums over held-out records");
    StepSums all;
    all.loss = numbers[0];
    all.tokens.tokens = static_cast<std::int64_t>(numbers[1]);
    all.tokens.correct = static_cast<std::int64_t>(numbers[2]);
    all.tokens.nll = numbers[3];
    all.tokens.entropy = numbers[4];
    all.metrics = add_over_ranks(collective_, sums_.metrics);
    return all;
  }

  const RecordEvaluation& request_;
  Scorer& scorer_;
  const GptTensors& weights_;
  Collective& collective_;
  const Needs needs_;
  const std::int64_t records_;
  const RecordBatching batching_;
  RecordBatches batches_;
  StepTotals totals_;
  StepSums sums_;
  std::deque<Scored> waiting_;  // for the statistics
};

}  // namespace

std::optional<StepSums> evaluate_records(const RecordEvaluation& request, Scorer& scorer, const GptTensors& weights,
                                         Collective& collective, const std::function<bool()>& stop_requested,
                                         const Progress& progress) {
  return RecordEvaluator(request, scorer, weights, collective).run(stop_requested, progress);
}

}  // namespace nll
