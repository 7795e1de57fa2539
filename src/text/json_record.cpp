#include "src/text/json_record.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/check.h"
#include "src/config/quote.h"

namespace nll {
namespace {

using nlohmann::json;

// Keeps the one string that is wanted and builds nothing of the rest, however deep it is.
class TextFinder : public nlohmann::json_sax<json> {
 public:
  explicit TextFinder(const std::string& place) : place_(place) {}
  std::optional<std::string> text;

  bool null() override { return value("null"); }
  bool boolean(bool) override { return value("a boolean"); }
  bool number_integer(number_integer_t) override { return value("a number"); }
  bool number_unsigned(number_unsigned_t) override { return value("a number"); }
  bool number_float(number_float_t, const string_t&) override { return value("a number"); }
  bool binary(binary_t&) override { return value("binary"); }
  bool string(string_t& found) override {
    if (wanted()) {
      if (text) refuse("has \"text\" twice");
      text = std::move(found);
      is_text_ = false;
      return true;
    }
    return value("a string");
  }
  bool start_object(std::size_t) override {
    if (depth_ > 0) value("an object");
    return deeper();
  }
  bool end_object() override { return --depth_, true; }
  bool start_array(std::size_t) override {
    value("an array");
    return deeper();
  }
  bool end_array() override { return --depth_, true; }
  bool key(string_t& name) override {
    is_text_ = depth_ == 1 && name == "text";
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    refuse(fmt::format("not JSON: wrong at byte {} of the line", position));
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const { throw Error(Exit::bad_data, place_ + ": " + what); }
  bool wanted() const { return depth_ == 1 && is_text_; }
  bool value(const char* kind) {
    if (depth_ == 0) refuse(fmt::format("is {} (expected an object with a string \"text\")", kind));
    if (wanted()) refuse(fmt::format("\"text\" is {} (expected a string)", kind));
    return true;
  }
  bool deeper() {
    constexpr int deepest = 256;
    if (++depth_ > deepest) refuse(fmt::format("nested more than {} levels deep", deepest));
    return true;
  }

  const std::string& place_;
  int depth_ = 0;
  bool is_text_ = false;
};

}  // namespace

std::string record_text(std::string_view line, const std::string& place) {
  TextFinder finder(place);
  json::sax_parse(line, &finder);
  if (!finder.text)
    throw Error(Exit::bad_data, place + ": has no \"text\" (expected an object with a string \"text\")");
  return std::move(*finder.text);
}

}  // namespace nll
