#include "src/dist/launch.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace nll {
namespace {

using Variables = std::map<std::string, std::string>;

Launch detected(const Variables& variables) {
  return detect_launch([&](const char* name) {
    const auto at = variables.find(name);
    return at == variables.end() ? nullptr : at->second.c_str();
  });
}

Variables with(Variables variables, const Variables& more) {
  for (const auto& [name, value] : more) variables[name] = value;
  return variables;
}

Variables without(Variables variables, const std::string& name) {
  variables.erase(name);
  return variables;
}

const Variables mpirun{{"OMPI_COMM_WORLD_SIZE", "8"},
                       {"OMPI_COMM_WORLD_RANK", "5"},
                       {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                       {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                       {"PMIX_RANK", "5"}};
const Variables torchrun{
    {"WORLD_SIZE", "16"},     {"RANK", "11"},           {"LOCAL_WORLD_SIZE", "8"},           {"LOCAL_RANK", "3"},
    {"MASTER_ADDR", "node0"}, {"MASTER_PORT", "29500"}, {"TORCHELASTIC_RUN_ID", "night-run"}};
const Variables srun{{"SLURM_STEP_NUM_TASKS", "7"}, {"SLURM_NTASKS", "7"}, {"SLURM_PROCID", "6"},
                     {"SLURM_LOCALID", "1"},        {"SLURM_NODEID", "2"}, {"SLURM_STEP_TASKS_PER_NODE", "2(x2),3"},
                     {"SLURM_JOB_ID", "4711"},      {"SLURM_STEP_ID", "0"}};
const Variables master{{"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "4000"}};

void expect_world(const Launch& launch, int rank, int size, int local_rank, int local_size) {
  EXPECT_EQ(launch.world.rank, rank);
  EXPECT_EQ(launch.world.size, size);
  EXPECT_EQ(launch.world.local_rank, local_rank);
  EXPECT_EQ(launch.world.local_size, local_size);
}

TEST(Launch, NothingInTheEnvironmentIsOneProcess) {
  const Launch launch = detected({});
  EXPECT_EQ(launch.kind, Launch::Kind::alone);
  EXPECT_EQ(launch.launcher, "");
  expect_world(launch, 0, 1, 0, 1);
}

TEST(Launch, MpirunSaysRankAndHost) {
  const Launch launch = detected(mpirun);
  EXPECT_EQ(launch.kind, Launch::Kind::mpi);
  EXPECT_EQ(launch.launcher, "mpirun");
  expect_world(launch, 5, 8, 1, 4);
}

TEST(Launch, OneProcessUnderAnyLauncherIsAlone) {
  EXPECT_EQ(detected({{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}}).kind, Launch::Kind::alone);
  EXPECT_EQ(detected({{"WORLD_SIZE", "1"}, {"RANK", "0"}}).kind, Launch::Kind::alone);
  EXPECT_EQ(detected({{"PMI_SIZE", "1"}, {"PMI_RANK", "0"}}).kind, Launch::Kind::alone);
  EXPECT_EQ(detected({{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_PROCID", "0"}, {"PMIX_RANK", "0"}}).kind,
            Launch::Kind::alone);
}

TEST(Launch, TorchrunSaysWhereRankZeroIs) {
  const Launch launch = detected(torchrun);
  EXPECT_EQ(launch.kind, Launch::Kind::addresses);
  EXPECT_EQ(launch.launcher, "torchrun");
  expect_world(launch, 11, 16, 3, 8);
  EXPECT_EQ(launch.address, "node0");
  EXPECT_EQ(launch.port, 29500);
  EXPECT_EQ(launch.job, "night-run");
}

TEST(Launch, ThePortOfTorchrunsOwnStoreIsLeftToIt) {
  const auto port = [](const std::string& master_port, const std::string& agent_store) {
    return detected(with(torchrun, {{"MASTER_PORT", master_port}, {"TORCHELASTIC_USE_AGENT_STORE", agent_store}})).port;
  };
  EXPECT_EQ(port("29500", "True"), 29501);
  EXPECT_EQ(port("32766", "True"), 32767);
  EXPECT_EQ(port("32767", "True"), 22767);
  EXPECT_EQ(port("42413", "True"), 22413);
  EXPECT_EQ(port("65535", "True"), 25535);
  EXPECT_EQ(port("29500", "False"), 29500);
}

TEST(Launch, WithoutLocalRanksThereIsOneProcessAHost) {
  const Launch launch = detected(without(without(torchrun, "LOCAL_RANK"), "LOCAL_WORLD_SIZE"));
  expect_world(launch, 11, 16, 0, 1);
}

TEST(Launch, TheInnermostLauncherWins) {
  // srun starts mpirun's daemons and torchrun's agents; torchrun may be started by mpirun.
  EXPECT_EQ(detected(with(srun, mpirun)).launcher, "mpirun");
  EXPECT_EQ(detected(with(srun, torchrun)).launcher, "torchrun");
  EXPECT_EQ(detected(with(mpirun, torchrun)).launcher, "torchrun");
  // Without torchrun's mark these are just variables of the same names.
  EXPECT_EQ(detected(with(mpirun, without(torchrun, "TORCHELASTIC_RUN_ID"))).launcher, "mpirun");
}

TEST(Launch, SrunWithPmixMeansMpi) {
  const Launch launch = detected(with(srun, {{"PMIX_RANK", "6"}}));
  EXPECT_EQ(launch.kind, Launch::Kind::mpi);
  EXPECT_EQ(launch.launcher, "srun");
  EXPECT_EQ(launch.job, "4711.0");
  expect_world(launch, 6, 7, 1, 3);
  EXPECT_EQ(detected(with(with(srun, {{"PMI_RANK", "6"}}), master)).kind, Launch::Kind::mpi);
}

TEST(Launch, SrunWithAnAddressMeansTcp) {
  const Launch launch = detected(with(srun, master));
  EXPECT_EQ(launch.kind, Launch::Kind::addresses);
  EXPECT_EQ(launch.address, "10.0.0.1");
  EXPECT_EQ(launch.port, 4000);
  expect_world(launch, 6, 7, 1, 3);
}

TEST(Launch, SlurmTellsTheTasksOfEachHost) {
  const auto local_size = [](const std::string& list, const std::string& node) {
    return detected(with(with(srun, master), {{"SLURM_STEP_TASKS_PER_NODE", list}, {"SLURM_NODEID", node}}))
        .world.local_size;
  };
  EXPECT_EQ(local_size("7", "0"), 7);
  EXPECT_EQ(local_size("4,3", "0"), 4);
  EXPECT_EQ(local_size("4,3", "1"), 3);
  EXPECT_EQ(local_size("2(x3),3(x2)", "2"), 2);
  EXPECT_EQ(local_size("2(x3),3(x2)", "4"), 3);
}

TEST(Launch, AShellOfASlurmJobIsNoStep) {
  const Variables shell{{"SLURM_NTASKS", "8"}, {"SLURM_PROCID", "0"}, {"SLURM_LOCALID", "0"}, {"SLURM_JOB_ID", "1"}};
  EXPECT_EQ(detected(shell).kind, Launch::Kind::alone);
  EXPECT_EQ(detected(shell).world.size, 1);
}

TEST(Launch, OtherLaunchersOfMpiProgramsAreMpi) {
  const Launch hydra = detected({{"PMI_SIZE", "4"}, {"PMI_RANK", "3"}});
  EXPECT_EQ(hydra.kind, Launch::Kind::mpi);
  expect_world(hydra, 3, 4, 0, 1);
  const Launch pmix = detected({{"PMIX_RANK", "2"}});  // how many there are only MPI knows
  EXPECT_EQ(pmix.kind, Launch::Kind::mpi);
  EXPECT_EQ(pmix.world.rank, 2);
}

struct Refused {
  Variables variables;
  std::string message;
};

TEST(Launch, NonsenseIsRefusedByNameAndValue) {
  const std::string is = "environment: ";
  const std::vector<Refused> cases{
      {with(mpirun, {{"OMPI_COMM_WORLD_SIZE", "abc"}}),
       "OMPI_COMM_WORLD_SIZE is \"abc\" (expected a whole number from 1 to 1048576)"},
      {with(mpirun, {{"OMPI_COMM_WORLD_SIZE", "0"}}),
       "OMPI_COMM_WORLD_SIZE is \"0\" (expected a whole number from 1 to 1048576)"},
      {with(mpirun, {{"OMPI_COMM_WORLD_SIZE", "99999999999999999999"}}),
       "OMPI_COMM_WORLD_SIZE is \"99999999999999999999\" (expected a whole number from 1 to 1048576)"},
      {with(mpirun, {{"OMPI_COMM_WORLD_RANK", "8"}}),
       "OMPI_COMM_WORLD_RANK is \"8\" (expected less than OMPI_COMM_WORLD_SIZE, which is 8)"},
      {with(mpirun, {{"OMPI_COMM_WORLD_RANK", "-1"}}),
       "OMPI_COMM_WORLD_RANK is \"-1\" (expected a whole number from 0 to 1048575)"},
      {with(mpirun, {{"OMPI_COMM_WORLD_RANK", "1 "}}),
       "OMPI_COMM_WORLD_RANK is \"1 \" (expected a whole number from 0 to 1048575)"},
      {with(mpirun, {{"OMPI_COMM_WORLD_LOCAL_RANK", "4"}}),
       "OMPI_COMM_WORLD_LOCAL_RANK is \"4\" (expected less than OMPI_COMM_WORLD_LOCAL_SIZE, which is 4)"},
      {with(mpirun, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "9"}}),
       "OMPI_COMM_WORLD_LOCAL_SIZE is \"9\" (expected at most the 8 processes of the whole job)"},
      {without(mpirun, "OMPI_COMM_WORLD_RANK"),
       "OMPI_COMM_WORLD_SIZE is \"8\", but OMPI_COMM_WORLD_RANK is not set (mpirun sets both)"},
      {without(mpirun, "OMPI_COMM_WORLD_SIZE"),
       "OMPI_COMM_WORLD_RANK is \"5\", but OMPI_COMM_WORLD_SIZE is not set (mpirun sets both)"},
      {without(mpirun, "OMPI_COMM_WORLD_LOCAL_SIZE"),
       "OMPI_COMM_WORLD_LOCAL_RANK is \"1\", but OMPI_COMM_WORLD_LOCAL_SIZE is not set (mpirun sets both)"},
      {{{"RANK", "3"}}, "RANK is \"3\", but WORLD_SIZE is not set (torchrun sets both)"},
      {{{"WORLD_SIZE", "4"}}, "WORLD_SIZE is \"4\", but RANK is not set (torchrun sets both)"},
      {with(torchrun, {{"RANK", "16"}}), "RANK is \"16\" (expected less than WORLD_SIZE, which is 16)"},
      {with(torchrun, {{"RANK", "0x3"}}), "RANK is \"0x3\" (expected a whole number from 0 to 1048575)"},
      {with(torchrun, {{"RANK", "1\nerror: fake"}}),
       "RANK is \"1?error: fake\" (expected a whole number from 0 to 1048575)"},
      {with(torchrun, {{"RANK", std::string(1000, '1')}}),
       "RANK is \"" + std::string(40, '1') + "...\" (expected a whole number from 0 to 1048575)"},
      {with(torchrun, {{"MASTER_PORT", "70000"}}),
       "MASTER_PORT is \"70000\" (expected a whole number from 1 to 65535)"},
      {with(torchrun, {{"MASTER_PORT", "http"}}), "MASTER_PORT is \"http\" (expected a whole number from 1 to 65535)"},
      {without(torchrun, "MASTER_ADDR"), "WORLD_SIZE is \"16\", but MASTER_ADDR is not set (torchrun sets it)"},
      {with(torchrun, {{"MASTER_ADDR", ""}}), "WORLD_SIZE is \"16\", but MASTER_ADDR is not set (torchrun sets it)"},
      {without(torchrun, "MASTER_PORT"), "WORLD_SIZE is \"16\", but MASTER_PORT is not set (torchrun sets it)"},
      {{{"TORCHELASTIC_RUN_ID", "x"}, {"RANK", "0"}}, "RANK is \"0\", but WORLD_SIZE is not set (torchrun sets both)"},
      {without(srun, "SLURM_PROCID"), "SLURM_STEP_NUM_TASKS is \"7\", but SLURM_PROCID is not set (srun sets both)"},
      {with(srun, {{"SLURM_PROCID", "7"}}),
       "SLURM_PROCID is \"7\" (expected less than SLURM_STEP_NUM_TASKS, which is 7)"},
      {with(srun, {{"SLURM_STEP_NUM_TASKS", "many"}}),
       "SLURM_STEP_NUM_TASKS is \"many\" (expected a whole number from 1 to 1048576)"},
      {with(srun, {{"SLURM_LOCALID", "3"}}),
       "SLURM_LOCALID is \"3\" (expected less than the tasks of this host, which are 3)"},
      {with(srun, {{"SLURM_NODEID", "3"}}),
       "SLURM_STEP_TASKS_PER_NODE is \"2(x2),3\" (expected tasks of each host like 4(x2),3, and one for SLURM_NODEID "
       "3)"},
      {with(srun, {{"SLURM_STEP_TASKS_PER_NODE", "2(x2"}}),
       "SLURM_STEP_TASKS_PER_NODE is \"2(x2\" (expected tasks of each host like 4(x2),3, and one for SLURM_NODEID 2)"},
      {{{"PMI_RANK", "4"}, {"PMI_SIZE", "4"}}, "PMI_RANK is \"4\" (expected less than PMI_SIZE, which is 4)"},
      {{{"PMI_SIZE", "4"}}, "PMI_SIZE is \"4\", but PMI_RANK is not set (mpiexec sets both)"},
      {{{"PMIX_RANK", "first"}}, "PMIX_RANK is \"first\" (expected a whole number from 0 to 1048575)"},
  };
  for (const Refused& refused : cases) {
    try {
      detected(refused.variables);
      ADD_FAILURE() << "not refused: " << refused.message;
    } catch (const Error& error) {
      EXPECT_EQ(error.what(), is + refused.message);
      EXPECT_EQ(error.exit(), Exit::usage);
      EXPECT_FALSE(error.hint().empty());
    }
  }
}

TEST(Launch, SrunWithoutAWayToMeetNamesTheRemedy) {
  try {
    detected(srun);
    ADD_FAILURE() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
    EXPECT_STREQ(error.what(),
                 "srun: 7 tasks were started, but nothing tells them how to meet (expected PMIx's variables, or "
                 "MASTER_ADDR and MASTER_PORT)");
    EXPECT_NE(error.hint().find("srun --mpi=pmix"), std::string::npos);
  }
}

TEST(Connect, OneProcessIsAWorldOfItsOwn) {
  const auto transport = connect(detected({}), 1);
  EXPECT_EQ(transport->world().rank, 0);
  EXPECT_EQ(transport->world().size, 1);
}

// This test program has no plugin beside it.
TEST(Connect, LaunchByMpirunOfABuildWithoutMpiIsRefused) {
  try {
    connect(detected(mpirun), 1);
    ADD_FAILURE() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
    const std::string message = error.what();
    EXPECT_EQ(message.find("mpirun started this as one of several processes: this build has no MPI: /"), 0u) << message;
    EXPECT_NE(message.find("/libnll_mpi.so does not exist (expected beside the program)"), std::string::npos);
    EXPECT_NE(error.hint().find("libopenmpi-dev"), std::string::npos);
  }
}

}  // namespace
}  // namespace nll
