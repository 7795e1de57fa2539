#include "kernels/cpu/cpu_device.h"

#include <sys/mman.h>

#include <cstring>

#include "kernels/cpu/processor.h"

namespace nll::cpu {
namespace {

constexpr std::int64_t page = 4096, huge_page = std::int64_t{2} << 20;
// Below this a call costs less on one thread than handing it to the team.
constexpr std::int64_t worth_sharing = std::int64_t{1} << 18;

std::int64_t round_up(std::int64_t bytes, std::int64_t unit) { return (bytes + unit - 1) / unit * unit; }

void unmap(void* data, std::int64_t bytes) { munmap(data, static_cast<std::size_t>(round_up(bytes, page))); }

[[noreturn]] void no_room(std::int64_t bytes, std::int64_t available) {
  throw Error(
      Exit::resources,
      "cpu: " + std::to_string(bytes) + " bytes of memory are needed, " + std::to_string(available) + " are available",
      "lower batch.sequences, model.context or the model's size; `nll plan` shows what needs how much");
}

// Zeroed pages, from a huge-page boundary on where the size is worth it. Null when the system refuses.
void* map_zeroed(std::int64_t bytes) {
  const std::int64_t slack = bytes >= huge_page ? huge_page : 0;
  void* mapped = mmap(nullptr, static_cast<std::size_t>(bytes + slack), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  if (slack == 0) return mapped;
  auto* start = static_cast<std::uint8_t*>(mapped);
  const auto address = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(mapped));
  const std::int64_t before = round_up(address, huge_page) - address;
  if (before > 0) munmap(start, static_cast<std::size_t>(before));
  if (slack > before) munmap(start + before + bytes, static_cast<std::size_t>(slack - before));
  madvise(start + before, static_cast<std::size_t>(bytes), MADV_HUGEPAGE);  // advice: its refusal costs speed only
  return start + before;
}

class Repetition : public Recording {
 public:
  explicit Repetition(std::function<void()> work) : work_(std::move(work)) {}
  void replay() override { work_(); }

 private:
  std::function<void()> work_;
};

}  // namespace

DeviceInfo CpuDevice::info() const {
  const MemorySize memory = memory_size();
  DeviceInfo info;
  info.kind = "cpu";
  info.instructions = instructions_;
  info.threads = team_->size();
  info.name = processor_name() + ", " + std::to_string(info.threads) +
              (info.threads == 1 ? " thread, " : " threads, ") + instructions_;
  info.memory_bytes = memory.total;
  info.available_memory_bytes = memory.available;
  return info;
}

Buffer CpuDevice::allocate(std::int64_t bytes) {
  CHECK(bytes >= 0);
  if (bytes == 0) return {};
  // The system promises more memory than it has, and takes a process down when the promise falls due: so ask first.
  const std::int64_t available = memory_size().available;
  if (bytes > available) no_room(bytes, available);
  void* data = map_zeroed(round_up(bytes, page));
  if (data == nullptr) no_room(bytes, available);
  Buffer buffer(data, bytes, unmap);
  // The thread that will work on a part touches it first, so that the part lies in that thread's memory.
  team_->for_each_part(bytes, huge_page, [&](Range part, int) {
    for (std::int64_t at = part.begin; at < part.end; at += page) static_cast<volatile std::uint8_t*>(data)[at] = 0;
  });
  return buffer;
}

void CpuDevice::copy_bytes(void* destination, const void* source, std::int64_t bytes) {
  if (bytes == 0) return;
  const auto part_copy = [&](Range part, int) {
    std::memmove(static_cast<std::uint8_t*>(destination) + part.begin,
                 static_cast<const std::uint8_t*>(source) + part.begin, static_cast<std::size_t>(part.size()));
  };
  if (bytes < worth_sharing) {
    part_copy({0, bytes}, 0);
  } else {
    team_->for_each_part(bytes, page, part_copy);
  }
}

void CpuDevice::upload(Tensor destination, const void* source) {
  copy_bytes(destination.data(), source, destination.bytes());
}

void CpuDevice::download(void* destination, Tensor source) { copy_bytes(destination, source.data(), source.bytes()); }

void CpuDevice::copy(Tensor destination, Tensor source) {
  CHECK(static_cast<int>(destination.type()) == static_cast<int>(source.type()));
  CHECK(destination.size() == source.size());
  copy_bytes(destination.data(), source.data(), source.bytes());
}

void CpuDevice::zero(Tensor destination) {
  const std::int64_t bytes = destination.bytes();
  if (bytes == 0) return;
  const auto part_zero = [&](Range part, int) {
    std::memset(static_cast<std::uint8_t*>(destination.data()) + part.begin, 0, static_cast<std::size_t>(part.size()));
  };
  if (bytes < worth_sharing) {
    part_zero({0, bytes}, 0);
  } else {
    team_->for_each_part(bytes, page, part_zero);
  }
}

std::unique_ptr<Recording> CpuDevice::record(std::function<void()> work) {
  return std::make_unique<Repetition>(std::move(work));
}

}  // namespace nll::cpu
