// Records of a TensorBoard event file as bytes: TFRecord frames around the Event messages of TensorFlow's event.proto
// and summary.proto. Field numbers and framing are described in docs/report.md.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "src/report/event.h"

namespace nll {

// The message in its frame: length, masked CRC-32C of the length, message, masked CRC-32C of the message.
std::string tensorboard_frame(std::string_view message);

// Messages without their frame; `seconds` since 1970.
// The first of a file: which version of the format it has.
std::string tensorboard_version(double seconds);
// Readers forget everything from `first_step` on that came before this message.
std::string tensorboard_restart(double seconds, std::int64_t first_step);
// What TensorBoard can show of an event: numbers as scalars "train/loss", "validation/loss", ...; the text of a sample
// and the facts of a start or resume as texts. Empty when there is nothing.
std::string tensorboard_summary(double seconds, const Event& event);

}  // namespace nll
