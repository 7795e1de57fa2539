#include "src/report/tensorboard_record.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>

#include "src/report/crc32c.h"
#include "src/report/utf8.h"

namespace nll {
namespace {

std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

// Protocol buffers, as far as an event needs them: a field is its number and wire type, then its value.
class Message {
 public:
  Message& whole(int field, std::int64_t value) {
    key(field, 0);
    return varint(static_cast<std::uint64_t>(value));
  }
  Message& real(int field, double value) {
    key(field, 1);
    bytes_ += little_endian(std::bit_cast<std::uint64_t>(value), 8);
    return *this;
  }
  Message& real32(int field, float value) {
    key(field, 5);
    bytes_ += little_endian(std::bit_cast<std::uint32_t>(value), 4);
    return *this;
  }
  // A text, or a message inside this one.
  Message& bytes(int field, std::string_view value) {
    key(field, 2).varint(value.size());
    bytes_ += value;
    return *this;
  }
  const std::string& data() const { return bytes_; }

 private:
  Message& key(int field, unsigned wire_type) { return varint(static_cast<unsigned>(field) << 3 | wire_type); }
  Message& varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7f) | 0x80);
    bytes_ += static_cast<char>(value);
    return *this;
  }
  std::string bytes_;
};

std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return std::rotr(crc, 15) + 0xa282ead8U;
}

// Event: wall_time 1, step 2. A step of 0 is the default and left out, as every writer of protocol buffers does.
Message event_at(double seconds, std::int64_t step) {
  Message event;
  event.real(1, seconds);
  if (step != 0) event.whole(2, step);
  return event;
}

// Summary.Value: tag 1, simple_value 2. NaN is a value: TensorBoard marks it on the curve.
std::string scalar(const std::string& tag, double value) {
  return Message().bytes(1, tag).real32(2, static_cast<float>(value)).data();
}

// Summary.Value: tag 1, tensor 8 {dtype 1 = DT_STRING, tensor_shape 2 (none: one value), string_val 8},
// metadata 9 {plugin_data 1 {plugin_name 1}, data_class 4 = DATA_CLASS_TENSOR}.
std::string text_value(const std::string& tag, const std::string& markdown) {
  const Message tensor = Message().whole(1, 7).bytes(2, "").bytes(8, markdown);
  const Message metadata = Message().bytes(1, Message().bytes(1, "text").data()).whole(4, 2);
  return Message().bytes(1, tag).bytes(8, tensor.data()).bytes(9, metadata.data()).data();
}

// TensorBoard shows texts as Markdown; indented by four blanks they are shown as they are.
std::string as_is(const std::string& text) {
  std::string block = "    ";
  for (const char c : valid_utf8(text)) {
    block += c;
    if (c == '\n') block += "    ";
  }
  return block;
}

struct Shown {
  std::string operator()(std::int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(double value) const { return fmt::format("{:.6g}", value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(const std::string& value) const { return valid_utf8(value); }
  std::string operator()(const std::vector<double>& value) const { return fmt::format("{} numbers", value.size()); }
};

// One fact a line.
std::string facts(const Event& event) {
  std::string lines;
  for (const auto& [name, value] : event.values) {
    lines += fmt::format("{}{}: {}", lines.empty() ? "" : "\n", name, std::visit(Shown{}, value));
  }
  return as_is(lines);
}

}  // namespace

std::string tensorboard_frame(std::string_view message) {
  const std::string length = little_endian(message.size(), 8);
  std::string frame = length + little_endian(masked_crc(length), 4);
  frame += message;
  return frame + little_endian(masked_crc(message), 4);
}

std::string tensorboard_version(double seconds) {
  return event_at(seconds, 0).bytes(3, "brain.Event:2").data();  // file_version 3
}

std::string tensorboard_restart(double seconds, std::int64_t first_step) {
  return event_at(seconds, first_step)
      .bytes(7, Message().whole(1, 1).data())
      .data();  // session_log 7 {status 1 = START}
}

std::string tensorboard_summary(double seconds, const Event& event) {
  Message summary;  // value 1, repeated
  if (event.event == "start" || event.event == "resume") {
    summary.bytes(1, text_value("run/" + event.event, facts(event)));
  } else if (event.event != "checkpoint" && event.event != "end") {  // those are no curves
    for (const auto& [name, value] : event.values) {
      const std::string tag = event.event + "/" + name;
      if (std::holds_alternative<double>(value) || std::holds_alternative<std::int64_t>(value)) {
        summary.bytes(1, scalar(tag, event.number(name)));
      } else if (event.event == "sample" && std::holds_alternative<std::string>(value)) {
        summary.bytes(1, text_value(tag, as_is(std::get<std::string>(value))));
      }
    }
  }
  if (summary.data().empty()) return {};
  return event_at(seconds, event.step).bytes(5, summary.data()).data();  // summary 5
}

}  // namespace nll
