#include "src/train/starting_model.h"

#include <filesystem>

#include "src/checkpoint/checkpoint.h"
#include "src/dist/agreement.h"
#include "src/train/checkpoint_texts.h"
#include "src/train/model_folder.h"

namespace nll {
namespace {

namespace fs = std::filesystem;

struct StartingModel {
  std::string folder;  // to read weights from; empty: the weights are random
  PublishedModel published;
};

std::string without_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// The config of the run that is gone on with; empty: there is no run yet.
std::string saved_config(const RunConfigRequest& request, const Config& read) {
  if (!request.resumes) return {};
  std::vector<std::string> places;
  if (!request.resume_path.empty()) {
    places.push_back(request.resume_path + "/" + run_config_name);
    if (fs::is_directory(request.resume_path + "/checkpoints")) places.push_back(request.resume_path + "/config.json");
  }
  places.push_back(read.run.directory + "/config.json");
  std::error_code ignored;
  for (const std::string& place : places) {
    if (fs::is_regular_file(place, ignored)) return place;
  }
  return {};
}

StartingModel open(const std::string& path, const RunConfigRequest& request) {
  StartingModel model;
  model.folder = resolve_checkpoint(posix_file_ops(), path, request.refused);
  const CheckpointFolder folder(posix_file_ops(), model.folder);
  model.published = parse_published_config(folder.text("config.json"), model.folder + "/config.json");
  return model;
}

StartingModel look(const RunConfigRequest& request, const Config& read) {
  const std::string given = without_slashes(read.run.initial_weights);
  const std::string saved = saved_config(request, read);
  if (saved.empty()) return open(given, request);
  const Config run = load_config(saved, {});
  const std::string& began_with = run.run.initial_weights;
  const bool same = began_with == given || began_with.compare(0, given.size() + 1, given + "/") == 0;
  StartingModel model;
  model.folder = same ? began_with : open(given, request).folder;
  model.published = {run.model, run.head};
  return model;
}

Config finish(const RunConfigRequest& request, const StartingModel& model) {
  if (model.folder.empty()) return load_config(request.path, request.overrides);
  Config base;
  base.model = model.published.model;
  base.model.dropout = 0;
  base.head.softcap = model.published.head.softcap;
  Config config = load_config(request.path, request.overrides, base);
  config.run.initial_weights = model.folder;
  return config;
}

// For the other ranks: neither part holds a NUL.
std::string text_of(const StartingModel& model) {
  if (model.folder.empty()) return {};
  return published_config(model.published.model, model.published.head, -1) + std::string(1, '\0') + model.folder;
}

StartingModel model_of(const std::string& text) {
  if (text.empty()) return {};
  const std::size_t end = text.find('\0');
  const std::string folder = text.substr(end + 1);
  return {folder, parse_published_config(text.substr(0, end), folder)};
}

}  // namespace

Config load_run_config(const RunConfigRequest& request) {
  const Config read = read_config(request.path, request.overrides);
  return finish(request, read.run.initial_weights.empty() ? StartingModel{} : look(request, read));
}

Config load_run_config(const RunConfigRequest& request, Transport& transport) {
  Config read, config;
  together(transport, "reading the config", [&] { read = read_config(request.path, request.overrides); });
  StartingModel model;
  const bool first = transport.world().rank == 0;
  together(transport, "looking at run.initial_weights", [&] {
    if (first && !read.run.initial_weights.empty()) model = look(request, read);
  });
  const std::string text =
      exchange_texts(transport, first ? text_of(model) : "", {"the model that is started from", -1, -1}).front();
  together(transport, "reading the config", [&] { config = finish(request, model_of(text)); });
  return config;
}

}  // namespace nll
