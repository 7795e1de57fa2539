// Arena: one allocation that holds many tensors, laid out before anything is allocated. `nll plan` prints an ArenaPlan;
// the trainer allocates exactly that plan.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "kernels/tensor.h"

namespace nll {

struct ArenaEntry {
  std::string name;
  DType type = DType::f32;
  std::array<std::int64_t, Tensor::max_rank> dims{};
  int rank = 0;
  std::int64_t offset = 0, bytes = 0;
};

class ArenaPlan {
 public:
  static constexpr std::int64_t alignment = 256;  // bytes: a cache line, a vector register, a GPU transaction

  explicit ArenaPlan(std::string name) : name_(std::move(name)) {}

  // Reserves a tensor and returns its slot. Sizes are checked; nothing is allocated.
  int add(std::string entry, DType type, std::initializer_list<std::int64_t> dims) {
    ArenaEntry added{std::move(entry), type, {}, 0, bytes_, bytes_of(type)};
    for (std::int64_t dim : dims) {
      added.dims[added.rank++] = dim;
      added.bytes = checked_product(added.bytes, dim);
    }
    bytes_ = (bytes_ + added.bytes + alignment - 1) / alignment * alignment;
    entries_.push_back(std::move(added));
    return static_cast<int>(entries_.size()) - 1;
  }

  const std::string& name() const { return name_; }
  std::int64_t bytes() const { return bytes_; }
  const std::vector<ArenaEntry>& entries() const { return entries_; }

 private:
  std::string name_;
  std::int64_t bytes_ = 0;
  std::vector<ArenaEntry> entries_;
};

class Arena {
 public:
  Arena() = default;
  Arena(Device& device, ArenaPlan plan) : plan_(std::move(plan)), buffer_(device.allocate(plan_->bytes())) {}

  bool planned() const { return plan_.has_value(); }

  Tensor operator[](int slot) const {
    const ArenaEntry& entry = plan_->entries().at(slot);
    const auto& d = entry.dims;
    switch (entry.rank) {
      case 1:
        return buffer_.tensor(entry.offset, entry.type, {d[0]});
      case 2:
        return buffer_.tensor(entry.offset, entry.type, {d[0], d[1]});
      case 3:
        return buffer_.tensor(entry.offset, entry.type, {d[0], d[1], d[2]});
      default:
        return buffer_.tensor(entry.offset, entry.type, {d[0], d[1], d[2], d[3]});
    }
  }

 private:
  std::optional<ArenaPlan> plan_;
  Buffer buffer_;
};

}  // namespace nll
