// The line of one training step for a person: every number at its fixed place, so that the line does not jump.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace nll {

struct TrainLine {
  std::int64_t step = 0, steps = 0;
  double loss = 0;                   // nats per token
  std::optional<double> perplexity;  // exp(loss), of text
  double gradient_norm = 0;          // before clipping
  double learning_rate = 0;
  double tokens_per_second = 0;
  std::optional<double> share_of_peak;  // of the machine's measured peak, 0 to 1
  double eta_seconds = 0;
  std::optional<double> validation_loss, bits_per_byte;  // of the last evaluation
  // Of an objective other than language modelling: what it is called, and its value.
  std::vector<std::pair<std::string, double>> metrics{};
};

// "step  250/2000  loss  3.1416  ppl   23.14  norm   0.87  lr 6.00e-04   12.3k tok/s   81% of peak  3m 05s left".
std::string train_line(const TrainLine& line);

}  // namespace nll
