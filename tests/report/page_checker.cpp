#include "tests/report/page_checker.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>
#include <vector>

namespace nll {
namespace {

bool is_name(std::string_view name) {
  return !name.empty() && std::isalpha(static_cast<unsigned char>(name[0])) != 0 &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == ':'; });
}

// Markup characters that are no entity.
bool has_loose_markup(std::string_view text) {
  for (std::size_t at = 0; (at = text.find_first_of("<>&", at)) != std::string_view::npos; ++at) {
    const std::string_view here = text.substr(at);
    const bool entity =
        here.starts_with("&amp;") || here.starts_with("&lt;") || here.starts_with("&gt;") || here.starts_with("&quot;");
    if (!entity) return true;
  }
  return false;
}

// name="value" pairs, each behind a blank; false for anything else.
bool read_attributes(std::string_view text, std::vector<std::pair<std::string, std::string>>& attributes) {
  while (!text.empty()) {
    const std::size_t equals = text.find("=\"");
    if (text[0] != ' ' || equals == std::string_view::npos) return false;
    const std::size_t end = text.find('"', equals + 2);
    if (end == std::string_view::npos) return false;
    const std::string_view name = text.substr(1, equals - 1), value = text.substr(equals + 2, end - equals - 2);
    if (!is_name(name) || has_loose_markup(value)) return false;
    attributes.emplace_back(name, value);
    text.remove_prefix(end + 1);
  }
  return true;
}

}  // namespace

std::string page_problem(const std::string& page) {
  const std::string doctype = "<!DOCTYPE html>\n";
  if (!page.starts_with(doctype)) return "no doctype";
  std::vector<std::string> open;
  std::set<std::string> ids;
  for (std::size_t at = doctype.size(); at < page.size();) {
    const std::size_t begin = std::min(page.find('<', at), page.size());
    if (has_loose_markup(std::string_view(page).substr(at, begin - at)))
      return "loose markup in: " + page.substr(at, 80);
    if (begin == page.size()) break;
    const std::size_t end = page.find('>', begin);
    if (end == std::string::npos) return "a tag without an end";
    std::string_view tag = std::string_view(page).substr(begin + 1, end - begin - 1);
    const std::string shown = "<" + std::string(tag.substr(0, 200)) + ">";
    at = end + 1;
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1))
        return shown + " closes " + (open.empty() ? "nothing" : open.back());
      open.pop_back();
      continue;
    }
    const bool alone = tag.ends_with('/');
    if (alone) tag.remove_suffix(1);
    const std::string name(tag.substr(0, tag.find(' ')));
    std::vector<std::pair<std::string, std::string>> attributes;
    if (!is_name(name) || !read_attributes(tag.substr(name.size()), attributes)) return "not a tag: " + shown;
    std::set<std::string> names;
    for (const auto& [attribute, value] : attributes) {
      if (!names.insert(attribute).second) return "an attribute twice: " + shown;
      if (attribute == "id" && !ids.insert(value).second) return "an id twice: " + shown;
    }
    if (alone) continue;
    open.push_back(name);
    if (name == "script" || name == "style") {
      at = page.find("</" + name + ">", at);
      if (at == std::string::npos) return name + " without an end";
    }
  }
  return open.empty() ? "" : open.back() + " is not closed";
}

std::string script_content(const std::string& page, const std::string& id) {
  const std::size_t named = page.find("id=\"" + id + "\">");
  if (named == std::string::npos) return {};
  const std::size_t begin = page.find('>', named) + 1;
  return page.substr(begin, page.find("</script>", begin) - begin);
}

}  // namespace nll
