// TextSource: optimizer steps of plain text, from token files.
#pragma once
#include <cstdint>

#include "src/text/loader.h"
#include "src/train/plan.h"
#include "src/train/step_source.h"

namespace nll {

class TextSource final : public StepSource {
 public:
  // Begins at sample `position`. The dataset must outlive this.
  TextSource(const TokenDataset& dataset, std::uint64_t seed, std::int64_t position, const TrainPlan& plan,
             std::int64_t rank, std::int64_t ranks)
      : micro_batches_(plan.micro_batches),
        samples_per_step_(plan.samples_per_step),
        loader_(dataset, seed, position, plan.samples_per_step, plan.sequences, rank, ranks) {}

  bool next(std::int64_t, std::int64_t, StepData& data) override {
    data = {};
    for (std::int64_t i = 0; i < micro_batches_; ++i) data.batches.emplace_back().batch = loader_.next();
    data.samples = samples_per_step_;
    return true;
  }

 private:
  std::int64_t micro_batches_, samples_per_step_;
  Loader loader_;
};

}  // namespace nll
