// What the program and its plugin libnll_mpi.so agree on. The plugin is mpi.cpp and the only thing that is linked with
// MPI, so the program starts where MPI is not installed.
#pragma once
#include <cstdint>
#include <memory>

#include "src/dist/transport.h"

namespace nll {

struct MpiSettings {
  double limit_seconds = 300;
  std::int64_t piece_bytes = std::int64_t{1} << 30;  // longer messages travel in pieces: MPI counts in int
};

// Program and plugin pass C++ objects to each other, so both must be of one build. Raised with every change of what
// they share; the sizes notice most of what was forgotten.
inline constexpr std::uint64_t mpi_plugin_layout = (std::uint64_t{1} << 32) | (sizeof(Transport) << 24) |
                                                   (sizeof(World) << 16) | (sizeof(Tensor) << 8) | sizeof(Error);

// The one symbol of the plugin: a new Transport for the caller to delete; nullptr: another layout. Throws Error.
using MpiFactory = Transport* (*)(std::uint64_t layout, const MpiSettings* settings);
inline constexpr const char* mpi_plugin_symbol = "nll_mpi_transport";

// mpi_transport (launch.h) with all settings.
std::shared_ptr<Transport> open_mpi(const MpiSettings& settings);

}  // namespace nll
