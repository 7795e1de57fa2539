// A picture in SVG: where a plot lies on its page, and elements. Classes are those of the picture's style.
#pragma once
#include <string>
#include <string_view>

namespace nll {

// A page that is a file of its own, in units of its viewBox.
inline constexpr double page_width = 960, page_height = 560;

// The edges of the part of a page that values are drawn in, in the page's units; y grows downwards.
struct PlotFrame {
  double left, right, top, bottom;

  constexpr double width() const { return right - left; }
  constexpr double height() const { return bottom - top; }
  constexpr double middle_x() const { return (left + right) / 2; }
  constexpr double middle_y() const { return (top + bottom) / 2; }
  // Where a share of the width is, counted from the left, and a share of the height, counted from the bottom.
  constexpr double x(double share) const { return left + width() * share; }
  constexpr double y(double share) const { return bottom - height() * share; }
};

// Appends a <text>; `anchor` is start, middle or end. `text` may hold anything.
void draw_text(std::string& svg, const char* classes, double x, double y, const char* anchor, std::string_view text);
void draw_line(std::string& svg, const char* classes, double x1, double y1, double x2, double y2);

}  // namespace nll
