#include "src/eval/score.h"

#include <cmath>

namespace nll {

void Score::add(const ScoredToken& token) {
  const std::size_t id = static_cast<std::size_t>(token.target);
  const double nll = -token.logp;
  const bool correct = token.rank == 1;
  ++tokens_;
  nll_ += nll;
  if (id < lengths_.special.size() && lengths_.special[id] == 0) {
    ++text_tokens_;
    text_nll_ += nll;
    bytes_ += lengths_.bytes[id];
    characters_ += lengths_.characters[id];
  }
  classes_.add(token.target, nll);
  correct_ += correct ? 1 : 0;
  top5_ += token.rank <= 5 ? 1 : 0;
  entropy_ += token.entropy;
  brier_ += token.sum_p2 - 2 * std::exp(token.logp) + 1;
  const double confidence = std::exp(-token.log_denominator);
  add_prediction(bins_, confidence, correct);
  add_prediction(bins10_, confidence, correct);
}

Evaluation Score::evaluation() const {
  Evaluation e;
  if (tokens_ == 0) return e;
  const double ln2 = std::log(2.0), n = static_cast<double>(tokens_);
  e.tokens = tokens_;
  e.bytes = bytes_;
  e.characters = characters_;
  e.loss = nll_ / n;
  e.perplexity = std::exp(e.loss);
  if (text_tokens_ > 0) e.bits_per_token = text_nll_ / (ln2 * static_cast<double>(text_tokens_));
  if (bytes_ > 0) {
    e.bits_per_byte = text_nll_ / (ln2 * static_cast<double>(bytes_));
    e.bits_per_byte_total = nll_ / (ln2 * static_cast<double>(bytes_));
  }
  if (characters_ > 0) e.bits_per_character = text_nll_ / (ln2 * static_cast<double>(characters_));
  e.accuracy = static_cast<double>(correct_) / n;
  e.top5 = static_cast<double>(top5_) / n;
  e.entropy = entropy_ / n;
  e.brier = brier_ / n;
  e.calibration = bins_;
  const CalibrationError error = calibration_error(bins_);
  e.ece = error.ece;
  e.mce = error.mce;
  e.rms_ce = error.rms_ce;
  e.ece_10_bins = calibration_error(bins10_).ece;
  e.classes = classes_.losses();
  return e;
}

}  // namespace nll
