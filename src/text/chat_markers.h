// How a conversation becomes text: each turn is its role's prefix, its content and its role's suffix.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace nll {

enum class Role { system, user, assistant, tool };

std::string_view role_name(Role role);
std::optional<Role> role_named(std::string_view name);

struct RoleMarkers {
  std::string prefix, suffix;
};

// The name of a special token in a marker stands for that token where the tokenizer has it; everything else in markers,
// and all content, is ordinary text, so nothing that somebody writes can pass for a special token.
struct ChatMarkers {
  RoleMarkers system{"<|system|>\n", "\n"};
  RoleMarkers user{"<|user|>\n", "\n"};
  RoleMarkers assistant{"<|assistant|>\n", "<|endoftext|>"};
  RoleMarkers tool{"<|tool|>\n", "\n"};
  bool assistant_only = false;  // train on the contents of assistant turns and their suffixes alone
  const RoleMarkers& of(Role role) const;
};

}  // namespace nll
