#include "src/checkpoint/strict_json.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "src/checkpoint/quoted.h"

namespace nll {
namespace {

// Looks at the events of a parse and builds nothing: what passes may be parsed into a tree.
class StrictEvents {
 public:
  StrictEvents(const std::string& place, Exit exit) : place_(place), exit_(exit) {}
  bool null() { return true; }
  bool boolean(bool) { return true; }
  bool number_integer(std::int64_t) { return true; }
  bool number_unsigned(std::uint64_t) { return true; }
  bool number_float(double, const std::string&) { return true; }
  bool string(const std::string&) { return true; }
  bool binary(const nlohmann::json::binary_t&) { return true; }
  bool start_object(std::size_t) { return enter(); }
  bool start_array(std::size_t) { return enter(); }
  bool end_object() { return leave(); }
  bool end_array() { return leave(); }
  bool key(const std::string& text) {
    if (!keys_.back().insert(text).second) fail(fmt::format("key {} appears twice", quoted_text(text)));
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    fail(fmt::format("not valid JSON at byte {}", position));
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Error(exit_, place_ + ": " + what); }
  bool enter() {
    constexpr std::size_t deepest = 16;
    if (keys_.size() == deepest) fail(fmt::format("nested deeper than {} levels", deepest));
    keys_.emplace_back();
    return true;
  }
  bool leave() {
    keys_.pop_back();
    return true;
  }
  const std::string& place_;
  Exit exit_;
  std::vector<std::set<std::string>> keys_;  // of the objects we are inside of
};

}  // namespace

nlohmann::json parse_strict_json(std::string_view text, const std::string& place, Exit exit) {
  const std::int64_t bad_byte = first_invalid_utf8(text);
  if (bad_byte >= 0) throw Error(exit, fmt::format("{}: not UTF-8 at byte {}", place, bad_byte));
  if (text.starts_with("\xEF\xBB\xBF")) throw Error(exit, place + ": starts with a byte order mark (expected JSON)");
  StrictEvents events(place, exit);
  nlohmann::json::sax_parse(text.begin(), text.end(), &events);
  return nlohmann::json::parse(text.begin(), text.end());
}

}  // namespace nll
