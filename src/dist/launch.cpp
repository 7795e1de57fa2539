// Reading what launchers say in the environment. The innermost launcher wins: torchrun and mpirun may themselves have
// been started by srun, whose variables their processes inherit.
#include "src/dist/launch.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "src/dist/collective.h"

namespace nll {
namespace {

// A value in a message: short, and on one line whatever is in it.
std::string quoted(std::string_view text) {
  constexpr std::size_t longest = 40;
  std::string result = "\"";
  for (char c : text.substr(0, longest)) result += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return result + (text.size() > longest ? "...\"" : "\"");
}

[[noreturn]] void refuse(const char* variable, std::string_view value, const std::string& expected) {
  throw Error(Exit::usage, fmt::format("environment: {} is {} (expected {})", variable, quoted(value), expected),
              "to train in one process, unset it");
}

struct Variables {
  const Environment& environment;

  // Empty is as good as not set.
  std::optional<std::string_view> text(const char* name) const {
    const char* value = environment(name);
    if (value == nullptr || *value == '\0') return {};
    return value;
  }
  bool has(const char* name) const { return text(name).has_value(); }

  std::optional<int> number(const char* name, int least, int most) const {
    const auto value = text(name);
    if (!value) return {};
    int result = 0;
    const auto [end, fault] = std::from_chars(value->data(), value->data() + value->size(), result);
    if (fault != std::errc{} || end != value->data() + value->size() || result < least || result > most) {
      refuse(name, *value, fmt::format("a whole number from {} to {}", least, most));
    }
    return result;
  }

  // The rank among `size`, and the error of a size that came without its rank or the other way round.
  struct Place {
    int rank, size;
  };
  static constexpr int most_ranks = 1 << 20;
  Place place(const char* rank_name, const char* size_name, const char* who) const {
    const auto size = number(size_name, 1, most_ranks);
    const auto rank = number(rank_name, 0, most_ranks - 1);
    if (!size || !rank) {
      throw Error(Exit::usage,
                  fmt::format("environment: {} is {}, but {} is not set ({} sets both)", size ? size_name : rank_name,
                              quoted(*text(size ? size_name : rank_name)), size ? rank_name : size_name, who),
                  "to train in one process, unset it");
    }
    if (*rank >= *size) {
      refuse(rank_name, *text(rank_name), fmt::format("less than {}, which is {}", size_name, *size));
    }
    return {*rank, *size};
  }
  // The same among the processes of this host; a launcher that does not speak of them starts one on each.
  Place local_place(const char* rank_name, const char* size_name, const char* who) const {
    return has(rank_name) || has(size_name) ? place(rank_name, size_name, who) : Place{0, 1};
  }
};

void set_world(Launch& launch, Variables::Place all, Variables::Place local, const char* local_size_name) {
  if (local.size > all.size) {
    refuse(local_size_name, std::to_string(local.size),
           fmt::format("at most the {} processes of the whole job", all.size));
  }
  launch.world.rank = all.rank;
  launch.world.size = all.size;
  launch.world.local_rank = local.rank;
  launch.world.local_size = local.size;
}

constexpr int most_port = 65535;

bool read_address(Launch& launch, const Variables& variables) {
  const auto address = variables.text("MASTER_ADDR");
  const auto port = variables.number("MASTER_PORT", 1, most_port);
  if (!address || !port) return false;
  launch.address = *address;
  launch.port = *port;
  return true;
}

void read_mpirun(Launch& launch, const Variables& variables) {
  launch.launcher = "mpirun";
  set_world(launch, variables.place("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "mpirun"),
            variables.local_place("OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", "mpirun"),
            "OMPI_COMM_WORLD_LOCAL_SIZE");
  if (launch.world.size > 1) launch.kind = Launch::Kind::mpi;
}

// Where torchrun's agent keeps a store of its own at MASTER_PORT, another port is ours, which all ranks can compute:
// the next one, or where the system chose the port, one that it does not give to anybody's connections.
int port_beside_store(int port) {
  constexpr int first_of_system = 32768, ours = 20000, ours_count = 10000;
  return port + 1 < first_of_system ? port + 1 : ours + port % ours_count;
}

void read_torchrun(Launch& launch, const Variables& variables) {
  launch.launcher = "torchrun";
  set_world(launch, variables.place("RANK", "WORLD_SIZE", "torchrun"),
            variables.local_place("LOCAL_RANK", "LOCAL_WORLD_SIZE", "torchrun"), "LOCAL_WORLD_SIZE");
  launch.job = variables.text("TORCHELASTIC_RUN_ID").value_or("");
  if (launch.world.size == 1) return;
  launch.kind = Launch::Kind::addresses;
  if (!read_address(launch, variables)) {
    const char* missing = variables.has("MASTER_ADDR") ? "MASTER_PORT" : "MASTER_ADDR";
    throw Error(
        Exit::usage,
        fmt::format("environment: WORLD_SIZE is \"{}\", but {} is not set (torchrun sets it)", launch.world.size,
                    missing),
        "MASTER_ADDR and MASTER_PORT say where rank 0 waits for the others; to train in one process, unset WORLD_SIZE");
  }
  if (variables.text("TORCHELASTIC_USE_AGENT_STORE") == "True") launch.port = port_beside_store(launch.port);
}

// How many tasks of a step are on host `node`, from a list like "4(x2),3": two hosts of four tasks, one of three.
int tasks_of_node(std::string_view list, int node) {
  constexpr const char* name = "SLURM_STEP_TASKS_PER_NODE";
  const char* at = list.data();
  const char* const end = list.data() + list.size();
  int first = 0;  // host of the entry at `at`
  while (at < end) {
    int tasks = 0, hosts = 1;
    auto read = std::from_chars(at, end, tasks);
    if (read.ec != std::errc{} || tasks < 1) break;
    at = read.ptr;
    if (end - at > 2 && at[0] == '(' && at[1] == 'x') {
      read = std::from_chars(at + 2, end, hosts);
      if (read.ec != std::errc{} || hosts < 1 || read.ptr == end || *read.ptr != ')') break;
      at = read.ptr + 1;
    }
    if (node - first < hosts) return tasks;
    first += hosts;
    if (at < end && *at++ != ',') break;
  }
  refuse(name, list, fmt::format("tasks of each host like 4(x2),3, and one for SLURM_NODEID {}", node));
}

void read_srun(Launch& launch, const Variables& variables) {
  launch.launcher = "srun";
  const auto all = variables.place("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "srun");
  if (all.size == 1) return;
  const int node = variables.number("SLURM_NODEID", 0, Variables::most_ranks - 1).value_or(0);
  Variables::Place local{variables.number("SLURM_LOCALID", 0, Variables::most_ranks - 1).value_or(0), 1};
  if (const auto list = variables.text("SLURM_STEP_TASKS_PER_NODE")) local.size = tasks_of_node(*list, node);
  if (local.rank >= local.size) {
    refuse("SLURM_LOCALID", *variables.text("SLURM_LOCALID"),
           fmt::format("less than the tasks of this host, which are {}", local.size));
  }
  set_world(launch, all, local, "SLURM_STEP_TASKS_PER_NODE");
  if (const auto job = variables.text("SLURM_JOB_ID")) {
    launch.job = fmt::format("{}.{}", *job, variables.text("SLURM_STEP_ID").value_or(""));
  }
  const bool has_address = read_address(launch, variables);
  if (variables.has("PMIX_RANK") || variables.has("PMI_RANK")) {
    launch.kind = Launch::Kind::mpi;
  } else if (has_address) {
    launch.kind = Launch::Kind::addresses;
  } else {
    throw Error(Exit::usage,
                fmt::format("srun: {} tasks were started, but nothing tells them how to meet (expected PMIx's "
                            "variables, or MASTER_ADDR and MASTER_PORT)",
                            all.size),
                "srun --mpi=pmix, or before srun: export MASTER_PORT=29500 MASTER_ADDR=$(scontrol show hostnames "
                "\"$SLURM_JOB_NODELIST\" | head -n 1)");
  }
}

// Another launcher of MPI programs. PMIx does not say in the environment how many there are: MPI will.
void read_mpiexec(Launch& launch, const Variables& variables) {
  launch.launcher = "mpiexec";
  if (variables.has("PMI_RANK") || variables.has("PMI_SIZE")) {
    set_world(launch, variables.place("PMI_RANK", "PMI_SIZE", "mpiexec"), {0, 1}, "PMI_SIZE");
    if (launch.world.size > 1) launch.kind = Launch::Kind::mpi;
  } else {
    launch.world.rank = *variables.number("PMIX_RANK", 0, Variables::most_ranks - 1);
    launch.world.size = launch.world.rank + 1;
    launch.kind = Launch::Kind::mpi;
  }
}

}  // namespace

Launch detect_launch(const Environment& environment) {
  const Variables variables{environment};
  Launch launch;
  // SLURM_NTASKS is not asked: the shell of a Slurm job has it too, and what is started there without srun is one
  // process.
  if (variables.has("TORCHELASTIC_RUN_ID")) {
    read_torchrun(launch, variables);
  } else if (variables.has("OMPI_COMM_WORLD_SIZE") || variables.has("OMPI_COMM_WORLD_RANK")) {
    read_mpirun(launch, variables);
  } else if (variables.has("RANK") || variables.has("WORLD_SIZE")) {
    read_torchrun(launch, variables);
  } else if (variables.has("SLURM_STEP_NUM_TASKS")) {
    read_srun(launch, variables);
  } else if (variables.has("PMIX_RANK") || variables.has("PMI_RANK") || variables.has("PMI_SIZE")) {
    read_mpiexec(launch, variables);
  }
  return launch;
}

std::shared_ptr<Transport> connect(const Launch& launch, double limit_seconds) {
  if (launch.kind == Launch::Kind::alone) return one_rank();
  if (launch.kind == Launch::Kind::addresses) return tcp_transport(launch, limit_seconds);
  std::shared_ptr<Transport> transport;
  try {
    transport = mpi_transport(limit_seconds);
  } catch (const Error& error) {
    if (error.exit() != Exit::usage) throw;
    throw Error(error.exit(), launch.launcher + " started this as one of several processes: " + error.what(),
                error.hint());
  }
  if (launch.world.size > 1 && transport->world().size == 1) {
    throw Error(Exit::usage,
                fmt::format("{} started several processes (this is rank {}), but MPI sees one: each would train alone",
                            launch.launcher, launch.world.rank),
                "start with the mpirun of the MPI that nll was built with; under Slurm with srun --mpi=pmix");
  }
  return transport;
}

}  // namespace nll
