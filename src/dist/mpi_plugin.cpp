// Opening the plugin that knows MPI.
#include "src/dist/mpi_plugin.h"

#include <dlfcn.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "src/dist/launch.h"

namespace nll {
namespace {

constexpr const char* file_name = "libnll_mpi.so";
constexpr const char* without_mpi =
    "install Open MPI (Debian: libopenmpi-dev, openmpi-bin) and build again, or start the processes with RANK, "
    "WORLD_SIZE, MASTER_ADDR and MASTER_PORT set, as torchrun does";

// Beside the program, or in lib/ beside the program's folder.
std::filesystem::path find_plugin() {
  std::error_code fault;
  const std::filesystem::path folder = std::filesystem::read_symlink("/proc/self/exe", fault).parent_path();
  for (const auto& place : {folder / file_name, folder.parent_path() / "lib" / file_name}) {
    if (std::filesystem::exists(place, fault)) return place;
  }
  throw Error(
      Exit::usage,
      "this build has no MPI: " + (folder / file_name).string() + " does not exist (expected beside the program)",
      without_mpi);
}

}  // namespace

std::shared_ptr<Transport> open_mpi(const MpiSettings& settings) {
  const std::string path = find_plugin().string();
  // Global, because Open MPI opens parts of its own that look for its symbols there. Never closed: MPI's threads and
  // handlers stay until the process ends.
  void* plugin = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (plugin == nullptr) {
    const char* reason = dlerror();
    throw Error(Exit::usage, "MPI cannot be used: " + std::string(reason != nullptr ? reason : path), without_mpi);
  }
  const auto factory = reinterpret_cast<MpiFactory>(dlsym(plugin, mpi_plugin_symbol));
  Transport* transport = factory == nullptr ? nullptr : factory(mpi_plugin_layout, &settings);
  if (transport == nullptr) {
    throw Error(Exit::usage, path + ": made by another build of nll (expected the one made with this program)",
                "build again, and copy program and plugin together");
  }
  return std::shared_ptr<Transport>(transport);
}

std::shared_ptr<Transport> mpi_transport(double limit_seconds) {
  MpiSettings settings;
  settings.limit_seconds = limit_seconds;
  return open_mpi(settings);
}

}  // namespace nll
