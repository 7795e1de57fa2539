// TrainingState: everything a resumed run needs besides weights and moments. Saved as state.json in each checkpoint.
#pragma once
#include <cstdint>
#include <limits>
#include <string>

namespace nll {

struct TrainingState {
  std::int64_t step = 0;          // optimizer steps done, skipped ones included
  std::int64_t samples = 0;       // position in the data: the next global sample
  std::int64_t tokens = 0;        // training tokens consumed
  std::int64_t updates = 0;       // updates applied: AdamW's own count
  double loss_scale = 1;          // FP16: factor of the gradients of the next step
  std::int64_t good_updates = 0;  // FP16: in a row since the loss scale last changed
  std::int64_t skipped = 0;       // steps whose gradients were not finite
  std::int64_t skipped_in_a_row = 0;
  std::int64_t best_step = -1;  // checkpoint with the lowest validation loss; -1: none yet
  double best_loss = std::numeric_limits<double>::infinity();
  double seconds = 0;  // spent training, all parts of the run together
  std::int64_t samples_per_step = 0;
  std::uint64_t data_fingerprint = 0;  // of the training files

  std::string json() const;
  // Throws Error(bad_data) that names `place` and the field.
  static TrainingState parse(const std::string& json, const std::string& place);
};

}  // namespace nll
