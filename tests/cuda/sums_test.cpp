// Sums of what ranks and micro-batches hold give the bits of the CPU.
#include <gtest/gtest.h>

#include "tests/cuda/machine.h"

namespace nll::test {

TEST(CudaSums, AddHasTheBitsOfTheCpu) {
  CudaMachine gpu;
  Machine cpu;
  for (const std::int64_t n : {1, 4, 1023, 4096}) {
    const Reals a = Random(1).normals(n), b = Random(2).normals(n);
    const Tensor on_gpu = gpu.put(a, {n}), on_cpu = cpu.put(a, {n});
    gpu.ops().add(on_gpu, gpu.put(b, {n}));
    cpu.ops().add(on_cpu, cpu.put(b, {n}));
    const std::vector<float> expected = cpu.get(on_cpu);
    EXPECT_EQ(gpu.get(on_gpu), Reals(expected.begin(), expected.end())) << n;
  }
}

TEST(CudaSums, SumPartsHasTheBitsOfTheCpuInBothOrdersAndTypes) {
  CudaMachine gpu;
  Machine cpu;
  for (const std::int64_t ranks : {1, 2, 3, 4, 5, 7, 8, 13}) {
    for (const std::int64_t n : {1, 30, 1024}) {
      const Reals values = Random(3).normals(ranks * n);
      const Tensor exact = cpu.put(values, {ranks, n}), low = cpu.make({ranks, n}, DType::bf16), sum = cpu.make({n});
      cpu.ops().convert(low, exact);
      for (const DType type : {DType::f32, DType::bf16}) {
        for (const SumOrder order : {SumOrder::sequence, SumOrder::tree}) {
          const Tensor found = gpu.poisoned({n});
          gpu.ops().sum_parts(found, gpu.put(values, {ranks, n}, type), order);
          cpu.ops().sum_parts(sum, type == DType::f32 ? exact : low, order);
          const std::vector<float> expected = cpu.get(sum);
          EXPECT_EQ(gpu.get(found), Reals(expected.begin(), expected.end())) << ranks << " parts of " << n;
        }
      }
    }
  }
}

}  // namespace nll::test
