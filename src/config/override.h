// One `--set a.b=c`: which key it sets and the value it gives.
#pragma once
#include <string>

#include "src/config/document.h"
#include "src/config/key.h"

namespace nll {

struct Override {
  std::string key;    // "model.heads"
  std::string value;  // "12"
  Source source;      // names the override in messages; its text is `value` of the argument
};

// Splits "a.b=c"; the argument must outlive the result. Throws Error(usage) without '=' or key, or on invalid UTF-8.
Override parse_override(const std::string& argument);
// The value in the form that the kind of `key` takes: texts plain or in quotes, lists as JSON or one plain text,
// everything else as in a file. Throws Error(usage).
Node override_node(const Override& override, const Key& key);

}  // namespace nll
