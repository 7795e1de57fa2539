// The fields of a JSON record of an evaluation set. Faults are Error(bad_data): "<place>: "<field>" <what was found>
// (<what was expected>)".
#pragma once
#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace nll {

class RecordFields {
 public:
  // `place`: "<file>:<line>".
  RecordFields(std::string_view line, const std::string& place);
  bool has(const char* name) const { return record_.contains(name); }
  [[noreturn]] void refuse(const std::string& field, const std::string& what) const;
  // The one of two names that is there.
  const char* either(const char* first, const char* second) const;
  std::string text(const char* name) const;
  std::vector<std::string> texts(const char* name) const;  // at least two
  // Below `count`: a number or, as in some copies of HellaSwag, its digits.
  std::size_t index(const char* name, std::size_t count) const;

 private:
  const nlohmann::json& at(const char* name) const;
  std::string place_;
  nlohmann::json record_;
};

}  // namespace nll
