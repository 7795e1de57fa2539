#include "src/report/svg.h"

#include <fmt/format.h>

#include "src/report/markup.h"

namespace nll {

void draw_text(std::string& svg, const char* classes, double x, double y, const char* anchor, std::string_view text) {
  svg += fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}</text>\n", classes, x, y,
                     anchor, html_text(text));
}

void draw_line(std::string& svg, const char* classes, double x1, double y1, double x2, double y2) {
  svg += fmt::format("<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n", classes, x1, y1,
                     x2, y2);
}

}  // namespace nll
