#include "src/dist/faulty.h"

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

namespace nll {
namespace {

class Faulty final : public Transport {
 public:
  Faulty(std::shared_ptr<Transport> inner, Fault fault) : inner_(std::move(inner)), fault_(std::move(fault)) {
    CHECK(!inner_->device_memory());
    set_limit(inner_->limit_seconds());
  }

  const World& world() const override { return inner_->world(); }
  std::string name() const override { return inner_->name() + " with a fault"; }
  bool device_memory() const override { return false; }

  Ticket all_to_all(Tensor received, Tensor send, std::span<const std::int64_t> cuts,
                    const Operation& operation) override {
    return start([&] { return inner_->all_to_all(received, send, cuts, operation); },
                 [&](int rank) { return received.slice(rank, 1); });
  }
  Ticket all_gather(Tensor data, std::span<const std::int64_t> cuts, const Operation& operation) override {
    return start([&] { return inner_->all_gather(data, cuts, operation); },
                 [&](int rank) {
                   const auto r = static_cast<std::size_t>(rank);
                   return data.reshape({data.size()}).slice(cuts[r] - cuts[0], cuts[r + 1] - cuts[r]);
                 });
  }
  Ticket broadcast(Tensor data, int root, const Operation& operation) override {
    return start([&] { return inner_->broadcast(data, root, operation); },
                 [&](int rank) { return rank == root ? data : Tensor(); });
  }

  void wait(Ticket ticket) override {
    CHECK(ticket <= started_);
    const auto at = tickets_.find(ticket);
    if (at == tickets_.end()) return;  // left out, or done
    inner_->set_limit(limit_seconds());
    inner_->wait(at->second);
    tickets_.erase(at);
    if (ticket == corrupted_) flip(target_);
    if (ticket == corrupted_) corrupted_ = 0;
  }
  void progress() override { inner_->progress(); }

  std::vector<std::uint8_t> exchange(std::span<const std::uint8_t> mine, const Operation& operation) override {
    const bool now = reach();
    const auto ranks = static_cast<std::size_t>(world().size);
    std::vector<std::uint8_t> all;
    if (now && fault_.kind == Fault::Kind::drop) {
      for (std::size_t r = 0; r < ranks; ++r) all.insert(all.end(), mine.begin(), mine.end());
      return all;
    }
    inner_->set_limit(limit_seconds());
    all = inner_->exchange(mine, operation);
    if (now && fault_.kind == Fault::Kind::corrupt && ranks > 1 && !mine.empty()) {
      all[world().rank == 0 ? mine.size() : 0] ^= 0x80;
    }
    return all;
  }
  void abort(Exit exit) noexcept override { inner_->abort(exit); }

 private:
  // Counts an operation, and says whether the fault is in it; delays happen here.
  bool reach() {
    if (++reached_ != fault_.operation) return false;
    if (fault_.kind == Fault::Kind::delay || fault_.kind == Fault::Kind::hang) {
      std::mutex mutex;
      std::condition_variable_any never;
      std::unique_lock lock(mutex);
      const auto no = [] { return false; };
      if (fault_.kind == Fault::Kind::hang && fault_.seconds == 0) {
        never.wait(lock, fault_.release, no);
      } else {
        never.wait_for(lock, fault_.release, std::chrono::duration<double>(fault_.seconds), no);
      }
    }
    return true;
  }

  // `part(r)`: where rank r's bytes arrive.
  template <class Start, class Part>
  Ticket start(Start inner, Part part) {
    const bool now = reach();
    const Ticket ticket = ++started_;
    if (now && fault_.kind == Fault::Kind::drop) return ticket;
    tickets_[ticket] = inner();
    if (now && fault_.kind == Fault::Kind::corrupt) {
      corrupted_ = ticket;
      for (int i = 1; i < world().size; ++i) {
        const Tensor arriving = part((world().rank + i) % world().size);
        if (target_.empty() && !arriving.empty() && arriving.size() > 0) target_ = arriving;
      }
    }
    return ticket;
  }

  static void flip(const Tensor& tensor) {
    if (!tensor.empty()) static_cast<std::uint8_t*>(tensor.data())[bytes_of(tensor.type()) - 1] ^= 0x80;
  }

  std::shared_ptr<Transport> inner_;
  const Fault fault_;
  std::int64_t reached_ = 0;  // operations, exchanges among them
  Ticket started_ = 0;
  std::map<Ticket, Ticket> tickets_;  // those of `inner`
  Ticket corrupted_ = 0;
  Tensor target_;
};

}  // namespace

std::shared_ptr<Transport> faulty(std::shared_ptr<Transport> inner, Fault fault) {
  return std::make_shared<Faulty>(std::move(inner), std::move(fault));
}

}  // namespace nll
