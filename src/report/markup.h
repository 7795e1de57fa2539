// Texts on their way into HTML and into the script of a page: whatever they hold, they stay texts.
#pragma once
#include <string>
#include <string_view>

namespace nll {

// Content of an element, or of an attribute in double quotes. Line ends and tabs stay; other control characters become
// their pictures (U+2400 and on), what is no UTF-8 becomes U+FFFD. Valid in HTML and in XML.
std::string html_text(std::string_view text);
// A JSON string with its quotes, in which nothing can end the <script> around it.
std::string script_text(std::string_view text);
// The shortest of six significant digits; null for what is no finite number.
std::string script_number(double value);

}  // namespace nll
