// Elements of a picture in SVG. Classes are those of its style.
#pragma once
#include <string>
#include <string_view>

namespace nll {

// Appends a <text>; `anchor` is start, middle or end. `text` may hold anything.
void draw_text(std::string& svg, const char* classes, double x, double y, const char* anchor, std::string_view text);
void draw_line(std::string& svg, const char* classes, double x1, double y1, double x2, double y2);

}  // namespace nll
