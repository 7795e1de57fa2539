// The plugin libnll_mpi.so: a Transport of MPI messages between pairs of ranks. MPI's own collectives are not used:
// they cannot be left once entered, and they do not say who is missing. Every pair of ranks exchanges an Announcement
// before the bytes of an operation.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <map>
#include <mutex>
#include <optional>
#include <thread>

#include "src/dist/announcement.h"
#include "src/dist/blame.h"
#include "src/dist/mpi_plugin.h"
#include "src/dist/pacer.h"

namespace nll {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr int announcement_tag = 1, data_tag = 2;
// The lowest rank that is not at fault reports a failure; the others hold back this long, in which the launcher ends
// them, so that the user reads the reason once.
constexpr Seconds hold_back{3.0};
// MPI moves messages only while it is called. A thread calls it this often while something is on its way, so that
// messages travel while this rank computes.
constexpr std::chrono::microseconds look_interval{1000};
// How long ranks that differ from this one are waited for, to tell which side is the odd one.
constexpr Seconds vote_time{1.0};

std::string mpi_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return {text.data(), static_cast<std::size_t>(length)};
}

// What one rank has to do with one operation.
enum class Role { announces, hears, sends, receives };
struct Message {
  int peer = 0;
  Role role = Role::sends;
  int bytes = 0;
};

// An operation that was started. MPI writes into it, so it stays where it is until everything is done.
struct InFlight {
  Announcement own;
  // To and from each rank, and what should come from it.
  std::vector<Announcement> told, heard, expected;
  std::vector<bool> has_told;  // whether heard[r] is there
  std::vector<MPI_Request> requests;
  std::vector<Message> messages;  // of each request
  int open = 0;                   // requests that are not done
  bool differs = false;           // somebody announced something else
  bool garbled = false;           // data that did not fit: of another operation
};

struct Bytes {
  std::uint8_t* data = nullptr;
  std::int64_t count = 0;
};

// What becomes known when MPI has started.
struct Start {
  std::mutex mutex;
  std::condition_variable changed;
  bool done = false;
  std::string fault;
  MPI_Comm ranks = MPI_COMM_NULL;
  World world;
};

void start_mpi(Start& start) {
  const auto expect = [&](int code, const char* what) {
    if (code != MPI_SUCCESS && start.fault.empty()) start.fault = fmt::format("{}: {}", what, mpi_text(code));
    return code == MPI_SUCCESS;
  };
  int level = 0;
  if (!expect(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level), "MPI_Init_thread")) return;
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (level < MPI_THREAD_SERIALIZED) {
    start.fault = "MPI_Init_thread: this MPI may be called by the first thread of a program only";
    return;
  }
  World& world = start.world;
  MPI_Comm host = MPI_COMM_NULL;
  std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
  int length = 0;
  if (!expect(MPI_Comm_dup(MPI_COMM_WORLD, &start.ranks), "MPI_Comm_dup")) return;
  MPI_Comm_set_errhandler(start.ranks, MPI_ERRORS_RETURN);
  MPI_Comm_rank(start.ranks, &world.rank);
  MPI_Comm_size(start.ranks, &world.size);
  if (!expect(MPI_Comm_split_type(start.ranks, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host), "MPI_Comm_split_type")) {
    return;
  }
  MPI_Comm_rank(host, &world.local_rank);
  MPI_Comm_size(host, &world.local_size);
  MPI_Comm_free(&host);
  if (expect(MPI_Get_processor_name(name.data(), &length), "MPI_Get_processor_name")) {
    world.host.assign(name.data(), static_cast<std::size_t>(length));
  }
}

class MpiTransport final : public Transport {
 public:
  explicit MpiTransport(const MpiSettings& settings) : piece_bytes_(settings.piece_bytes) {
    CHECK(piece_bytes_ >= 1);
    CHECK(piece_bytes_ <= std::int64_t{1} << 30);
    set_limit(settings.limit_seconds);
    begin();
    if (world_.size > 1) mover_ = std::thread([this] { move_on(); });
    hosts_.resize(static_cast<std::size_t>(world_.size));
    constexpr std::size_t longest = 256;
    std::vector<std::uint8_t> mine(longest);
    std::copy_n(world_.host.begin(), std::min(world_.host.size(), longest), mine.begin());
    const auto all = exchange(mine, {"the start of the job"});
    for (std::size_t r = 0; r < hosts_.size(); ++r) {
      const char* text = reinterpret_cast<const char*>(all.data()) + r * longest;
      hosts_[r].assign(text, strnlen(text, longest));
    }
  }

  // Leaves MPI only when all ranks come to this point; otherwise the launcher sees that this one left without it, and
  // ends the job. Finalizing while another rank hangs would hang too.
  ~MpiTransport() override {
    bool clean = !failed_ && operations_.empty() && std::uncaught_exceptions() == exceptions_;
    try {
      if (clean) exchange({}, {"the end of the job"});
    } catch (const std::exception&) {
      clean = false;
    }
    stop_moving();
    if (clean) {
      MPI_Comm_free(&ranks_);
      MPI_Finalize();
    } else {
      // MPI may still write into what was started.
      for (auto& [ticket, operation] : operations_) operation.release();
    }
  }

  const World& world() const override { return world_; }
  std::string name() const override { return "mpi"; }
  bool device_memory() const override { return false; }

  Ticket all_to_all(Tensor received, Tensor send, std::span<const std::int64_t> cuts,
                    const Operation& operation) override {
    check_cuts(send, cuts);
    const std::int64_t element = bytes_of(send.type());
    const std::int64_t own = part(cuts, world_.rank).count * element;
    CHECK(received.bytes() == own * world_.size);
    auto* const from = static_cast<std::uint8_t*>(send.data());
    auto* const to = static_cast<std::uint8_t*>(received.data());
    if (own > 0) std::memcpy(to + world_.rank * own, from + part(cuts, world_.rank).begin * element, own);
    return start(
        OperationKind::all_to_all, operation, -1,
        [&](int r) {
          return Bytes{from + part(cuts, r).begin * element, part(cuts, r).count * element};
        },
        [&](int r) {
          return Bytes{to + r * own, own};
        });
  }

  Ticket all_gather(Tensor data, std::span<const std::int64_t> cuts, const Operation& operation) override {
    return gather(OperationKind::all_gather, data, cuts, operation);
  }

  Ticket broadcast(Tensor data, int root, const Operation& operation) override {
    CHECK(root >= 0);
    CHECK(root < world_.size);
    const auto whole = [&](int) { return Bytes{static_cast<std::uint8_t*>(data.data()), data.bytes()}; };
    return start(OperationKind::broadcast, operation, root, whole, whole);
  }

  void wait(Ticket ticket) override {
    CHECK(ticket >= Ticket{1});
    CHECK(ticket <= started_);
    const auto at = operations_.find(ticket);
    if (at == operations_.end()) return;  // done
    finish(*at->second);
    const std::lock_guard lock(mutex_);
    operations_.erase(at);
  }

  void progress() override {
    const std::lock_guard lock(mutex_);
    look_at_all();
  }

  std::vector<std::uint8_t> exchange(std::span<const std::uint8_t> mine, const Operation& operation) override {
    const auto length = static_cast<std::int64_t>(mine.size());
    std::vector<std::uint8_t> all(mine.size() * static_cast<std::size_t>(world_.size));
    std::copy(mine.begin(), mine.end(), all.begin() + world_.rank * length);
    std::vector<std::int64_t> cuts(static_cast<std::size_t>(world_.size) + 1);
    for (std::size_t r = 0; r < cuts.size(); ++r) cuts[r] = static_cast<std::int64_t>(r) * length;
    const Tensor data(all.data(), DType::u8, {static_cast<std::int64_t>(all.size())});
    wait(gather(OperationKind::exchange, data, cuts, operation));
    return all;
  }

  void abort(Exit exit) noexcept override {
    const std::lock_guard lock(mutex_);
    failed_ = true;
    MPI_Abort(ranks_, static_cast<int>(exit));
  }

 private:
  struct Part {
    std::int64_t begin, count;  // elements
  };
  static Part part(std::span<const std::int64_t> cuts, int rank) {
    const auto r = static_cast<std::size_t>(rank);
    return {cuts[r] - cuts[0], cuts[r + 1] - cuts[r]};
  }
  void check_cuts(const Tensor& data, std::span<const std::int64_t> cuts) const {
    CHECK(static_cast<int>(cuts.size()) == world_.size + 1);
    CHECK(std::is_sorted(cuts.begin(), cuts.end()));
    CHECK(data.size() == cuts.back() - cuts.front());
  }

  // MPI_Init returns when all ranks have called it, however long that takes: on a thread of its own, to be able to
  // stop waiting.
  void begin() {
    auto start = std::make_shared<Start>();
    std::thread starter([start] {
      start_mpi(*start);
      const std::lock_guard lock(start->mutex);
      start->done = true;
      start->changed.notify_one();
    });
    std::unique_lock lock(start->mutex);
    const bool done = start->changed.wait_for(lock, Seconds(limit_seconds_), [&] { return start->done; });
    lock.unlock();
    if (!done) {
      starter.detach();
      throw Error(Exit::peer_lost,
                  fmt::format("MPI: not all ranks have come to the start of the job for {:g} s", limit_seconds_));
    }
    starter.join();
    if (!start->fault.empty()) throw Error(Exit::peer_lost, "MPI: " + start->fault);
    ranks_ = start->ranks;
    world_ = start->world;
  }

  Ticket gather(OperationKind kind, Tensor data, std::span<const std::int64_t> cuts, const Operation& operation) {
    check_cuts(data, cuts);
    const std::int64_t element = bytes_of(data.type());
    const auto part_of = [&](int r) {
      return Bytes{static_cast<std::uint8_t*>(data.data()) + part(cuts, r).begin * element,
                   part(cuts, r).count * element};
    };
    return start(
        kind, operation, -1, [&](int) { return part_of(world_.rank); }, part_of);
  }

  // Starts what this rank sends to and receives from each other one. root >= 0: only that rank sends.
  template <class Outgoing, class Incoming>
  Ticket start(OperationKind kind, const Operation& operation, int root, Outgoing outgoing, Incoming incoming) {
    const auto ranks = static_cast<std::size_t>(world_.size);
    const std::lock_guard lock(mutex_);
    const Ticket ticket = ++started_;
    InFlight& flight = *operations_.emplace(ticket, std::make_unique<InFlight>()).first->second;
    flight.own = Announcement(kind, operation, root);
    flight.told.assign(ranks, flight.own);
    flight.expected = flight.told;
    flight.heard.resize(ranks);
    flight.has_told.assign(ranks, false);
    // Neighbours first, each in its own order, so that not all send to the same rank at once.
    if (root < 0 || root != world_.rank) {
      for (int i = 1; i < world_.size; ++i) {
        const int peer = (world_.rank - i + world_.size) % world_.size;
        if (root >= 0 && peer != root) continue;
        const Bytes data = incoming(peer);
        flight.expected[static_cast<std::size_t>(peer)].bytes = data.count;
        post(flight, {peer, Role::hears}, {bytes_at(flight.heard, peer), sizeof(Announcement)}, announcement_tag);
        post(flight, {peer, Role::receives}, data, data_tag);
      }
    }
    if (root < 0 || root == world_.rank) {
      for (int i = 1; i < world_.size; ++i) {
        const int peer = (world_.rank + i) % world_.size;
        const Bytes data = outgoing(peer);
        flight.told[static_cast<std::size_t>(peer)].bytes = data.count;
        post(flight, {peer, Role::announces}, {bytes_at(flight.told, peer), sizeof(Announcement)}, announcement_tag);
        post(flight, {peer, Role::sends}, data, data_tag);
      }
    }
    something_started_.notify_one();
    return ticket;
  }

  void look_at_all() {
    for (auto& [ticket, operation] : operations_) look(*operation);
  }

  // The thread that calls MPI while this rank computes. What goes wrong is left for the call that waits to meet.
  void move_on() {
    std::unique_lock lock(mutex_);
    while (!over_) {
      const auto moving = [this] {
        return std::any_of(operations_.begin(), operations_.end(), [](const auto& o) { return o.second->open > 0; });
      };
      something_started_.wait(lock, [&] { return over_ || moving(); });
      if (over_) return;
      try {
        look_at_all();
      } catch (const Error&) {
        fault_ = std::current_exception();
        return;
      }
      lock.unlock();
      std::this_thread::sleep_for(look_interval);
      lock.lock();
    }
  }
  void stop_moving() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    something_started_.notify_one();
    if (mover_.joinable()) mover_.join();
  }

  static std::uint8_t* bytes_at(std::vector<Announcement>& all, int rank) {
    return reinterpret_cast<std::uint8_t*>(&all[static_cast<std::size_t>(rank)]);
  }

  // Starts a message, in pieces where it is long; of no bytes: none.
  void post(InFlight& flight, Message message, Bytes bytes, int tag) {
    for (std::int64_t at = 0; at < bytes.count; at += piece_bytes_) {
      message.bytes = static_cast<int>(std::min(piece_bytes_, bytes.count - at));
      MPI_Request request = MPI_REQUEST_NULL;
      const bool out = message.role == Role::announces || message.role == Role::sends;
      const int code = out ? MPI_Isend(bytes.data + at, message.bytes, MPI_BYTE, message.peer, tag, ranks_, &request)
                           : MPI_Irecv(bytes.data + at, message.bytes, MPI_BYTE, message.peer, tag, ranks_, &request);
      if (code != MPI_SUCCESS) fail_in_mpi(flight, message.peer, code);
      flight.requests.push_back(request);
      flight.messages.push_back(message);
      ++flight.open;
    }
  }

  // Moves MPI on and notes what is done, without waiting.
  void look(InFlight& flight) {
    if (flight.open == 0) return;
    const std::size_t count = flight.requests.size();
    done_.resize(std::max(done_.size(), count));
    statuses_.resize(std::max(statuses_.size(), count));
    int finished = 0;
    const int code =
        MPI_Testsome(static_cast<int>(count), flight.requests.data(), &finished, done_.data(), statuses_.data());
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) fail_in_mpi(flight, -1, code);
    for (int i = 0; i < (finished == MPI_UNDEFINED ? 0 : finished); ++i) {
      const auto at = static_cast<std::size_t>(i);
      const Message& message = flight.messages[static_cast<std::size_t>(done_[at])];
      const int fault = code == MPI_ERR_IN_STATUS ? statuses_[at].MPI_ERROR : MPI_SUCCESS;
      note(flight, message, statuses_[at], fault);
    }
  }

  void note(InFlight& flight, const Message& message, const MPI_Status& status, int fault) {
    --flight.open;
    const auto peer = static_cast<std::size_t>(message.peer);
    if (fault != MPI_SUCCESS) {
      int kind = MPI_SUCCESS;
      MPI_Error_class(fault, &kind);
      // Data of another operation: what that is, its announcement says, or has said.
      if (kind != MPI_ERR_TRUNCATE) fail_in_mpi(flight, message.peer, fault);
      flight.garbled = true;
    } else if (message.role == Role::receives) {
      int bytes = 0;
      MPI_Get_count(&status, MPI_BYTE, &bytes);
      if (bytes != message.bytes) flight.garbled = true;
    } else if (message.role == Role::hears) {
      flight.has_told[peer] = true;
      if (flight.heard[peer] != flight.expected[peer]) flight.differs = true;
    }
  }

  void finish(InFlight& flight) {
    Pacer pacer;
    const auto began = Clock::now();
    Clock::time_point differed{};
    while (true) {
      std::unique_lock lock(mutex_);
      if (fault_) std::rethrow_exception(fault_);
      look(flight);
      if (flight.open == 0 && !flight.differs && !flight.garbled) return;
      const auto now = Clock::now();
      if (flight.differs || flight.garbled) {
        if (differed == Clock::time_point{}) differed = now;
        if (all_heard(flight) || now - differed > vote_time) fail_by_difference(flight);
      }
      if (now - began > Seconds(limit_seconds_)) fail_by_silence(flight);
      lock.unlock();
      pacer.pause();
    }
  }

  bool all_heard(const InFlight& flight) const {
    for (const Message& message : flight.messages) {
      if (message.role == Role::hears && !flight.has_told[static_cast<std::size_t>(message.peer)]) return false;
    }
    return true;
  }

  [[noreturn]] void fail_in_mpi(const InFlight& flight, int peer, int code) {
    failed_ = true;
    throw Error(Exit::peer_lost,
                fmt::format("{}: {} failed in MPI: {}", rank_and_host(peer < 0 ? world_.rank : peer, hosts_),
                            flight.own.text(), mpi_text(code)));
  }

  // Throws the message, at once where this is the lowest rank that is not at fault, else a little later.
  [[noreturn]] void fail(const Blame& blame) {
    failed_ = true;
    int speaker = 0;
    while (std::find(blame.ranks.begin(), blame.ranks.end(), speaker) != blame.ranks.end()) ++speaker;
    if (speaker != world_.rank) std::this_thread::sleep_for(hold_back);
    throw Error(Exit::peer_lost, blame.message);
  }

  [[noreturn]] void fail_by_silence(const InFlight& flight) {
    std::vector<int> silent, slow;
    for (int r = 0; r < world_.size; ++r) {
      bool waited_for = false, unheard = false;
      for (std::size_t i = 0; i < flight.messages.size(); ++i) {
        if (flight.messages[i].peer != r || flight.requests[i] == MPI_REQUEST_NULL) continue;
        waited_for = true;
        unheard = unheard || flight.messages[i].role == Role::hears;
      }
      if (waited_for) (unheard ? silent : slow).push_back(r);
    }
    fail(blame_silence(silent, slow, flight.own, limit_seconds_, hosts_));
  }

  [[noreturn]] void fail_by_difference(const InFlight& flight) {
    std::vector<std::optional<Announcement>> heard(flight.heard.size());
    for (std::size_t r = 0; r < heard.size(); ++r) {
      if (flight.has_told[r]) heard[r] = flight.heard[r];
    }
    fail(blame_difference(world_.rank, flight.expected, heard, hosts_));
  }

  std::int64_t piece_bytes_;
  int exceptions_ = std::uncaught_exceptions();
  MPI_Comm ranks_ = MPI_COMM_NULL;
  World world_;
  std::vector<std::string> hosts_;
  Ticket started_ = 0;
  std::map<Ticket, std::unique_ptr<InFlight>> operations_;
  bool failed_ = false;  // an operation did not end: there is nothing to finalize
  std::vector<int> done_;
  std::vector<MPI_Status> statuses_;
  // Holds while MPI is called and while operations_ changes.
  std::mutex mutex_;
  std::condition_variable something_started_;
  std::thread mover_;
  std::exception_ptr fault_;  // that mover_ met
  bool over_ = false;
};

}  // namespace
}  // namespace nll

extern "C" nll::Transport* nll_mpi_transport(std::uint64_t layout, const nll::MpiSettings* settings) {
  return layout == nll::mpi_plugin_layout ? new nll::MpiTransport(*settings) : nullptr;
}
