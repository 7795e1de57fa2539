#include "src/train/reference_model.h"

#include "src/train/model_folder.h"

namespace nll {

namespace {

Arena arena_of(const TaskContext& context, const char* name) {
  for (const ArenaPlan& arena : context.plan.arenas) {
    if (arena.name() == name) return Arena(*context.backend.device, arena);
  }
  return {};
}

}  // namespace

ReferenceModel::ReferenceModel(const TaskContext& context)
    : master_(arena_of(context, "reference weights")), rounded_(arena_of(context, "rounded reference")) {
  const ModelConfig& model = context.config.model;
  const ParameterTable table = ParameterTable::gpt2(model);
  const std::string& folder = context.inputs.reference;
  Job job(context.console, "loading the reference", "parameters");
  load_weights(CheckpointFolder(posix_file_ops(), folder), folder, table, *context.backend.device, master_[0],
               [&](std::int64_t done, std::int64_t total) { job.update(done, total); });
  job.finish();
  if (rounded_.planned()) context.backend.ops->convert(rounded_[0], master_[0]);
  weights_ =
      rounded_.planned() ? gpt_views(table, model, master_[0], rounded_[0]) : gpt_views(table, model, master_[0]);
}

std::unique_ptr<ReferenceModel> load_reference(const TaskContext& context) {
  return keeps_reference(context.config) ? std::make_unique<ReferenceModel>(context) : nullptr;
}

}  // namespace nll
