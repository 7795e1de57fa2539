// Is a page well-formed? Enough of XML to see that nothing in it broke out of its place.
#pragma once
#include <string>

namespace nll {

// Elements are closed in order, attributes are quoted and hold no markup, text holds no loose '<', '>' or '&', ids are
// unique. The content of <script> and <style> is not looked at. Empty when all is well, else what is wrong and where.
std::string page_problem(const std::string& page);

// The content of the page's <script> with this id.
std::string script_content(const std::string& page, const std::string& id);

}  // namespace nll
