// The charts of a report: which measures of the runs are drawn, over optimizer steps, and what belongs together.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "src/report/curve.h"
#include "src/report/run_record.h"

namespace nll {

struct ChartSeries {
  enum class Kind { raw, line, points };  // raw: thin, beside its smoothed course; points: few, marked each
  std::size_t run = 0;
  Kind kind = Kind::line;
  std::size_t color = 0, dash = 0;
  std::string label;
  bool listed = true;  // in the legend
  Curve curve;
  double last = 0;  // the last finite value; NaN when there is none
};

struct ReportChart {
  enum class Place { main, first, folded };
  std::string id, title, unit;
  bool logarithmic = false;
  bool from_zero = false;
  Place place = Place::first;
  std::vector<ChartSeries> series;
};

// All charts that the runs have values for, in the order to show them. Curves are thinned to about `columns` parts of
// the axis without losing a lowest or highest value.
std::vector<ReportChart> make_charts(const std::vector<RunRecord>& runs, std::size_t columns);

// What happened at single steps of a run.
struct RunMarks {
  std::vector<double> resumed, skipped, saved;
};
RunMarks marks_of(const RunRecord& run, std::size_t most);

// Steps as tokens and as seconds of training (validation and saving left out), rising, at most `most` of them. Seconds
// are summed up from tokens and rates.
struct RunClock {
  std::vector<double> steps, tokens, seconds;
};
RunClock clock_of(const RunRecord& run, std::size_t most);

// The numbers called `key` of the events called `event`; steps rise, the last of equal steps counts.
Curve curve_of(const RunRecord& run, std::string_view event, std::string_view key);

}  // namespace nll
