// Two kinds of failure. Error: the user, the data or the device is at fault; thrown anywhere, caught once in main().
// CHECK: the programmer is at fault; prints both sides and throws std::logic_error.
#pragma once
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace nll {

// Exit codes of the program. Scripts rely on them (docs/exit-codes.md).
enum class Exit : int {
  done = 0,
  usage = 2,          // bad config or command line
  no_checkpoint = 3,  // nothing usable to resume or read
  bad_data = 4,       // tokens, shards, tokenizer, records
  resources = 5,      // not enough memory or disk, found before the start
  io = 6,             // a read or write failed
  internal = 70,      // a bug here
  peer_lost = 75,     // another rank died or hangs
  diverged = 76,      // non-finite loss or gradient too many times in a row
  stopped = 85,       // stopped on request, state saved
};

// What main() prints as one line "error: <message>", and as one more line "hint: <hint>" when there is one.
// Style of a message: "<file or key>: <what is wrong, with the value> (<what was expected>)".
class Error : public std::runtime_error {
 public:
  Error(Exit exit, const std::string& message, std::string hint = {})
      : std::runtime_error(message), exit_(exit), hint_(std::move(hint)) {}
  Exit exit() const { return exit_; }
  const std::string& hint() const { return hint_; }

 private:
  Exit exit_;
  std::string hint_;
};

namespace detail {

[[noreturn]] inline void check_failed(const char* file, int line, const char* expression, const std::string& values) {
  std::ostringstream text;
  text << file << ":" << line << ": CHECK(" << expression << ") failed: " << values;
  throw std::logic_error(text.str());
}

// What a failed CHECK prints of a value: enums as their number.
template <class T>
auto shown(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return static_cast<long long>(value);
  } else {
    return value;
  }
}

template <class Left>
struct CheckLeft {
  const Left& left;
  struct Outcome {
    bool ok;
    std::string values;
  };
  template <class Right, class Compare>
  Outcome outcome(bool ok, const Right& right, const Compare& sign) const {
    if (ok) return {true, {}};
    std::ostringstream text;
    text << shown(left) << sign << shown(right);
    return {false, text.str()};
  }
  template <class Right>
  Outcome operator==(const Right& right) const {
    return outcome(left == right, right, " == ");
  }
  template <class Right>
  Outcome operator!=(const Right& right) const {
    return outcome(left != right, right, " != ");
  }
  template <class Right>
  Outcome operator<(const Right& right) const {
    return outcome(left < right, right, " < ");
  }
  template <class Right>
  Outcome operator<=(const Right& right) const {
    return outcome(left <= right, right, " <= ");
  }
  template <class Right>
  Outcome operator>(const Right& right) const {
    return outcome(left > right, right, " > ");
  }
  template <class Right>
  Outcome operator>=(const Right& right) const {
    return outcome(left >= right, right, " >= ");
  }
};

struct CheckStart {
  template <class Left>
  CheckLeft<Left> operator<<(const Left& left) const {
    return {left};
  }
};

template <class T>
void check_outcome(const T& result, const char* file, int line, const char* expression) {
  if constexpr (requires { result.values; }) {
    if (!result.ok) check_failed(file, line, expression, result.values);
  } else {
    if (!static_cast<bool>(result.left)) check_failed(file, line, expression, "is false");
  }
}

}  // namespace detail
}  // namespace nll

// Clang warns of any << before a comparison; here it is the point.
#if defined(__clang__)
#define NLL_CHECK_QUIETLY \
  _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Woverloaded-shift-op-parentheses\"")
#define NLL_CHECK_AS_BEFORE _Pragma("clang diagnostic pop")
#else
#define NLL_CHECK_QUIETLY
#define NLL_CHECK_AS_BEFORE
#endif

// CHECK(a == b): a programmer's claim. One comparison or one bool; both values are printed when it does not hold.
// One full expression, so that temporaries in it live until they are printed.
#define CHECK(expression)                                                                                     \
  do {                                                                                                        \
    NLL_CHECK_QUIETLY                                                                                         \
    ::nll::detail::check_outcome(::nll::detail::CheckStart{} << expression, __FILE__, __LINE__, #expression); \
    NLL_CHECK_AS_BEFORE                                                                                       \
  } while (0)
