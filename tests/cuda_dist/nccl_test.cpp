// The NCCL transport as far as it goes without a GPU: the library, its functions, and what is said when there is none.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <numeric>
#include <thread>
#include <vector>

#include "src/dist/collective.h"
#include "src/dist/launch.h"
#include "src/dist/nccl_library.h"
#include "src/dist/threads.h"

namespace nll {
namespace {

class Nccl : public testing::Test {
 protected:
  void SetUp() override {
    try {
      version = nccl_version();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::usage);
      // A library that is there must have all functions.
      ASSERT_NE(std::string(error.what()).find("cannot open"), std::string::npos) << error.what();
      GTEST_SKIP() << error.what();
    }
  }
  std::string version;
};

bool has_gpu() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess && count > 0;
}

TEST_F(Nccl, LibraryHasAllFunctionsThatAreUsed) { EXPECT_EQ(version.substr(0, 2), "2."); }

TEST_F(Nccl, IdsAreMadeWithoutAGpuAndDiffer) {
  const std::string first = nccl_unique_id();
  EXPECT_EQ(first.size(), 128u);
  EXPECT_NE(first, nccl_unique_id());
}

TEST_F(Nccl, WithoutAGpuAllRanksLeaveWithOneLine) {
  if (has_gpu()) GTEST_SKIP() << "there is a GPU";
  const auto hosts = threads_transports(2);
  std::vector<std::string> thrown(2);
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      Backend cpu = make_backend("cpu", cpu_options(1));
      try {
        nccl_transport(hosts[r], *cpu.device);
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::resources);
        thrown[r] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(thrown[0].find("nccl: asking for the GPU: "), 0u) << thrown[0];
  EXPECT_EQ(thrown[0].find('\n'), std::string::npos) << thrown[0];
  EXPECT_EQ(thrown[0], thrown[1]);
}

// A whole communicator of one rank: library, streams, watchdog and the orderly end; tensors pass through it unchanged.
TEST_F(Nccl, OneRankOnAGpuConnectsCarriesTensorsAndLeaves) {
  if (!has_gpu()) GTEST_SKIP() << "needs a GPU";
  Backend gpu = make_backend("cuda");
  Device& device = *gpu.device;
  const std::shared_ptr<Transport> transport = nccl_transport(one_rank(), device);
  EXPECT_EQ(transport->name(), "nccl");
  EXPECT_TRUE(transport->device_memory());
  constexpr std::int64_t n = 1000;
  const Buffer from = device.allocate(n * 4), to = device.allocate(n * 4);
  const Tensor send = from.tensor(0, DType::i32, {n}), received = to.tensor(0, DType::i32, {1, n});
  std::vector<std::int32_t> sent(n), found(n);
  std::iota(sent.begin(), sent.end(), 7);
  device.upload(send, sent.data());
  const std::vector<std::int64_t> cuts{0, n};
  transport->wait(transport->all_to_all(received, send, cuts, {"reduce-scatter", 0, 0}));
  device.download(found.data(), received);
  EXPECT_EQ(found, sent);
  transport->wait(transport->all_gather(send, cuts, {"all-gather", 0, 0}));
  transport->wait(transport->broadcast(send, 0, {"broadcast"}));
  device.download(found.data(), send);
  EXPECT_EQ(found, sent);
}

TEST_F(Nccl, TwoRanksOnOneGpuAreRefusedAndToldWhatWorks) {
  if (!has_gpu()) GTEST_SKIP() << "needs a GPU";
  const auto hosts = threads_transports(2);
  std::vector<std::string> thrown(2), hints(2);
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      Backend gpu = make_backend("cuda");
      try {
        nccl_transport(hosts[r], *gpu.device);
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::usage);
        thrown[r] = error.what();
        hints[r] = error.hint();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t r = 0; r < 2; ++r) {
    EXPECT_EQ(thrown[r].find("nccl: ranks 0 and 1 are on the same GPU ("), 0u) << thrown[r];
    EXPECT_NE(hints[r].find("--set dist.transport=host --set dist.share_gpu=true"), std::string::npos) << hints[r];
  }
}

TEST_F(Nccl, ADeviceThatIsNoGpuIsRefused) {
  if (!has_gpu()) GTEST_SKIP() << "needs a GPU";
  Backend cpu = make_backend("cpu", cpu_options(1));
  try {
    nccl_transport(one_rank(), *cpu.device);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
  }
}

}  // namespace
}  // namespace nll
