#include "src/dist/staged.h"

#include <algorithm>
#include <deque>
#include <map>
#include <vector>

namespace nll {
namespace {

class Staged final : public Transport {
 public:
  Staged(std::shared_ptr<Transport> host, Device& device) : host_(std::move(host)), device_(device) {
    set_limit(host_->limit_seconds());
  }

  const World& world() const override { return host_->world(); }
  std::string name() const override { return host_->name() + " through the host's memory"; }
  bool device_memory() const override { return true; }

  Ticket all_to_all(Tensor received, Tensor send, std::span<const std::int64_t> cuts,
                    const Operation& operation) override {
    Stage& out = stage(send.bytes());
    Stage& in = stage(received.bytes());
    const Tensor from = view(out, send), to = view(in, received);
    device_.download(from.data(), send);
    const Ticket ticket = host_->all_to_all(to, from, cuts, operation);
    flights_[ticket] = {&out, &in, {{received, 0}}};
    return ticket;
  }

  Ticket all_gather(Tensor data, std::span<const std::int64_t> cuts, const Operation& operation) override {
    CHECK(static_cast<int>(cuts.size()) == world().size + 1);
    Stage& at = stage(data.bytes());
    const auto rank = static_cast<std::size_t>(world().rank);
    const std::int64_t begin = cuts[rank] - cuts.front(), end = cuts[rank + 1] - cuts.front();
    const Tensor flat = data.reshape({data.size()}), copy = view(at, flat);
    device_.download(copy.slice(begin, end - begin).data(), flat.slice(begin, end - begin));
    const Ticket ticket = host_->all_gather(copy, cuts, operation);
    // The own part stays as it is: work that is queued may read it.
    const std::int64_t element = bytes_of(data.type());
    flights_[ticket] = {nullptr, &at, {{flat.slice(0, begin), 0}, {flat.slice(end, flat.size() - end), end * element}}};
    return ticket;
  }

  Ticket broadcast(Tensor data, int root, const Operation& operation) override {
    Stage& at = stage(data.bytes());
    const Tensor copy = view(at, data);
    const bool sends = root == world().rank;
    if (sends) device_.download(copy.data(), data);
    const Ticket ticket = host_->broadcast(copy, root, operation);
    flights_[ticket] = {nullptr, &at, {}};
    if (!sends) flights_[ticket].arriving = {{data, 0}};
    return ticket;
  }

  void wait(Ticket ticket) override {
    host_->set_limit(limit_seconds());
    host_->wait(ticket);
    const auto at = flights_.find(ticket);
    if (at == flights_.end()) return;
    const Flight& flight = at->second;
    for (const auto& [tensor, offset] : flight.arriving) {
      if (tensor.bytes() > 0) device_.upload(tensor, static_cast<std::uint8_t*>(flight.in->memory.data()) + offset);
    }
    flight.in->free_after = device_.mark();
    flight.in->busy = false;
    if (flight.out != nullptr) flight.out->busy = false;
    flights_.erase(at);
  }

  void progress() override { host_->progress(); }
  std::vector<std::uint8_t> exchange(std::span<const std::uint8_t> mine, const Operation& operation) override {
    host_->set_limit(limit_seconds());
    return host_->exchange(mine, operation);
  }
  void abort(Exit exit) noexcept override { host_->abort(exit); }

 private:
  struct Stage {
    Buffer memory;
    bool busy = false;
    std::uint64_t free_after = 0;  // a mark of the device; uploads read the memory until then
  };
  struct Arrival {
    Tensor tensor;
    std::int64_t offset;  // in the stage, bytes
  };
  struct Flight {
    Stage *out = nullptr, *in = nullptr;
    std::vector<Arrival> arriving;
  };

  static Tensor view(const Stage& stage, const Tensor& tensor) {
    return {stage.memory.data(), tensor.type(), {tensor.size()}};
  }

  // Free pinned memory of at least this size: the smallest that is large enough, else the largest one, grown.
  Stage& stage(std::int64_t bytes) {
    Stage* best = nullptr;
    for (Stage& one : stages_) {
      if (one.busy) continue;
      const auto fits = [&](const Stage& other) { return other.memory.bytes() >= bytes; };
      const bool smaller = best != nullptr && one.memory.bytes() < best->memory.bytes();
      if (best == nullptr || (fits(one) && (!fits(*best) || smaller)) || (!fits(*best) && !smaller)) best = &one;
    }
    if (best == nullptr) best = &stages_.emplace_back();
    if (best->free_after != 0) device_.wait(best->free_after);
    if (best->memory.bytes() < bytes) {
      best->memory = Buffer();
      best->memory = device_.allocate_host(bytes);
    }
    best->busy = true;
    return *best;
  }

  std::shared_ptr<Transport> host_;
  Device& device_;
  std::deque<Stage> stages_;  // stay where they are when another is added
  std::map<Ticket, Flight> flights_;
};

}  // namespace

std::shared_ptr<Transport> staged(std::shared_ptr<Transport> host, Device& device) {
  return std::make_shared<Staged>(std::move(host), device);
}

}  // namespace nll
