#include "src/dist/threads.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "src/dist/announcement.h"
#include "src/dist/blame.h"

namespace nll {
namespace {

using Clock = std::chrono::steady_clock;

// What one rank brings to an operation and wants from it. What it sends is copied at the start, so that the others read
// nothing that goes away when this rank fails.
struct Entry {
  std::shared_ptr<const std::vector<std::uint8_t>> sent;
  const std::uint8_t* origin = nullptr;  // of `sent`; must be the same bytes until the end
  std::uint8_t* receive = nullptr;
  std::vector<std::int64_t> cuts;  // in bytes, from 0
};

// One operation; there until every rank is done with it or gone.
struct Meeting {
  explicit Meeting(std::size_t ranks) : announced(ranks), entries(ranks), taken(ranks * ranks, 0), done(ranks, 0) {}
  std::vector<std::optional<Announcement>> announced;
  std::vector<Entry> entries;       // of those that have announced it
  std::vector<std::uint8_t> taken;  // [to * ranks + from]
  std::vector<std::uint8_t> done;
};

struct Piece {
  std::int64_t source = 0, destination = 0, bytes = 0;
};

// Where the bytes that `from` has for `to` are in what the one sent and belong in the other's memory.
Piece piece_of(OperationKind kind, const std::vector<std::int64_t>& cuts, std::size_t from, std::size_t to) {
  if (kind == OperationKind::broadcast) return {0, 0, cuts.back()};
  if (kind != OperationKind::all_to_all) return {0, cuts[from], cuts[from + 1] - cuts[from]};
  const std::int64_t own = cuts[to + 1] - cuts[to];
  return {cuts[to], static_cast<std::int64_t>(from) * own, own};
}

// What the ranks share, under one mutex; bytes are copied outside of it.
class Hub {
 public:
  explicit Hub(int size)
      : ranks_(static_cast<std::size_t>(size)), hosts_(ranks_, "this process"), started_(ranks_, 0), gone_(ranks_, 0) {}

  const std::string& host() const { return hosts_.front(); }

  std::uint64_t start(int rank, const Announcement& announcement, Entry entry) {
    const std::lock_guard lock(mutex_);
    const auto self = static_cast<std::size_t>(rank);
    if (gone_[self]) throw Error(Exit::peer_lost, failure_);
    const std::uint64_t ticket = ++started_[self];
    Meeting& meeting = meetings_.try_emplace(ticket, ranks_).first->second;
    meeting.announced[self] = announcement;
    meeting.entries[self] = std::move(entry);
    changed_.notify_all();
    return ticket;
  }

  void progress(int rank) {
    std::unique_lock lock(mutex_);
    take_all(static_cast<std::size_t>(rank), lock);
  }

  void wait(int rank, std::uint64_t ticket, double limit_seconds) {
    const auto deadline =
        Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(limit_seconds));
    std::unique_lock lock(mutex_);
    const auto self = static_cast<std::size_t>(rank);
    CHECK(ticket != 0U);
    CHECK(ticket <= started_[self]);
    while (true) {
      take_all(self, lock);
      if (gone_[self]) throw Error(Exit::peer_lost, failure_);
      const auto at = meetings_.find(ticket);
      if (at == meetings_.end() || at->second.done[self]) return;
      Meeting& meeting = at->second;
      if (complete(meeting, self)) {
        close(at, self);
        return;
      }
      const bool late = Clock::now() >= deadline;
      if (!failure_.empty() && hopeless(meeting, self)) fail(self, failure_);
      if (differs(meeting, self) && (late || all_announced(meeting))) {
        const std::vector<Announcement> expected(ranks_, *meeting.announced[self]);
        fail(self, blame_difference(rank, expected, meeting.announced, hosts_).message);
      }
      if (late) fail(self, silence(meeting, self, limit_seconds));
      changed_.wait_until(lock, deadline);
    }
  }

  // The rank takes part in nothing more.
  void leave(int rank, const std::string& why) {
    const std::lock_guard lock(mutex_);
    const auto self = static_cast<std::size_t>(rank);
    if (!gone_[self]) go(self, fmt::format("{} {}", rank_and_host(rank, hosts_), why));
  }

 private:
  using Meetings = std::map<std::uint64_t, Meeting>;

  bool needs(const Meeting& meeting, std::size_t to, std::size_t from) const {
    const int root = meeting.announced[to] ? meeting.announced[to]->root : meeting.announced[from]->root;
    return to != from && (root < 0 || root == static_cast<int>(from));
  }
  bool has(const Meeting& meeting, std::size_t to, std::size_t from) const {
    return meeting.taken[to * ranks_ + from] != 0;
  }
  bool differs(const Meeting& meeting, std::size_t self) const {
    return std::any_of(meeting.announced.begin(), meeting.announced.end(),
                       [&](const auto& other) { return other && *other != *meeting.announced[self]; });
  }
  static bool all_announced(const Meeting& meeting) {
    return std::all_of(meeting.announced.begin(), meeting.announced.end(), [](const auto& one) { return one; });
  }

  bool complete(const Meeting& meeting, std::size_t self) const {
    for (std::size_t r = 0; r < ranks_; ++r) {
      if (needs(meeting, self, r) && !has(meeting, self, r)) return false;
    }
    return true;
  }
  // Something is missing from a rank that is not there with the same operation.
  bool hopeless(const Meeting& meeting, std::size_t self) const {
    for (std::size_t r = 0; r < ranks_; ++r) {
      if (!needs(meeting, self, r) || has(meeting, self, r)) continue;
      if (!meeting.announced[r] || *meeting.announced[r] != *meeting.announced[self]) return true;
    }
    return false;
  }
  std::string silence(const Meeting& meeting, std::size_t self, double seconds) const {
    std::vector<int> silent;
    for (std::size_t r = 0; r < ranks_; ++r) {
      if (needs(meeting, self, r) && !has(meeting, self, r)) silent.push_back(static_cast<int>(r));
    }
    return blame_silence(silent, {}, *meeting.announced[self], seconds, hosts_).message;
  }

  void close(Meetings::iterator at, std::size_t self) {
    Meeting& meeting = at->second;
    const Entry& entry = meeting.entries[self];
    const bool memory_stayed_as_it_was = std::equal(entry.sent->begin(), entry.sent->end(), entry.origin);
    meeting.done[self] = 1;
    bool open = false;
    for (std::size_t r = 0; r < ranks_; ++r) open = open || (!meeting.done[r] && !gone_[r]);
    if (!open) meetings_.erase(at);
    CHECK(memory_stayed_as_it_was);
  }

  // Copies all that other ranks have for this one by now, of any operation it has started.
  void take_all(std::size_t self, std::unique_lock<std::mutex>& lock) {
    while (take_one(self, lock)) {
    }
  }
  bool take_one(std::size_t self, std::unique_lock<std::mutex>& lock) {
    for (auto& [ticket, meeting] : meetings_) {
      if (!meeting.announced[self]) continue;
      for (std::size_t i = 1; i < ranks_; ++i) {
        const std::size_t from = (self + i) % ranks_;
        if (!needs(meeting, self, from) || has(meeting, self, from)) continue;
        if (!meeting.announced[from] || *meeting.announced[from] != *meeting.announced[self]) continue;
        const Entry& mine = meeting.entries[self];
        const Piece piece = piece_of(meeting.announced[self]->kind, mine.cuts, from, self);
        const auto sent = meeting.entries[from].sent;
        std::uint8_t* destination = mine.receive + piece.destination;
        // The meeting stays, because this rank is not done with it.
        lock.unlock();
        std::copy_n(sent->begin() + piece.source, piece.bytes, destination);
        lock.lock();
        meeting.taken[self * ranks_ + from] = 1;
        return true;
      }
    }
    return false;
  }

  [[noreturn]] void fail(std::size_t self, const std::string& message) {
    go(self, message);
    throw Error(Exit::peer_lost, failure_);
  }

  // The first failure is everybody's.
  void go(std::size_t self, const std::string& message) {
    if (failure_.empty()) failure_ = message;
    gone_[self] = 1;
    changed_.notify_all();
  }

  const std::size_t ranks_;
  const std::vector<std::string> hosts_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Meetings meetings_;
  std::vector<std::uint64_t> started_;  // operations of each rank
  std::vector<std::uint8_t> gone_;      // ranks that take part no more
  std::string failure_;                 // why the job is over; empty: it is not
};

class ThreadsTransport final : public Transport {
 public:
  ThreadsTransport(std::shared_ptr<Hub> hub, int rank, int size) : hub_(std::move(hub)) {
    world_ = {rank, size, rank, size, hub_->host()};
  }
  ~ThreadsTransport() override { hub_->leave(world_.rank, "has left the job"); }

  const World& world() const override { return world_; }
  std::string name() const override { return "threads"; }
  bool device_memory() const override { return false; }

  Ticket all_to_all(Tensor received, Tensor send, std::span<const std::int64_t> cuts,
                    const Operation& operation) override {
    std::vector<std::int64_t> bytes = byte_cuts(send, cuts);
    const auto self = static_cast<std::size_t>(world_.rank);
    auto* const to = static_cast<std::uint8_t*>(received.data());
    const auto* const from = static_cast<const std::uint8_t*>(send.data());
    const Piece own = piece_of(OperationKind::all_to_all, bytes, self, self);
    CHECK(received.bytes() == own.bytes * world_.size);
    std::copy_n(from + own.source, own.bytes, to + own.destination);
    return start(OperationKind::all_to_all, operation, -1, {from, send.bytes()}, to, std::move(bytes));
  }

  Ticket all_gather(Tensor data, std::span<const std::int64_t> cuts, const Operation& operation) override {
    return gather(OperationKind::all_gather, static_cast<std::uint8_t*>(data.data()), byte_cuts(data, cuts), operation);
  }

  Ticket broadcast(Tensor data, int root, const Operation& operation) override {
    CHECK(root >= 0);
    CHECK(root < world_.size);
    auto* const bytes = static_cast<std::uint8_t*>(data.data());
    const std::int64_t sent = root == world_.rank ? data.bytes() : 0;
    return start(OperationKind::broadcast, operation, root, {bytes, sent}, bytes, {0, data.bytes()});
  }

  void wait(Ticket ticket) override { hub_->wait(world_.rank, ticket, limit_seconds_); }
  void progress() override { hub_->progress(world_.rank); }

  std::vector<std::uint8_t> exchange(std::span<const std::uint8_t> mine, const Operation& operation) override {
    const auto length = static_cast<std::int64_t>(mine.size());
    std::vector<std::uint8_t> all(mine.size() * static_cast<std::size_t>(world_.size));
    std::copy(mine.begin(), mine.end(), all.begin() + world_.rank * length);
    std::vector<std::int64_t> cuts(static_cast<std::size_t>(world_.size) + 1);
    for (std::size_t r = 0; r < cuts.size(); ++r) cuts[r] = static_cast<std::int64_t>(r) * length;
    wait(gather(OperationKind::exchange, all.data(), std::move(cuts), operation));
    return all;
  }

  void abort(Exit exit) noexcept override {
    hub_->leave(world_.rank, fmt::format("has ended the job with exit code {}", static_cast<int>(exit)));
  }

 private:
  std::vector<std::int64_t> byte_cuts(const Tensor& data, std::span<const std::int64_t> cuts) const {
    CHECK(static_cast<int>(cuts.size()) == world_.size + 1);
    CHECK(std::is_sorted(cuts.begin(), cuts.end()));
    CHECK(data.size() == cuts.back() - cuts.front());
    std::vector<std::int64_t> bytes;
    for (const std::int64_t cut : cuts) bytes.push_back((cut - cuts.front()) * bytes_of(data.type()));
    return bytes;
  }
  Ticket gather(OperationKind kind, std::uint8_t* data, std::vector<std::int64_t> cuts, const Operation& operation) {
    const Piece own = piece_of(kind, cuts, static_cast<std::size_t>(world_.rank), 0);
    return start(kind, operation, -1, {data + own.destination, own.bytes}, data, std::move(cuts));
  }
  struct Bytes {
    const std::uint8_t* data;
    std::int64_t count;
  };
  Ticket start(OperationKind kind, const Operation& operation, int root, Bytes send, std::uint8_t* receive,
               std::vector<std::int64_t> cuts) {
    Announcement announcement(kind, operation, root);
    announcement.bytes = cuts.back();
    auto sent = std::make_shared<const std::vector<std::uint8_t>>(send.data, send.data + send.count);
    return hub_->start(world_.rank, announcement, {std::move(sent), send.data, receive, std::move(cuts)});
  }

  std::shared_ptr<Hub> hub_;
  World world_;
};

}  // namespace

std::vector<std::shared_ptr<Transport>> threads_transports(int size) {
  CHECK(size >= 1);
  auto hub = std::make_shared<Hub>(size);
  std::vector<std::shared_ptr<Transport>> transports;
  for (int rank = 0; rank < size; ++rank) transports.push_back(std::make_shared<ThreadsTransport>(hub, rank, size));
  return transports;
}

}  // namespace nll
