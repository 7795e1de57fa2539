#include "src/report/report_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "src/report/console.h"
#include "src/report/markup.h"

namespace nll {
namespace {

constexpr std::size_t most_samples = 40, most_sample_bytes = 6000, most_starts = 6, most_happenings = 200;

std::vector<const Event*> events_called(const RunRecord& run, std::initializer_list<std::string_view> names) {
  std::vector<const Event*> found;
  for (const Event& event : run.events) {
    if (std::find(names.begin(), names.end(), event.event) != names.end()) found.push_back(&event);
  }
  return found;
}

// At most `most`, evenly taken, the first and the last among them.
std::vector<const Event*> evenly(const std::vector<const Event*>& events, std::size_t most) {
  if (events.size() <= most) return events;
  std::vector<const Event*> taken;
  for (std::size_t i = 0; i < most; ++i) taken.push_back(events[i * (events.size() - 1) / (most - 1)]);
  return taken;
}

std::string remark_left_out(std::size_t shown, std::size_t all, const char* what) {
  if (shown == all) return {};
  return fmt::format("<p class=\"soft\">{} of {} {} are shown.</p>\n", shown, all, what);
}

struct Plain {
  std::string operator()(std::int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(double value) const { return fmt::format("{:.6g}", value); }
  std::string operator()(bool value) const { return value ? "yes" : "no"; }
  std::string operator()(const std::string& value) const { return value; }
  std::string operator()(const std::vector<double>& value) const { return fmt::format("{} numbers", value.size()); }
};

// A fact of a start by its name in the event: what to call it and how to write it.
std::pair<std::string, std::string> fact(const std::string& name, const Value& value, const Event& event) {
  const double number = event.number(name);
  const auto exact = [&] { return std::visit(Plain{}, value); };
  if (name == "sgemm_gflops" || name == "peak_gflops") {
    const char* called = name == "sgemm_gflops" ? "measured FP32 matrix products" : "published peak";
    if (!(number > 0)) return {called, "not measured"};
    return {called, number < 1e4 ? fmt::format("{:.1f} GFLOP/s", number) : fmt::format("{:.1f} TFLOP/s", number / 1e3)};
  }
  if (name == "memory_bytes" && std::abs(number) < 9e18)
    return {"memory planned", human_bytes(static_cast<std::int64_t>(number))};
  if (name == "flops_per_token") return {"FLOPs per training token", human_count(number)};
  for (const auto& [key, called] : {std::pair{"parameters", "parameters"},
                                    {"training_tokens", "training tokens"},
                                    {"validation_tokens", "validation tokens"}}) {
    if (name == key) return {called, fmt::format("{} ({})", human_count(number), exact())};
  }
  return {name, exact()};
}

// A table with a row for each name in the order they come, a column for each heading.
struct Table {
  std::vector<std::string> headings, names;
  std::vector<std::map<std::string, std::string>> columns;

  void put(const std::string& name, const std::string& value) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    columns.back()[name] = value;
  }
  std::string row(const std::string& name, const char* row_class) const {
    std::string html = fmt::format("<tr{}><th>{}</th>", row_class, html_text(name));
    for (const auto& column : columns) {
      const auto value = column.find(name);
      html += fmt::format("<td>{}</td>", value == column.end() ? "" : html_text(value->second));
    }
    return html + "</tr>\n";
  }
  std::string head(const char* table_class) const {
    std::string html = fmt::format("<div class=\"wide\"><table{}><thead><tr><th></th>", table_class);
    for (const std::string& heading : headings) html += fmt::format("<th>{}</th>", html_text(heading));
    return html + "</tr></thead><tbody>\n";
  }
};

constexpr const char* table_end = "</tbody></table></div>\n";

}  // namespace

std::string samples_html(const std::vector<RunRecord>& runs) {
  std::string html;
  for (const RunRecord& run : runs) {
    const std::vector<const Event*> all = events_called(run, {"sample"}), shown = evenly(all, most_samples);
    if (all.empty()) continue;
    html += "<div>\n";
    if (runs.size() > 1) html += fmt::format("<h3>{}</h3>\n", html_text(run.name));
    html += remark_left_out(shown.size(), all.size(), "samples");
    for (const Event* event : shown) {
      const std::string* text = event->text("text");
      std::string said = text == nullptr ? "" : *text;
      const bool cut = said.size() > most_sample_bytes;
      if (cut) said.resize(most_sample_bytes);
      // A line end right behind <pre> would be taken for layout.
      html += fmt::format("<details{}><summary>step {}</summary><pre>\n{}{}</pre></details>\n",
                          event == shown.back() ? " open=\"open\" data-print=\"\"" : "", event->step, html_text(said),
                          cut ? "\n[...]" : "");
    }
    html += "</div>\n";
  }
  return html.empty() ? html : "<div class=\"samples\">\n" + html + "</div>\n";
}

std::string config_html(const std::vector<RunRecord>& runs, const ConfigKeys& defaults) {
  Table table;
  for (const RunRecord& run : runs) {
    table.headings.push_back(run.name);
    table.columns.emplace_back();
    for (const auto& [key, value] : run.config) table.put(key, value);
  }
  if (table.names.empty()) return {};
  const std::map<std::string, std::string> usual(defaults.begin(), defaults.end());
  const auto differs = [&](const std::string& name) {
    return std::any_of(table.columns.begin(), table.columns.end(), [&](const auto& column) {
      const auto& first_column = table.columns.front();
      const auto here = column.find(name), first = first_column.find(name);
      const bool has = here != column.end(), first_has = first != first_column.end();
      return has != first_has || (has && here->second != first->second);
    });
  };
  const auto is_set = [&](const std::string& name) {
    const auto standard = usual.find(name);
    return standard != usual.end() && table.columns.front().count(name) != 0 &&
           table.columns.front().at(name) != standard->second;
  };
  std::string differing, all;
  std::size_t differences = 0, set = 0;
  for (const std::string& name : table.names) {
    const bool different = differs(name), chosen = runs.size() == 1 && is_set(name);
    if (different) differing += table.row(name, " class=\"differs\"");
    if (chosen) differing += table.row(name, " class=\"set\"");
    differences += different;
    set += chosen;
    all += table.row(name, different ? " class=\"differs\"" : chosen ? " class=\"set\"" : "");
  }
  std::string html;
  if (runs.size() > 1) {
    html += fmt::format("<p>{}</p>\n",
                        differences == 0
                            ? "No key differs between the runs."
                            : fmt::format("{} of {} keys differ between the runs:", differences, table.names.size()));
  } else {
    html += fmt::format("<p>{} of {} keys are not at their default:</p>\n", set, table.names.size());
  }
  if (!differing.empty()) html += table.head(" class=\"keys\"") + differing + table_end;
  return html + "<details data-print=\"\"><summary>All keys</summary>\n" + table.head(" class=\"keys\"") + all +
         table_end + "</details>\n";
}

std::string machine_html(const std::vector<RunRecord>& runs) {
  Table table;
  std::string remark;
  for (const RunRecord& run : runs) {
    const std::vector<const Event*> all = events_called(run, {"start", "resume"}), shown = evenly(all, most_starts);
    if (shown.size() < all.size()) remark = remark_left_out(shown.size(), all.size(), "starts of a run");
    for (const Event* event : shown) {
      const std::string when = event->event == "start" ? "start" : fmt::format("resumed at step {}", event->step);
      table.headings.push_back(runs.size() > 1 ? run.name + ", " + when : when);
      table.columns.emplace_back();
      for (const auto& [name, value] : event->values) {
        const auto [called, shown_value] = fact(name, value, *event);
        table.put(called, shown_value);
      }
    }
  }
  if (table.names.empty()) return {};
  std::string html = remark + table.head("");
  for (const std::string& name : table.names) html += table.row(name, "");
  return html + table_end;
}

std::string happenings_html(const std::vector<RunRecord>& runs) {
  std::string html;
  for (const RunRecord& run : runs) {
    const std::vector<const Event*> all = events_called(run, {"resume", "skipped", "checkpoint", "end"});
    const std::vector<const Event*> shown = evenly(all, most_happenings);
    if (all.empty()) continue;
    html += fmt::format("<details><summary>{}{} resumes, skipped steps and checkpoints</summary>\n",
                        runs.size() > 1 ? html_text(run.name) + ": " : "", all.size());
    html += remark_left_out(shown.size(), all.size(), "of them");
    html +=
        "<div class=\"wide\"><table><thead><tr><th class=\"value\">step</th><th>what</th><th></th></tr></thead>"
        "<tbody>\n";
    for (const Event* event : shown) {
      std::string said;
      for (const auto& [name, value] : event->values) {
        if (event->event == "resume" && name != "device") continue;  // the facts have their own table
        said += fmt::format("{}{}: {}", said.empty() ? "" : ", ", name, std::visit(Plain{}, value));
      }
      html += fmt::format("<tr><td class=\"value\">{}</td><td>{}</td><td>{}</td></tr>\n", event->step,
                          html_text(event->event), html_text(said));
    }
    html += std::string(table_end) + "</details>\n";
  }
  return html;
}

}  // namespace nll
