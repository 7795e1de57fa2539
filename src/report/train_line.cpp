#include "src/report/train_line.h"

#include <fmt/format.h>

#include <cmath>

#include "src/report/console.h"

namespace nll {
namespace {

// `value` right-aligned in `width` columns, with as many decimals (at most `decimals`) as leave it there.
std::string in_columns(double value, int width, int decimals) {
  if (std::isnan(value)) return fmt::format("{:>{}}", "nan", width);
  if (std::isinf(value)) return fmt::format("{:>{}}", value > 0 ? "inf" : "-inf", width);
  for (int digits = decimals; digits >= 0; --digits) {
    const std::string text = fmt::format("{:.{}f}", value, digits);
    if (text.size() <= static_cast<std::size_t>(width)) return fmt::format("{:>{}}", text, width);
  }
  return fmt::format("{:>{}}", fmt::format("{:.0e}", value), width);
}

}  // namespace

std::string train_line(const TrainLine& line) {
  const std::string steps = fmt::format("{}", line.steps);
  std::string text =
      fmt::format("step {:>{}}/{}  loss {}", line.step, steps.size(), steps, in_columns(line.loss, 7, 4));
  if (line.perplexity) text += "  ppl " + in_columns(*line.perplexity, 7, 2);
  for (const auto& [name, value] : line.metrics) text += fmt::format("  {} {}", name, in_columns(value, 6, 3));
  text += fmt::format("  norm {}  lr {:.2e}  {:>5} tok/s", in_columns(line.gradient_norm, 6, 2), line.learning_rate,
                      human_count(line.tokens_per_second));
  if (line.share_of_peak) text += fmt::format("  {:3.0f}% of peak", *line.share_of_peak * 100);
  text += fmt::format("  {:>7} left", human_seconds(line.eta_seconds));
  if (line.validation_loss) text += "  val " + in_columns(*line.validation_loss, 7, 4);
  if (line.bits_per_byte) text += fmt::format("  {} bits/byte", in_columns(*line.bits_per_byte, 6, 4));
  return text;
}

}  // namespace nll
