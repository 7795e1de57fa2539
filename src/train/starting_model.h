// What a run starts from: the folder that run.initial_weights names, and the sizes of its model, which a config need
// not repeat.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "src/config/config.h"
#include "src/dist/transport.h"

namespace nll {

// How a config of a run is read.
struct RunConfigRequest {
  std::string path;  // of the config
  std::vector<std::string> overrides;
  // Goes on with a run: the model is then that of the run, and the folder it once started from need not be there.
  bool resumes = false;
  std::string resume_path;  // of the checkpoint to go on from; empty: the one in run.directory
  std::function<void(const std::string& folder, const std::string& why)> refused;  // of checkpoints that are not intact
};

// The config of a run. With run.initial_weights, what it does not set of section model and of head.softcap is that of
// the model there; dropout stays off. run.initial_weights becomes the very folder that is read: of a run its newest
// intact checkpoint, and while a run goes on the one it began with. Throws as load_config, and Error(no_checkpoint) or
// Error(bad_data) where the folder has no model of ours.
Config load_run_config(const RunConfigRequest& request);
// The same by all ranks of a job: rank 0 looks at folders. All return or all throw, an AgreedError.
Config load_run_config(const RunConfigRequest& request, Transport& transport);

}  // namespace nll
