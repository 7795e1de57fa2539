// A chart of a report as SVG inside a page, for readers without a script and for search; the page's script draws over
// it. Colours and strokes are classes of the page's style.
#pragma once
#include <string>

#include "src/report/report_chart.h"

namespace nll {

std::string chart_svg(const ReportChart& chart, const std::vector<RunMarks>& marks);
// The stroke of a curve as it stands in a legend.
std::string swatch_svg(const ChartSeries& series);

}  // namespace nll
