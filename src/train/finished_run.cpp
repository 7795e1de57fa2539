#include "src/train/finished_run.h"

#include <fmt/format.h>

#include <filesystem>
#include <limits>

#include "kernels/check.h"
#include "src/model/parameters.h"
#include "src/report/run_record.h"

namespace nll {

FinishedRun read_finished_run(const std::string& folder, const std::function<void(const std::string&)>& warn) {
  const RunRecord record = read_run(folder, warn);
  if (record.config.empty()) throw Error(Exit::no_checkpoint, folder + ": no run (it has no config.json)");
  FinishedRun run;
  run.config = load_config(folder + "/config.json", {});
  const ModelConfig& model = run.config.model;
  run.parameters = ParameterTable::gpt2(model).parameters();
  run.without_tables = run.parameters - (model.vocabulary + model.context) * model.width;
  run.loss = run.bits_per_byte = std::numeric_limits<double>::quiet_NaN();
  std::int64_t validated = -1;
  for (const Event& event : record.events) {
    if (event.event == "train" || event.event == "skipped") {
      run.step = event.step;
      run.tokens = event.tokens;
      run.diverged_in_a_row =
          event.event == "skipped" ? static_cast<std::int64_t>(event.number("in_a_row")) : std::int64_t{0};
    } else if (event.event == "validation") {
      validated = event.step;
      run.loss = event.number("loss");
      run.bits_per_byte = event.number("bits_per_byte");
    } else if (event.event == "end") {
      run.step = event.step;
      run.tokens = event.tokens;
      run.seconds = event.number("seconds");
      run.complete = event.step >= run.config.schedule.steps;
    }
  }
  if (validated != run.step) run.loss = run.bits_per_byte = std::numeric_limits<double>::quiet_NaN();
  return run;
}

}  // namespace nll
