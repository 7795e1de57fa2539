#include "kernels/device.h"

#include <cstring>
#include <numeric>

#include "kernels/ops.h"
#include "tests/cuda/machine.h"

namespace nll::test {
namespace {

using Numbers = std::vector<std::int32_t>;

Backend backend() { return make_backend("cuda"); }

Numbers counted(std::int64_t n, std::int32_t from = 1) {
  Numbers numbers(static_cast<std::size_t>(n));
  std::iota(numbers.begin(), numbers.end(), from);
  return numbers;
}

Numbers downloaded(Device& device, const Tensor& tensor) {
  Numbers numbers(static_cast<std::size_t>(tensor.size()));
  device.download(numbers.data(), tensor);
  return numbers;
}

TEST(CudaDevice, AllocatesZeroedAlignedMemory) {
  const Backend b = backend();
  for (const std::int64_t bytes : {4, 4096, 100000, 5 << 20}) {
    const Buffer buffer = b.device->allocate(bytes), host = b.device->allocate_host(bytes);
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 256, 0u);
    EXPECT_EQ(downloaded(*b.device, buffer.tensor(0, DType::i32, {bytes / 4})), Numbers(bytes / 4));
    const auto* data = static_cast<const std::uint8_t*>(host.data());
    EXPECT_TRUE(std::all_of(data, data + bytes, [](std::uint8_t byte) { return byte == 0; }));
  }
  EXPECT_EQ(b.device->allocate(0).data(), nullptr);
  EXPECT_EQ(b.device->allocate_host(0).data(), nullptr);
}

TEST(CudaDevice, NamesTheBytesThatDoNotFit) {
  const Backend b = backend();
  try {
    b.device->allocate(std::int64_t{1} << 50);
    FAIL() << "a pebibyte was allocated";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::resources);
    const std::string message = error.what();
    EXPECT_NE(message.find("1125899906842624 bytes"), std::string::npos) << message;
    EXPECT_NE(message.find("are available"), std::string::npos) << message;
    EXPECT_FALSE(error.hint().empty());
  }
  // And goes on.
  const Buffer buffer = b.device->allocate(4);
  EXPECT_EQ(downloaded(*b.device, buffer.tensor(0, DType::i32, {1})), Numbers(1));
}

TEST(CudaDevice, MovesBytesWhole) {
  const Backend b = backend();
  for (const std::int64_t n : {1, 1000, 300007}) {
    const Buffer one = b.device->allocate(4 * n), two = b.device->allocate(4 * n);
    const Tensor first = one.tensor(0, DType::i32, {n}), second = two.tensor(0, DType::i32, {n});
    Numbers numbers = counted(n);
    b.device->upload(first, numbers.data());
    std::fill(numbers.begin(), numbers.end(), -1);  // memory that is not pinned is free when upload returns
    b.device->copy(second, first);
    b.device->zero(first);
    EXPECT_EQ(downloaded(*b.device, second), counted(n));
    EXPECT_EQ(downloaded(*b.device, first), Numbers(static_cast<std::size_t>(n)));
  }
}

TEST(CudaDevice, PinnedMemoryHoldsWhatWasReadWhenItsMarkIsReached) {
  const Backend b = backend();
  constexpr std::int64_t n = 1000;
  const Buffer memory = b.device->allocate(4 * n), sent = b.device->allocate_host(4 * n);
  const Buffer received = b.device->allocate_host(4 * n);
  const Tensor tensor = memory.tensor(0, DType::i32, {n});
  for (std::int32_t round = 0; round < 3; ++round) {
    std::memcpy(sent.data(), counted(n, round).data(), 4 * n);
    b.device->upload(tensor, sent.data());
    b.device->download_later(received.data(), tensor);
    b.device->wait(b.device->mark());
    const auto* found = static_cast<const std::int32_t*>(received.data());
    EXPECT_EQ(Numbers(found, found + n), counted(n, round));
  }
}

TEST(CudaDevice, MarksCountUpwardsAndStayValid) {
  const Backend b = backend();
  const Buffer memory = b.device->allocate(400), received = b.device->allocate_host(4 * 400);
  const Tensor tensor = memory.tensor(0, DType::i32, {100});
  std::vector<std::uint64_t> marks;
  for (std::int32_t i = 0; i < 400; ++i) {
    b.device->upload(tensor, counted(100, i).data());
    b.device->download_later(static_cast<std::int32_t*>(received.data()) + i, tensor.slice(0, 1));
    marks.push_back(b.device->mark());
    if (i > 0) {
      EXPECT_GT(marks.back(), marks[marks.size() - 2]);
    }
  }
  for (std::int32_t i : {399, 0, 17, 200}) {
    b.device->wait(marks[static_cast<std::size_t>(i)]);
    EXPECT_EQ(static_cast<std::int32_t*>(received.data())[i], i);
  }
  EXPECT_THROW(b.device->wait(marks.back() + 1), std::logic_error);
}

TEST(CudaDevice, WaitsForAMarkWhoseEventWasUsedAgain) {
  const Backend b = backend();
  const Buffer memory = b.device->allocate(4), received = b.device->allocate_host(4);
  const Tensor tensor = memory.tensor(0, DType::i32, {1});
  const std::int32_t seven = 7;
  b.device->upload(tensor, &seven);
  b.device->download_later(received.data(), tensor);
  const std::uint64_t mark = b.device->mark();
  for (int i = 0; i < 1000; ++i) b.device->mark();
  b.device->wait(mark);
  EXPECT_EQ(*static_cast<std::int32_t*>(received.data()), 7);
}

TEST(CudaDevice, ARecordingDoesTheSameWorkOnWhatIsThereThen) {
  const Backend b = backend();
  const Buffer one = b.device->allocate(400), two = b.device->allocate(400), three = b.device->allocate(400);
  const Tensor first = one.tensor(0, DType::i32, {100}), second = two.tensor(0, DType::i32, {100});
  const Tensor third = three.tensor(0, DType::i32, {100});
  b.device->upload(third, counted(100).data());
  const std::unique_ptr<Recording> recording = b.device->record([&] {
    b.device->copy(second, first);
    b.device->zero(third);
  });
  EXPECT_EQ(downloaded(*b.device, third), counted(100)) << "recording did the work";
  for (std::int32_t round = 1; round < 4; ++round) {
    b.device->upload(first, counted(100, round).data());
    recording->replay();
    EXPECT_EQ(downloaded(*b.device, second), counted(100, round));
    EXPECT_EQ(downloaded(*b.device, third), Numbers(100));
  }
}

TEST(CudaDevice, OpsAreRecorded) {
  CudaMachine machine;
  const Tensor x = machine.put({1, 2}, {1, 2}), w = machine.put({1, 2, 3, 4}, {2, 2}), y = machine.make({1, 2});
  const auto work = [&] { machine.ops().linear(y, x, w, {}); };
  work();
  const std::unique_ptr<Recording> recording = machine.device().record(work);
  const std::vector<float> other = {5, 6};
  machine.device().upload(x, other.data());
  EXPECT_EQ(machine.get(y), (Reals{7, 10}));
  recording->replay();
  EXPECT_EQ(machine.get(y), (Reals{23, 34}));
}

TEST(CudaDevice, WorkThatThrowsEndsTheRecording) {
  const Backend b = backend();
  const Buffer memory = b.device->allocate(400);
  const Tensor tensor = memory.tensor(0, DType::i32, {100});
  b.device->upload(tensor, counted(100).data());
  try {
    b.device->record([&] {
      b.device->zero(tensor);
      throw std::runtime_error("stopped in the middle");
    });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "stopped in the middle");
  }
  EXPECT_EQ(downloaded(*b.device, tensor), counted(100));
  b.device->record([&] { b.device->zero(tensor); })->replay();
  EXPECT_EQ(downloaded(*b.device, tensor), Numbers(100));
}

TEST(CudaDevice, WhatCannotBeRecordedIsRefused) {
  CudaMachine machine;
  Device& device = machine.device();
  const Tensor tensor = machine.put({1, 2}, {2}), w = machine.make({2, 2});
  std::vector<float> numbers(2);
  const std::pair<const char*, std::function<void()>> cases[] = {
      {"upload", [&] { device.upload(tensor, numbers.data()); }},
      {"download", [&] { device.download(numbers.data(), tensor); }},
      {"download_later", [&] { device.download_later(numbers.data(), tensor); }},
      {"synchronize", [&] { device.synchronize(); }},
      {"mark", [&] { device.mark(); }},
      {"allocate", [&] { device.allocate(64); }},
      {"allocate_host", [&] { device.allocate_host(64); }},
      {"record", [&] { device.record([] {}); }},
      // A product of a kind that has not run: its algorithm would have to be timed.
      {"linear",
       [&] {
         machine.ops().linear(tensor.reshape({1, 2}), tensor.reshape({1, 2}), w, {});
       }},
  };
  for (const auto& [name, work] : cases) {
    EXPECT_THROW(device.record(work), std::logic_error) << name;
    EXPECT_EQ(machine.get(tensor), (Reals{1, 2})) << name;
  }
}

TEST(CudaDevice, DescribesItself) {
  const Backend b = backend();
  const DeviceInfo info = b.device->info();
  EXPECT_EQ(info.kind, "cuda");
  EXPECT_TRUE(info.asynchronous);
  EXPECT_FALSE(info.name.empty());
  EXPECT_GT(info.memory_bytes, 0);
  EXPECT_GT(info.available_memory_bytes, 0);
  EXPECT_LE(info.available_memory_bytes, info.memory_bytes);
  EXPECT_GE(info.compute_capability, 80);
  EXPECT_GT(info.multiprocessors, 0);
  EXPECT_GT(info.cache_bytes, 0);
  EXPECT_EQ(info.software.rfind("driver ", 0), 0u) << info.software;
  EXPECT_NE(info.software.find(", cuBLASLt "), std::string::npos) << info.software;
}

}  // namespace
}  // namespace nll::test
