#include "kernels/device.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <vector>

#include "kernels/machine.h"
#include "kernels/ops.h"

namespace nll {
namespace {

TEST(Device, AllocatesZeroedAlignedMemory) {
  const Backend backend = make_backend("cpu", cpu_options(2));
  for (const std::int64_t bytes : {1, 4096, 100000, 5 << 20}) {
    const Buffer buffer = backend.device->allocate(bytes);
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 4096, 0u);
    const auto* data = static_cast<const std::uint8_t*>(buffer.data());
    EXPECT_TRUE(std::all_of(data, data + bytes, [](std::uint8_t byte) { return byte == 0; }));
  }
  EXPECT_EQ(backend.device->allocate(0).data(), nullptr);
}

TEST(Device, NamesTheBytesThatDoNotFit) {
  const Backend backend = make_backend("cpu", cpu_options(1));
  const std::int64_t bytes = std::int64_t{1} << 60;
  try {
    backend.device->allocate(bytes);
    FAIL() << "an exbibyte was allocated";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::resources);
    const std::string message = error.what();
    EXPECT_NE(message.find("1152921504606846976 bytes"), std::string::npos) << message;
    EXPECT_NE(message.find("are available"), std::string::npos) << message;
    EXPECT_FALSE(error.hint().empty());
  }
}

TEST(Device, MovesBytesWhole) {
  const Backend backend = make_backend("cpu", cpu_options(3));
  for (const std::int64_t n : {1, 1000, 300007}) {
    const Buffer a = backend.device->allocate(4 * n), b = backend.device->allocate(4 * n);
    const Tensor first = a.tensor(0, DType::i32, {n}), second = b.tensor(0, DType::i32, {n});
    std::vector<std::int32_t> numbers(static_cast<std::size_t>(n)), found(static_cast<std::size_t>(n));
    std::iota(numbers.begin(), numbers.end(), 1);
    backend.device->upload(first, numbers.data());
    backend.device->copy(second, first);
    backend.device->zero(first);
    backend.device->synchronize();
    backend.device->download(found.data(), second);
    EXPECT_EQ(found, numbers);
    backend.device->download(found.data(), first);
    EXPECT_EQ(found, std::vector<std::int32_t>(static_cast<std::size_t>(n)));
  }
}

TEST(Device, DescribesItself) {
  const Backend backend = make_backend("cpu", cpu_options(2));
  const DeviceInfo info = backend.device->info();
  EXPECT_EQ(info.kind, "cpu");
  EXPECT_EQ(info.threads, 2);
  EXPECT_FALSE(info.instructions.empty());
  EXPECT_NE(info.name.find("2 threads"), std::string::npos) << info.name;
  EXPECT_NE(info.name.find(info.instructions), std::string::npos) << info.name;
  EXPECT_GT(info.memory_bytes, 0);
  EXPECT_GT(info.available_memory_bytes, 0);
  EXPECT_LE(info.available_memory_bytes, info.memory_bytes);
}

TEST(Buffer, GivesItsMemoryAwayWhenMoved) {
  const Backend backend = make_backend("cpu", cpu_options(1));
  Buffer first = backend.device->allocate(64);
  void* data = first.data();
  Buffer second = std::move(first);
  EXPECT_EQ(second.data(), data);
  EXPECT_EQ(second.tensor(16, DType::f32, {12}).size(), 12);
  EXPECT_THROW(second.tensor(16, DType::f32, {13}), std::logic_error);
  second = Buffer();
  EXPECT_EQ(second.data(), nullptr);
}

std::string error_of(const std::string& kind, int threads, const std::string& instructions) {
  try {
    make_backend(kind, cpu_options(threads, instructions));
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
    return error.what();
  }
  return "nothing was thrown";
}

TEST(MakeBackend, NamesWhatItCannotMake) {
  if (backends() == "cpu") {
    EXPECT_EQ(error_of("cuda", 0, ""), "device: \"cuda\" (this build has no CUDA)");
  }
  EXPECT_EQ(error_of("tpu", 0, ""), "device: \"tpu\" (expected auto, cpu or cuda)");
  EXPECT_EQ(error_of("cpu", 0, "mmx").rfind("instructions: \"mmx\" (this processor has ", 0), 0u);
  EXPECT_EQ(error_of("cpu", -1, "").rfind("threads: -1 (expected 0 to ", 0), 0u);
  EXPECT_EQ(error_of("cpu", 1 << 20, "").rfind("threads: 1048576 (expected 0 to ", 0), 0u);
}

TEST(MakeBackend, TakesAutomaticAndGeneric) {
  EXPECT_GE(make_backend("auto").device->info().threads, 1);
  EXPECT_EQ(make_backend("cpu", cpu_options(1, "generic")).device->info().instructions, "generic");
}

TEST(Machine, HasMeasurableLimits) {
  EXPECT_GT(measure_sgemm_gflops(1, 0), 0);
  EXPECT_GT(measure_memory_gigabytes(1, 0), 0);
}

}  // namespace
}  // namespace nll
