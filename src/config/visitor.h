// Visitor: what walks the declarations of config.h. One implementation each for parsing, dumping, describing,
// comparing.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace nll {

// An allowed range. `low_open` and `high_open` say that the bound itself is not allowed.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  bool low_open = false, high_open = false;

  bool contains(double x) const { return (low_open ? x > low : x >= low) && (high_open ? x < high : x <= high); }
};
inline Range at_least(double low) { return {low, std::numeric_limits<double>::infinity(), false, true}; }
inline Range above(double low) { return {low, std::numeric_limits<double>::infinity(), true, true}; }
inline Range between(std::int64_t low, std::int64_t high) {
  return {static_cast<double>(low), static_cast<double>(high)};
}
inline Range between_real(double low, double high) { return {low, high}; }
inline Range from_below(double low, double high) { return {low, high, false, true}; }   // [low, high)
inline Range above_up_to(double low, double high) { return {low, high, true, false}; }  // (low, high]

// A whole number, or "auto" (no value): the program chooses.
using AutoInteger = std::optional<std::int64_t>;

class Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void text(const char* key, std::string& value, const char* help) = 0;
  // A list of texts; a single text stands for a list of one, an empty text for an empty list.
  virtual void texts(const char* key, std::vector<std::string>& value, const char* help) = 0;
  virtual void integer(const char* key, std::int64_t& value, Range range, const char* unit, const char* help) = 0;
  virtual void real(const char* key, double& value, Range range, const char* unit, const char* help) = 0;
  virtual void boolean(const char* key, bool& value, const char* help) = 0;
  virtual void automatic(const char* key, AutoInteger& value, Range range, const char* unit, const char* help) = 0;
  virtual void choice(const char* key, std::string& value, const std::vector<std::string>& allowed,
                      const char* help) = 0;

  template <class Section>
  void section(const char* key, Section& value) {
    enter(key);
    value.fields(*this);
    leave();
  }

 protected:
  virtual void enter(const char* key) = 0;
  virtual void leave() = 0;
};

}  // namespace nll
