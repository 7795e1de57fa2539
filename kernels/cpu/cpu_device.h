// CpuDevice: memory of this machine. Everything is done when a call returns.
#pragma once
#include <memory>
#include <string>

#include "kernels/cpu/team.h"
#include "kernels/device.h"

namespace nll::cpu {

class CpuDevice : public Device {
 public:
  CpuDevice(std::shared_ptr<ThreadTeam> team, std::string instructions)
      : team_(std::move(team)), instructions_(std::move(instructions)) {}

  DeviceInfo info() const override;
  Buffer allocate(std::int64_t bytes) override;
  Buffer allocate_host(std::int64_t bytes) override { return allocate(bytes); }
  void upload(Tensor destination, const void* source) override;
  void download(void* destination, Tensor source) override;
  void download_later(void* destination, Tensor source) override { download(destination, source); }
  void copy(Tensor destination, Tensor source) override;
  void zero(Tensor destination) override;
  void synchronize() override {}
  std::uint64_t mark() override { return 0; }
  void wait(std::uint64_t) override {}
  std::unique_ptr<Recording> record(std::function<void()> work) override;

 private:
  void copy_bytes(void* destination, const void* source, std::int64_t bytes);

  std::shared_ptr<ThreadTeam> team_;
  std::string instructions_;
};

}  // namespace nll::cpu
