#include "src/eval/score.h"

#include <cmath>
#include <cstring>
#include <span>

#include "kernels/check.h"

namespace nll {

namespace {

void add_bins(std::span<CalibrationBin> to, std::span<const CalibrationBin> from) {
  for (std::size_t b = 0; b < to.size(); ++b) {
    to[b].count += from[b].count;
    to[b].correct += from[b].correct;
    to[b].confidence_sum += from[b].confidence_sum;
  }
}

}  // namespace

void Score::add(const ScoredToken& token) {
  const std::size_t id = static_cast<std::size_t>(token.target);
  const double nll = -token.logp;
  const bool correct = token.rank == 1;
  ++sums_.tokens;
  sums_.nll += nll;
  if (id < lengths_.special.size() && lengths_.special[id] == 0) {
    ++sums_.text_tokens;
    sums_.text_nll += nll;
    sums_.bytes += lengths_.bytes[id];
    sums_.characters += lengths_.characters[id];
  }
  classes_.add(token.target, nll);
  sums_.correct += correct ? 1 : 0;
  sums_.top5 += token.rank <= 5 ? 1 : 0;
  sums_.entropy += token.entropy;
  sums_.brier += token.sum_p2 - 2 * std::exp(token.logp) + 1;
  const double confidence = std::exp(-token.log_denominator);
  add_prediction(sums_.bins, confidence, correct);
  add_prediction(sums_.bins10, confidence, correct);
}

Evaluation Score::evaluation() const {
  Evaluation e;
  if (sums_.tokens == 0) return e;
  const double ln2 = std::log(2.0), n = static_cast<double>(sums_.tokens);
  e.tokens = sums_.tokens;
  e.bytes = sums_.bytes;
  e.characters = sums_.characters;
  e.loss = sums_.nll / n;
  e.perplexity = std::exp(e.loss);
  if (sums_.text_tokens > 0) e.bits_per_token = sums_.text_nll / (ln2 * static_cast<double>(sums_.text_tokens));
  if (sums_.bytes > 0) {
    e.bits_per_byte = sums_.text_nll / (ln2 * static_cast<double>(sums_.bytes));
    e.bits_per_byte_total = sums_.nll / (ln2 * static_cast<double>(sums_.bytes));
  }
  if (sums_.characters > 0) e.bits_per_character = sums_.text_nll / (ln2 * static_cast<double>(sums_.characters));
  e.accuracy = static_cast<double>(sums_.correct) / n;
  e.top5 = static_cast<double>(sums_.top5) / n;
  e.entropy = sums_.entropy / n;
  e.brier = sums_.brier / n;
  e.calibration = sums_.bins;
  const CalibrationError error = calibration_error(sums_.bins);
  e.ece = error.ece;
  e.mce = error.mce;
  e.rms_ce = error.rms_ce;
  e.ece_10_bins = calibration_error(sums_.bins10).ece;
  e.classes = classes_.losses();
  return e;
}

std::string Score::bytes() const {
  std::string bytes(sizeof(Sums) + sizeof(ClassScore::State), '\0');
  std::memcpy(bytes.data(), &sums_, sizeof(Sums));
  std::memcpy(bytes.data() + sizeof(Sums), &classes_.state(), sizeof(ClassScore::State));
  return bytes;
}

void Score::add(std::string_view bytes) {
  CHECK(bytes.size() == sizeof(Sums) + sizeof(ClassScore::State));
  Sums next;
  ClassScore::State next_classes;
  std::memcpy(&next, bytes.data(), sizeof next);
  std::memcpy(&next_classes, bytes.data() + sizeof next, sizeof next_classes);
  sums_.tokens += next.tokens;
  sums_.text_tokens += next.text_tokens;
  sums_.bytes += next.bytes;
  sums_.characters += next.characters;
  sums_.correct += next.correct;
  sums_.top5 += next.top5;
  sums_.nll += next.nll;
  sums_.text_nll += next.text_nll;
  sums_.entropy += next.entropy;
  sums_.brier += next.brier;
  add_bins(sums_.bins, next.bins);
  add_bins(sums_.bins10, next.bins10);
  classes_.add(next_classes);
}

}  // namespace nll
