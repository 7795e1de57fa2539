#include "src/train/sweep.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "src/train/finished_run.h"
#include "tests/train/rig.h"

namespace nll::test {
namespace {

// A sweep over two learning rates and two depths of one short run.
struct TinySweep {
  Folder folder;
  std::vector<GridKey> grid = {parse_grid("optimizer.learning_rate=1e-3,3e-3"), parse_grid("model.layers=1,2")};
  SweepRequest request;

  TinySweep() {
    write_corpus(folder / "data", 3000, 61);
    Config config = tiny_config(folder);
    config.schedule.steps = 4;
    config.schedule.warmup_steps = 1;
    config.log.tensorboard = false;
    config.log.nonfinite_limit = 2;
    write_file(folder / "config.json", dump_config(config));
  }
  std::vector<SweepResult> run(std::function<bool()> stop = [] { return false; }) {
    request.grid = grid;
    request.directory = folder / "sweep";
    request.runs = plan_sweep(folder / "config.json", {}, grid, request.directory);
    request.probe_seconds = 0;
    request.stop_requested = std::move(stop);
    Console console(false);
    return run_sweep(request, console);
  }
};

std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
    return error.what();
  }
  return "accepted";
}

TEST(Sweep, TrainsEveryCombinationAndNamesItsFolder) {
  TinySweep sweep;
  const std::vector<SweepResult> results = sweep.run();
  ASSERT_EQ(results.size(), 4u);
  EXPECT_EQ(sweep.request.runs[1].name, "learning_rate=1e-3,layers=2");
  for (std::size_t i = 0; i < results.size(); ++i) {
    EXPECT_EQ(results[i].state, "done") << results[i].message;
    const FinishedRun run = read_finished_run(sweep.request.runs[i].config.run.directory, [](const std::string&) {});
    EXPECT_TRUE(run.complete);
    EXPECT_EQ(run.tokens, 4 * 128);
    EXPECT_EQ(run.config.model.layers, i % 2 == 0 ? 1 : 2);
    EXPECT_EQ(run.loss, results[i].loss);
    EXPECT_GT(run.loss, 0);
    EXPECT_EQ(run.parameters - run.without_tables, (61 + 16) * 32);
  }
  EXPECT_EQ(exit_of(results), Exit::done);
  EXPECT_EQ(read_file(sweep.folder / "sweep/sweep.json"), sweep_json(sweep.request, results));
}

TEST(Sweep, GoesOnWhereItWasStopped) {
  TinySweep sweep;
  const std::string second_run = sweep.folder / "sweep/learning_rate=1e-3,layers=2/metrics.jsonl";
  const std::vector<SweepResult> first =
      sweep.run([&] { return read_file(second_run).find("\"step\": 2") != std::string::npos; });
  EXPECT_EQ(exit_of(first), Exit::stopped);
  EXPECT_EQ(first.back().state, "waiting");
  ASSERT_EQ(first.front().state, "done");
  const std::string metrics = sweep.request.runs[0].config.run.directory + "/metrics.jsonl";
  const std::string before = read_file(metrics);
  const std::vector<SweepResult> second = sweep.run();
  EXPECT_EQ(exit_of(second), Exit::done);
  EXPECT_EQ(read_file(metrics), before) << "a finished run was touched";
  // The stopped sweep ends with the losses of an undisturbed one.
  TinySweep undisturbed;
  const std::vector<SweepResult> whole = undisturbed.run();
  for (std::size_t i = 0; i < whole.size(); ++i) EXPECT_EQ(second[i].loss, whole[i].loss) << "run " << i;
}

TEST(Sweep, NotesARunThatFailsAndDoesTheOthers) {
  TinySweep sweep;
  sweep.grid = {parse_grid("optimizer.learning_rate=1e30,1e-3")};
  const std::vector<SweepResult> results = sweep.run();
  EXPECT_EQ(results[0].state, "diverged") << results[0].message;
  EXPECT_EQ(results[1].state, "done");
  EXPECT_EQ(exit_of(results), Exit::diverged);
  EXPECT_EQ(sweep.run()[0].state, "diverged") << "seen again in the run's folder";
}

TEST(Sweep, RefusesABadGridBeforeTheFirstRun) {
  TinySweep sweep;
  std::string directory = sweep.folder / "sweep";
  const auto plan = [&](const std::vector<GridKey>& grid) {
    return refusal([&] { plan_sweep(sweep.folder / "config.json", {}, grid, directory); });
  };
  EXPECT_EQ(plan({{"model.layers", {"1"}}, {"model.layers", {"2"}}}), "--grid model.layers: given twice");
  EXPECT_EQ(plan({{"model.layers", {"1", "1"}}}), "--grid: layers=1 is the same run as one before it");
  EXPECT_EQ(plan({{"model.layer", {"1"}}}), "--set model.layer=1: model.layer: unknown key");
  EXPECT_EQ(plan({{"model.layers", {"1", "0"}}}),
            "--set model.layers=0: model.layers: expected a whole number from 1 to 1000, found 0");
  EXPECT_EQ(refusal([] { parse_grid("model.layers"); }), "--grid model.layers: expected key=value,value");
  EXPECT_EQ(refusal([] { parse_grid("model.layers=1,,2"); }), "--grid model.layers=1,,2: one of its values is empty");
  EXPECT_EQ(refusal([] { parse_grid("run.directory=a,b"); }),
            "--grid run.directory: each run of a sweep has a folder of its own");
  EXPECT_FALSE(std::filesystem::exists(directory));
  EXPECT_EQ(parse_grid("data.train=[\"a\",\"b\"],\"c,d\"").values,
            (std::vector<std::string>{"[\"a\",\"b\"]", "\"c,d\""}));
}

TEST(Sweep, RefusesAFolderWithRunsOfAnotherConfig) {
  TinySweep sweep;
  sweep.grid = {parse_grid("model.layers=1")};
  sweep.run();
  Config other = load_config(sweep.folder / "config.json", {"optimizer.beta1=0.5"});
  write_file(sweep.folder / "config.json", dump_config(other));
  EXPECT_EQ(refusal([&] { sweep.run(); }),
            (sweep.folder / "sweep/layers=1") + ": holds a run of another config (optimizer.beta1: 0.9 -> 0.5)");
}

}  // namespace
}  // namespace nll::test
