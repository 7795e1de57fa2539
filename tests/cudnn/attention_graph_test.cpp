// cuDNN's attention without a GPU: the library looks for engines for a device that is only described to it, and
// compiles their kernels. What they compute is tests/cuda/cudnn_attention_test.cpp's matter, on a GPU.
#include "kernels/cuda/cudnn/attention_graph.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/cuda/cudnn/attention_bindings.h"
#include "kernels/cuda/cudnn/plan.h"

namespace nll::cuda {
namespace {

struct Gpu {
  const char* name;
  int capability, multiprocessors;  // 900 for 9.0
  int cache_bytes, shared_bytes;
};
const Gpu h100{"NVIDIA H100 80GB HBM3", 900, 132, 52428800, 232448};
const Gpu a100{"NVIDIA A100-SXM4-80GB", 800, 108, 41943040, 166912};

// What cuDNN itself writes of a device, for one that is not there.
std::string described(const Gpu& gpu) {
  return R"({"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "deviceName": ")" +
         std::string(gpu.name) + R"(", "cudaDeviceId": 0, "deviceVer": )" + std::to_string(gpu.capability) +
         R"(, "driverVer": 13000, "multiProcessorCount": )" + std::to_string(gpu.multiprocessors) +
         R"(, "warpSize": 32, "l2CacheSize": )" + std::to_string(gpu.cache_bytes) +
         R"(, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": )" + std::to_string(gpu.shared_bytes) +
         R"(, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, "regsPerBlock": 65536,
         "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "totalGlobalMem": 85031714816,
         "smClockRateKHz": 1980000, "memClockRateKHz": 2619000, "pciDeviceId": 0, "isTccDriver": 0,
         "supportCoopLaunch": 1})";
}

class CudnnAttentionGraph : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(dlopen(NLL_CUDA_DRIVER_STAND_IN, RTLD_NOW | RTLD_LOCAL), nullptr) << dlerror();
    std::string why;
    library_ = CudnnLibrary::open(&why);
    if (library_ == nullptr) GTEST_SKIP() << why;
  }

  const CudnnLibrary& library() const { return *library_; }
  Descriptor device(const Gpu& gpu) const {
    Descriptor device(*library_, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    const std::string text = described(gpu);
    device.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, static_cast<std::int64_t>(text.size()) + 1,
               text.c_str());
    device.finish();
    return device;
  }
  std::optional<Plan> plan(const Gpu& gpu, OperationGraph operations, bool deterministic, std::string* why) const {
    const Descriptor described = device(gpu);
    return Plan::find(*library_, operations.finish(nullptr), &described, deterministic, why);
  }

 private:
  std::shared_ptr<const CudnnLibrary> library_;
};

TEST_F(CudnnAttentionGraph, HasAnEngineOnTheGpusThatWeBuildFor) {
  const struct {
    Gpu gpu;
    AttentionShape shape;
  } cases[] = {{h100, {64, 1024, 12, 64, CUDNN_DATA_BFLOAT16}},
               {h100, {2, 100, 3, 128, CUDNN_DATA_HALF}},
               {a100, {2, 256, 25, 64, CUDNN_DATA_BFLOAT16}}};
  for (const auto& [gpu, shape] : cases) {
    SCOPED_TRACE(std::string(gpu.name) + ", T " + std::to_string(shape.time));
    std::string why;
    EXPECT_TRUE(plan(gpu, attention_forward_graph(library(), shape), false, &why)) << why;
    EXPECT_TRUE(plan(gpu, attention_backward_graph(library(), shape, true), true, &why)) << why;
    EXPECT_TRUE(plan(gpu, attention_backward_graph(library(), shape, false), false, &why)) << why;
  }
}

TEST_F(CudnnAttentionGraph, PaysForADeterministicBackwardWithAMatrixOfScores) {
  const AttentionShape shape{2, 512, 3, 64, CUDNN_DATA_BFLOAT16};
  const std::int64_t scores = shape.batch * shape.heads * shape.time * shape.time * 2;
  std::string why;
  const std::optional<Plan> fixed = plan(h100, attention_backward_graph(library(), shape, true), true, &why);
  ASSERT_TRUE(fixed) << why;
  EXPECT_GE(fixed->workspace_bytes(), scores);
  const std::optional<Plan> free = plan(h100, attention_backward_graph(library(), shape, false), false, &why);
  ASSERT_TRUE(free) << why;
  EXPECT_LT(free->workspace_bytes(), scores);
}

TEST_F(CudnnAttentionGraph, TellsTheLibrarysReasonWhereThereIsNoEngine) {
  std::string why;
  EXPECT_FALSE(plan(h100, attention_forward_graph(library(), {1, 128, 1, 12, CUDNN_DATA_HALF}), true, &why));
  EXPECT_NE(why.find("not a multiple of 8"), std::string::npos) << why;
}

TEST_F(CudnnAttentionGraph, BindsEachOfItsTensorsOnceToTheRightPlace) {
  const AttentionShape shape{2, 128, 3, 64, CUDNN_DATA_BFLOAT16};
  const std::int64_t row = shape.heads * shape.head_size * bytes_of(DType::bf16);  // of one of q, k, v
  std::vector<unsigned char> memory(1 << 16);
  AttentionCall call;
  call.type = DType::bf16;
  call.batch = shape.batch, call.time = shape.time, call.heads = shape.heads, call.head_size = shape.head_size;
  call.qkv = &memory[0], call.dqkv = &memory[8192], call.y = &memory[16384], call.dy = &memory[20000];
  call.lse = reinterpret_cast<float*>(&memory[24000]);
  const AttentionNumbers numbers(shape.head_size);
  EXPECT_EQ(numbers.scale, 0.125f);
  EXPECT_EQ(numbers.masked, -INFINITY);

  const auto expect_bound = [](const OperationGraph& graph, const std::vector<Binding>& bindings) {
    std::multiset<OperationGraph::Id> bound;
    for (const Binding& binding : bindings) bound.insert(binding.id);
    EXPECT_EQ(bound, std::multiset<OperationGraph::Id>(graph.bound().begin(), graph.bound().end()));
  };
  expect_bound(attention_forward_graph(library(), shape), forward_bindings(call, numbers));
  const auto fixed = backward_bindings(call, numbers, &memory[30000], nullptr);
  expect_bound(attention_backward_graph(library(), shape, true), fixed);
  expect_bound(attention_backward_graph(library(), shape, false),
               backward_bindings(call, numbers, &memory[30000], &memory[40000]));

  const auto place = [&](OperationGraph::Id id) {
    const auto found = std::find_if(fixed.begin(), fixed.end(), [&](const Binding& b) { return b.id == id; });
    return static_cast<const unsigned char*>(found->place) - memory.data();
  };
  EXPECT_EQ(place(attention_tensor::q), 0);
  EXPECT_EQ(place(attention_tensor::k), row);
  EXPECT_EQ(place(attention_tensor::v), 2 * row);
  EXPECT_EQ(place(attention_tensor::dq), 8192);
  EXPECT_EQ(place(attention_tensor::dk), 8192 + row);
  EXPECT_EQ(place(attention_tensor::dv), 8192 + 2 * row);
  EXPECT_EQ(place(attention_tensor::y), 16384);
  EXPECT_EQ(place(attention_tensor::dy), 20000);
  EXPECT_EQ(place(attention_tensor::lse), 24000);
  EXPECT_EQ(place(attention_tensor::y_dy), 30000);
}

TEST_F(CudnnAttentionGraph, NamesTheStepAndTheLibrarysWordsWhenItRefuses) {
  Descriptor tensor(library(), CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  try {
    tensor.finish();  // without its attributes
    FAIL() << "an empty description was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::internal);
    EXPECT_EQ(std::string(error.what()).rfind("cuda: finishing a description for cuDNN: CUDNN_STATUS_BAD_PARAM", 0), 0u)
        << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
}

}  // namespace
}  // namespace nll::cuda
