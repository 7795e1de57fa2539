// dist_under_mpi CASE [MARK]: one process of a job that under_mpi.sh starts. It connects as the program does and then
// does or suffers what the case says. Exit codes and error lines are the program's.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "src/dist/launch.h"
#include "src/dist/mpi_plugin.h"
#include "tests/dist_mpi/messages.h"

namespace {

using nll::Error;
using nll::Exit;
using nll::Transport;

constexpr std::int64_t elements = 10'000;

// The operation in which the others meet the misfortune of the one: about equal sums of a bucket.
void reduce_scatter(Transport& transport, std::int64_t step, std::int64_t part = 1) {
  const int ranks = transport.world().size;
  std::vector<float> send(static_cast<std::size_t>(ranks * part)), received(send.size());
  std::vector<std::int64_t> cuts;
  for (int r = 0; r <= ranks; ++r) cuts.push_back(r * part);
  transport.wait(transport.all_to_all(nll::Tensor(received.data(), nll::DType::f32, {ranks, part}),
                                      nll::Tensor(send.data(), nll::DType::f32, {ranks * part}), cuts,
                                      {"reduce-scatter", step, 3}));
}

void require_world(const Transport& transport, const nll::Launch& launch) {
  CHECK(transport.world().rank == launch.world.rank);
  CHECK(transport.world().size == launch.world.size);
  CHECK(transport.world().local_rank == launch.world.local_rank);
  CHECK(transport.world().local_size == launch.world.local_size);
  CHECK(!transport.world().host.empty());
}

void run(const std::string& name, const nll::Launch& launch, std::shared_ptr<Transport>& transport) {
  // Bounds of what the case is about; under_mpi.sh measures.
  const bool limit_is_the_point = name == "stopped" || name == "stopped_zero" || name == "late" || name == "lingers";
  const double limit_seconds = limit_is_the_point ? 1 : 60;
  if (name == "late" && launch.world.rank == 1) pause();
  // The start of MPI takes its time on a busy machine: the short limit begins after it.
  const double start_seconds = name == "late" ? 2 : 60;
  if (name == "pieces") {
    nll::MpiSettings settings;
    settings.limit_seconds = start_seconds;
    settings.piece_bytes = 1001;
    transport = nll::open_mpi(settings);
  } else {
    transport = nll::connect(launch, start_seconds);
  }
  transport->set_limit(limit_seconds);
  const int rank = transport->world().rank, last = transport->world().size - 1;

  if (name == "messages" || name == "messages_alone" || name == "pieces") {
    require_world(*transport, launch);
    CHECK(transport->name() == std::string(name == "messages_alone" ? "one rank" : "mpi"));
    check_operations(*transport, elements);
  } else if (name == "in_flight") {
    check_in_flight(*transport, 300'000);
  } else if (name == "sums") {
    check_sums(transport);
  } else if (name == "killed") {
    reduce_scatter(*transport, 16);
    if (rank == last) std::raise(SIGKILL);
    reduce_scatter(*transport, 17);
  } else if (name == "stopped" || name == "stopped_zero") {
    reduce_scatter(*transport, 16);
    if (rank == (name == "stopped" ? last : 0)) std::raise(SIGSTOP);
    reduce_scatter(*transport, 17);
  } else if (name == "skipped") {
    reduce_scatter(*transport, 16);
    if (rank != last) reduce_scatter(*transport, 17);
    for (std::int64_t step = 18; step < 30; ++step) reduce_scatter(*transport, step);
  } else if (name == "disagrees") {
    reduce_scatter(*transport, 17, rank == last ? 1000 : 1);
  } else if (name == "leaves") {
    if (rank != last) reduce_scatter(*transport, 17);
  } else if (name == "fails") {
    if (rank == last) throw Error(Exit::bad_data, "shard.bin: token 70000 at 12 (expected less than 50257)");
    reduce_scatter(*transport, 17);
  } else if (name == "throws") {
    // Nobody says abort: the transport is let go of while the Error is on its way.
    const std::shared_ptr<Transport> mine = std::move(transport);
    if (rank == last) throw Error(Exit::bad_data, "shard.bin: token 70000 at 12 (expected less than 50257)");
    reduce_scatter(*mine, 17);
  } else if (name == "endless") {
    constexpr unsigned step_microseconds = 10'000;
    for (std::int64_t step = 1;; ++step) {
      reduce_scatter(*transport, step);
      usleep(step_microseconds);
    }
  } else if (name == "lingers") {
    reduce_scatter(*transport, 17);
    if (rank == last) pause();
  } else {
    throw Error(Exit::usage, "no case \"" + name + "\"");
  }
}

// As in the program: a request to stop is noted, and ends nothing by itself.
volatile std::sig_atomic_t stop_signals = 0;
extern "C" void on_stop_signal(int) { stop_signals = 1; }

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGTERM, on_stop_signal);
  std::shared_ptr<Transport> transport;
  try {
    run(argc > 1 ? argv[1] : "", nll::detect_launch([](const char* name) { return std::getenv(name); }), transport);
    transport.reset();
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    if (!error.hint().empty()) std::fprintf(stderr, "hint: %s\n", error.hint().c_str());
    if (transport != nullptr) transport->abort(error.exit());
    return static_cast<int>(error.exit());
  } catch (const std::exception& bug) {
    std::fprintf(stderr, "error: internal: %s\n", bug.what());
    if (transport != nullptr) transport->abort(Exit::internal);
    return static_cast<int>(Exit::internal);
  }
}
