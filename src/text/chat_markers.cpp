#include "src/text/chat_markers.h"

#include <array>
#include <utility>

namespace nll {
namespace {

constexpr std::array<std::pair<Role, std::string_view>, 4> role_names = {
    {{Role::system, "system"}, {Role::user, "user"}, {Role::assistant, "assistant"}, {Role::tool, "tool"}}};

}  // namespace

std::string_view role_name(Role role) { return role_names[static_cast<std::size_t>(role)].second; }

std::optional<Role> role_named(std::string_view name) {
  for (const auto& [role, spelled] : role_names) {
    if (spelled == name) return role;
  }
  return std::nullopt;
}

const RoleMarkers& ChatMarkers::of(Role role) const {
  switch (role) {
    case Role::system:
      return system;
    case Role::user:
      return user;
    case Role::assistant:
      return assistant;
    case Role::tool:
      break;
  }
  return tool;
}

}  // namespace nll
