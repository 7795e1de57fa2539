// parse_config: text -> tree -> values, then overrides, then the checks between keys.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/check.h"
#include "src/config/check.h"
#include "src/config/key.h"
#include "src/config/override.h"
#include "src/config/quote.h"
#include "src/config/suggest.h"
#include "src/config/syntax.h"
#include "src/config/take.h"

namespace nll {
namespace {

constexpr std::size_t largest_text = 1 << 20;

// What stands directly in a section (empty: the top level), keys and sections, in the order of their declaration.
std::vector<std::string> names_in(const std::vector<Key>& keys, const std::string& section) {
  std::vector<std::string> names;
  const std::string front = section.empty() ? "" : section + ".";
  for (const Key& key : keys) {
    if (key.path.compare(0, front.size(), front) != 0) continue;
    const std::string rest = key.path.substr(front.size());
    const std::string name = rest.substr(0, rest.find('.'));
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names;
}

const Key* find_key(const std::vector<Key>& keys, const std::string& path) {
  for (const Key& key : keys) {
    if (key.path == path) return &key;
  }
  return nullptr;
}

bool is_section(const std::vector<Key>& keys, const std::string& name) {
  return !name.empty() && !names_in(keys, name).empty();
}

// Sections alone; `names_in` has keys among them.
std::vector<std::string> sections_in(const std::vector<Key>& keys, const std::string& section) {
  std::vector<std::string> sections;
  for (const std::string& name : names_in(keys, section)) {
    if (is_section(keys, section.empty() ? name : section + "." + name)) sections.push_back(name);
  }
  return sections;
}

std::string joined(const std::vector<std::string>& names, const char* separator) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : separator) + name;
  return list;
}

// The keys called `name` (or what `name` is called here) anywhere.
std::vector<std::string> paths_called(const std::vector<Key>& keys, const std::string& name) {
  std::vector<std::string> paths;
  for (const std::string& wanted : {name, known_elsewhere_as(name)}) {
    for (const Key& key : keys) {
      if (key.name == wanted) paths.push_back(key.path);
    }
    if (!paths.empty()) break;
  }
  return paths;
}

// A remedy for an unknown `name` in `section` (empty: the top level).
std::string unknown_hint(const std::vector<Key>& keys, const std::string& section, const std::string& name) {
  const std::vector<std::string> here = names_in(keys, section);
  const auto in_front = [&](const std::string& guess) { return section.empty() ? guess : section + "." + guess; };
  // The very name in another section is a better guess than a similar one in this.
  const std::vector<std::string> elsewhere = paths_called(keys, name);
  const std::string guess = nearest(name, here);
  const bool certain = !guess.empty() && known_elsewhere_as(name) == guess;
  if (!elsewhere.empty() && !certain) return "did you mean " + joined(elsewhere, " or ") + "?";
  if (!guess.empty()) return "did you mean " + in_front(guess) + "?";
  return (section.empty() ? "sections are " : "keys of " + section + " are ") + joined(here, ", ");
}

// The members of an object: keys of `section` (empty: the top level) and sections in it.
void take_section(const std::vector<Key>& keys, const std::string& section, const Node& object, const Source& source,
                  Places& places) {
  const std::string front = section.empty() ? "" : section + ".";
  for (const Node& member : object.children) {
    const std::string path = front + member.key;
    const Key* key = member.key.find('.') == std::string::npos ? find_key(keys, path) : nullptr;
    if (key != nullptr) {
      assign(*key, member, source);
      places[key->path] = source.at(member.offset);
    } else if (member.key.find('.') == std::string::npos && is_section(keys, path)) {
      if (member.kind != Node::Kind::object) {
        source.fail(member.offset, path + ": expected an object with keys, found " + found(member),
                    "keys of " + path + " are " + joined(names_in(keys, path), ", "));
      }
      take_section(keys, path, member, source, places);
    } else {
      const bool as_section = member.kind == Node::Kind::object && !sections_in(keys, section).empty();
      source.fail(member.key_offset, front + shown(member.key) + (as_section ? ": unknown section" : ": unknown key"),
                  unknown_hint(keys, section, member.key));
    }
  }
}

void take_document(const std::vector<Key>& keys, const Source& source, Places& places) {
  if (source.text.size() > largest_text) {
    throw Error(Exit::usage,
                fmt::format("{}: {} bytes (a config has at most {})", source.place, source.text.size(), largest_text));
  }
  if (skip_blanks(source.text, 0) == source.text.size()) {
    throw Error(Exit::usage, source.place + ": is empty (expected a JSON object)", "the smallest config is {}");
  }
  const Node root = parse_document(source);
  if (root.kind != Node::Kind::object) {
    source.fail(root.offset, "expected a JSON object with sections, found " + found(root));
  }
  take_section(keys, "", root, source, places);
}

// Says what is wrong with the key of an override that is none.
[[noreturn]] void refuse_override(const std::vector<Key>& keys, const Override& override) {
  if (is_section(keys, override.key)) {
    override.source.fail(0, override.key + ": is a section (expected a key of it)",
                         "keys of " + override.key + " are " + joined(names_in(keys, override.key), ", "));
  }
  // The sections that lead to it, as far as they exist; then the name that does not; then what is behind it.
  std::string section, rest = override.key;
  for (std::size_t dot = rest.find('.'); dot != std::string::npos; dot = rest.find('.')) {
    const std::string deeper = (section.empty() ? "" : section + ".") + rest.substr(0, dot);
    if (!is_section(keys, deeper)) break;
    section = deeper;
    rest = rest.substr(dot + 1);
  }
  const std::string front = section.empty() ? "" : section + ".";
  const std::size_t dot = rest.find('.');
  if (const std::string path = front + rest.substr(0, dot); find_key(keys, path) != nullptr) {
    override.source.fail(0, shown(override.key) + ": unknown key", path + " is a key, no section");
  }
  const std::vector<std::string> sections = sections_in(keys, section);
  if (dot == std::string::npos || sections.empty()) {
    override.source.fail(0, shown(override.key) + ": unknown key", unknown_hint(keys, section, rest));
  }
  // A wrong section with a right key in it ("modle.heads") is most likely that key.
  const std::string name = rest.substr(0, dot), behind = rest.substr(dot);
  const std::string guess = nearest(name, sections);
  const bool right_key = !guess.empty() && find_key(keys, front + guess + behind) != nullptr;
  override.source.fail(0, shown(front + name) + ": unknown section",
                       right_key ? "did you mean " + front + guess + behind + "?" : unknown_hint(keys, section, name));
}

void take_override(const std::vector<Key>& keys, const std::string& argument, Places& places, Places& overridden) {
  const Override override = parse_override(argument);
  const Key* key = find_key(keys, override.key);
  if (key == nullptr) refuse_override(keys, override);
  const auto [first, fresh] = overridden.emplace(key->path, override.source.place);
  if (!fresh) override.source.fail(0, key->path + ": given twice", "it is " + first->second + " too");
  assign(*key, override_node(override, *key), override.source);
  places[key->path] = override.source.place;
}

}  // namespace

Places take_config(Config& config, const std::string& text, const std::string& place,
                   const std::vector<std::string>& overrides) {
  const std::vector<Key> keys = keys_of(config);
  Places places, overridden;
  take_document(keys, {text, place, true}, places);
  for (const std::string& argument : overrides) take_override(keys, argument, places, overridden);
  return places;
}

Config parse_config(const std::string& text, const std::string& place, const std::vector<std::string>& overrides,
                    const Config& base) {
  Config config = base;
  const std::string shown_place = shown(place);
  const Places places = take_config(config, text, shown_place, overrides);
  if (const std::optional<Conflict> conflict = find_conflict(config, 1)) {
    const auto set_at = places.find(conflict->key);
    const std::string& where = set_at == places.end() ? shown_place : set_at->second;
    throw Error(Exit::usage, where + ": " + conflict->key + ": " + conflict->message, conflict->hint);
  }
  return config;
}

}  // namespace nll
