#include "src/report/event.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "src/report/utf8.h"

namespace nll {
namespace {

std::string json_string(std::string_view text) {
  std::string json = "\"";
  for (const char c : valid_utf8(text)) {
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (c == '\n') {
      json += "\\n";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      json += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      json += c;
    }
  }
  return json + "\"";
}

std::string json_number(double value) {
  if (!std::isfinite(value)) return "null";
  std::string text = fmt::format("{}", value);  // the shortest that reads back, in no locale
  // 3.0 stays a real number when it is read back.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string json_list(const std::vector<double>& values) {
  std::string json = "[";
  for (const double value : values) {
    if (json.size() > 1) json += ", ";
    json += std::isfinite(value) ? fmt::format("{}", value) : "null";
  }
  return json + "]";
}

struct WriteValue {
  std::string operator()(std::int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(double value) const { return json_number(value); }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(const std::string& value) const { return json_string(value); }
  std::string operator()(const std::vector<double>& value) const { return json_list(value); }
};

// One flat object of numbers, booleans, texts, nulls and lists of numbers; anything else is a problem.
class EventReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit EventReader(Event& event) : event_(event) {}

  bool null() override { return take(std::numeric_limits<double>::quiet_NaN()); }
  bool boolean(bool value) override { return take(value); }
  bool number_integer(number_integer_t value) override {
    return list_ ? take(static_cast<double>(value)) : take(std::int64_t{value});
  }
  bool number_unsigned(number_unsigned_t value) override {
    if (list_) return take(static_cast<double>(value));
    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return refuse(name() + ": whole number beyond 64 bits");
    }
    return take(static_cast<std::int64_t>(value));
  }
  bool number_float(number_float_t value, const string_t&) override { return take(value); }
  bool string(string_t& value) override { return take(value); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    if (open_) return refuse(name() + ": an object (expected a number, text, list of numbers, true, false or null)");
    return open_ = true;
  }
  bool end_object() override { return true; }
  bool start_array(std::size_t) override {
    if (!open_) return refuse("a list (expected an object)");
    if (list_) return refuse(name() + ": a list in a list (expected numbers)");
    list_.emplace();
    return true;
  }
  bool end_array() override {
    const std::vector<double> values = std::move(*list_);
    list_.reset();
    return take(values);
  }
  bool key(string_t& value) override {
    raw_name_ = std::move(value);
    return is_new(raw_name_) || refuse("duplicate key " + name());
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) override {
    const bool too_large = error.id == 406;
    return refuse(too_large ? name() + ": number too large" : fmt::format("not valid JSON at byte {}", position));
  }

  std::string problem() const {
    if (!problem_.empty()) return problem_;
    if (!has_event_) return "no \"event\"";
    if (!has_step_) return "no \"step\"";
    return has_tokens_ ? "" : "no \"tokens\"";
  }

 private:
  bool refuse(const std::string& problem) {
    problem_ = problem;
    return false;
  }

  // For a message.
  std::string name() const { return cut_to_columns(raw_name_, 40); }

  bool is_new(const std::string& key) {
    for (const auto& [flag, called] :
         {std::pair{&has_event_, "event"}, {&has_step_, "step"}, {&has_tokens_, "tokens"}}) {
      if (key == called) return !std::exchange(*flag, true);
    }
    return std::none_of(event_.values.begin(), event_.values.end(),
                        [&](const auto& value) { return value.first == key; });
  }

  bool take(Value value) {
    if (!open_) return refuse("not an object");
    if (list_) {
      const double* number = std::get_if<double>(&value);
      if (number == nullptr) return refuse(name() + ": a list of other things than numbers");
      list_->push_back(*number);
      return true;
    }
    if (raw_name_ == "event") {
      if (!std::holds_alternative<std::string>(value)) return refuse("event: expected a text");
      event_.event = std::get<std::string>(value);
      return !event_.event.empty() || refuse("event: empty");
    }
    if (raw_name_ == "step" || raw_name_ == "tokens") {
      const std::int64_t* whole = std::get_if<std::int64_t>(&value);
      if (whole == nullptr || *whole < 0) return refuse(raw_name_ + ": expected a whole number of at least 0");
      (raw_name_ == "step" ? event_.step : event_.tokens) = *whole;
      return true;
    }
    event_.values.emplace_back(raw_name_, std::move(value));
    return true;
  }

  Event& event_;
  bool open_ = false;
  std::optional<std::vector<double>> list_;  // the one that is open
  bool has_event_ = false, has_step_ = false, has_tokens_ = false;
  std::string raw_name_, problem_;
};

}  // namespace

double Event::number(std::string_view name) const {
  for (const auto& [key, value] : values) {
    if (key != name) continue;
    if (const double* real = std::get_if<double>(&value)) return *real;
    if (const std::int64_t* whole = std::get_if<std::int64_t>(&value)) return static_cast<double>(*whole);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

namespace {

template <class T>
const T* find(const Event& event, std::string_view name) {
  for (const auto& [key, value] : event.values) {
    if (key == name) return std::get_if<T>(&value);
  }
  return nullptr;
}

}  // namespace

const std::string* Event::text(std::string_view name) const { return find<std::string>(*this, name); }

const std::vector<double>* Event::list(std::string_view name) const { return find<std::vector<double>>(*this, name); }

std::string to_json(const Event& event) {
  std::string json =
      fmt::format(R"({{"event": {}, "step": {}, "tokens": {})", json_string(event.event), event.step, event.tokens);
  for (const auto& [name, value] : event.values) {
    json += ", " + json_string(name) + ": " + std::visit(WriteValue{}, value);
  }
  return json + "}";
}

std::string parse_event(std::string_view line, Event& event) {
  event = {};
  // nlohmann/json takes a NUL for the end of the text; a power cut leaves NULs behind.
  if (const std::size_t at = line.find('\0'); at != std::string_view::npos) return fmt::format("NUL at byte {}", at);
  EventReader reader(event);
  nlohmann::json::sax_parse(line.begin(), line.end(), &reader);
  return reader.problem();
}

}  // namespace nll
