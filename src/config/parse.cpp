// parse_config: text -> tree -> values, then overrides, then the checks between keys.
#include <fmt/format.h>

#include <map>

#include "kernels/check.h"
#include "src/config/check.h"
#include "src/config/key.h"
#include "src/config/override.h"
#include "src/config/quote.h"
#include "src/config/suggest.h"
#include "src/config/syntax.h"

namespace nll {
namespace {

constexpr std::size_t largest_text = 1 << 20;

using Places = std::map<std::string, std::string>;  // key -> where it was set

std::vector<std::string> sections_of(const std::vector<Key>& keys) {
  std::vector<std::string> names;
  for (const Key& key : keys) {
    const std::string& name = key.section.empty() ? key.name : key.section;
    if (names.empty() || names.back() != name) names.push_back(name);
  }
  return names;
}

std::vector<std::string> names_in(const std::vector<Key>& keys, const std::string& section) {
  std::vector<std::string> names;
  for (const Key& key : keys) {
    if (key.section == section) names.push_back(key.name);
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
  const std::vector<std::string> here = section.empty() ? sections_of(keys) : names_in(keys, section);
  const auto in_front = [&](const std::string& guess) { return section.empty() ? guess : section + "." + guess; };
  // The very name in another section is a better guess than a similar one in this.
  const std::vector<std::string> elsewhere = paths_called(keys, name);
  const std::string guess = nearest(name, here);
  const bool certain = !guess.empty() && known_elsewhere_as(name) == guess;
  if (!elsewhere.empty() && !certain) return "did you mean " + joined(elsewhere, " or ") + "?";
  if (!guess.empty()) return "did you mean " + in_front(guess) + "?";
  return (section.empty() ? "sections are " : "keys of " + section + " are ") + joined(here, ", ");
}

void take_section(const std::vector<Key>& keys, const Node& section, const Source& source, Places& places) {
  if (section.kind != Node::Kind::object) {
    source.fail(section.offset, section.key + ": expected an object with keys, found " + found(section),
                "keys of " + section.key + " are " + joined(names_in(keys, section.key), ", "));
  }
  for (const Node& member : section.children) {
    const Key* key = find_key(keys, section.key + "." + member.key);
    if (key == nullptr) {
      source.fail(member.key_offset, section.key + "." + shown(member.key) + ": unknown key",
                  unknown_hint(keys, section.key, member.key));
    }
    assign(*key, member, source);
    places[key->path] = source.at(member.offset);
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
  for (const Node& member : root.children) {
    if (is_section(keys, member.key)) {
      take_section(keys, member, source, places);
    } else if (const Key* key = find_key(keys, member.key); key != nullptr && key->section.empty()) {
      assign(*key, member, source);
      places[key->path] = source.at(member.offset);
    } else {
      source.fail(member.key_offset,
                  shown(member.key) + (member.kind == Node::Kind::object ? ": unknown section" : ": unknown key"),
                  unknown_hint(keys, "", member.key));
    }
  }
}

void take_override(const std::vector<Key>& keys, const std::string& argument, Places& places, Places& overridden) {
  const Override override = parse_override(argument);
  const Key* key = find_key(keys, override.key);
  if (key == nullptr) {
    if (is_section(keys, override.key)) {
      override.source.fail(0, override.key + ": is a section (expected a key of it)",
                           "keys of " + override.key + " are " + joined(names_in(keys, override.key), ", "));
    }
    const std::size_t dot = override.key.find('.');
    const std::string section = dot == std::string::npos ? "" : override.key.substr(0, dot);
    const std::string name = override.key.substr(dot == std::string::npos ? 0 : dot + 1);
    if (is_section(keys, section) || section.empty()) {
      override.source.fail(0, shown(override.key) + ": unknown key", unknown_hint(keys, section, name));
    }
    // A wrong section with a right key in it ("modle.heads") is most likely that key.
    const std::string guess = nearest(section, sections_of(keys));
    const bool right_key = !guess.empty() && find_key(keys, guess + "." + name) != nullptr;
    override.source.fail(0, shown(section) + ": unknown section",
                         right_key ? "did you mean " + guess + "." + name + "?" : unknown_hint(keys, "", section));
  }
  const auto [first, fresh] = overridden.emplace(key->path, override.source.place);
  if (!fresh) override.source.fail(0, key->path + ": given twice", "it is " + first->second + " too");
  assign(*key, override_node(override, *key), override.source);
  places[key->path] = override.source.place;
}

}  // namespace

Config parse_config(const std::string& text, const std::string& place, const std::vector<std::string>& overrides) {
  Config config;
  const std::vector<Key> keys = keys_of(config);
  const std::string shown_place = shown(place);
  Places places, overridden;
  take_document(keys, {text, shown_place, true}, places);
  for (const std::string& argument : overrides) take_override(keys, argument, places, overridden);
  if (const std::optional<Conflict> conflict = find_conflict(config, 1)) {
    const auto set_at = places.find(conflict->key);
    const std::string& where = set_at == places.end() ? shown_place : set_at->second;
    throw Error(Exit::usage, where + ": " + conflict->key + ": " + conflict->message, conflict->hint);
  }
  return config;
}

}  // namespace nll
