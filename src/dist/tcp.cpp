#include "src/dist/tcp.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "src/dist/blame.h"
#include "src/dist/launch.h"
#include "src/dist/tcp_link.h"

namespace nll {
namespace {

using Bytes = std::span<std::uint8_t>;
using ConstBytes = std::span<const std::uint8_t>;

// The others give rank 0 so much more time, in which it tells them who is missing.
constexpr double patience_seconds = 2;
// After so long rank 0 tells those who wait that it is there.
constexpr double patience_after_seconds = 0.5;
// How long ranks that differ are waited for, to tell which side is the odd one.
constexpr double vote_seconds = 1;
constexpr double farewell_seconds = 1;
constexpr std::size_t longest_text = 4096;

std::size_t index(std::int64_t i) { return static_cast<std::size_t>(i); }

class TcpTransport final : public Transport {
 public:
  TcpTransport(Meeting meeting, double limit_seconds)
      : world_(std::move(meeting.world)), hosts_(std::move(meeting.hosts)) {
    set_limit(limit_seconds);
    for (Socket& socket : meeting.connections) {
      const bool own = !socket.is_open();
      links_.emplace_back(std::move(socket), meeting.run);
      CHECK(own == (leads() && links_.size() == 1));
    }
  }

  const World& world() const override { return world_; }
  std::string name() const override { return "tcp"; }
  bool device_memory() const override { return false; }

  Ticket all_to_all(Tensor received, Tensor send, std::span<const std::int64_t> cuts,
                    const Operation& operation) override {
    const auto parts = parts_of(cuts, send);
    const std::size_t own = parts[rank() + 1] - parts[rank()];
    CHECK(received.bytes() == static_cast<std::int64_t>(own * ranks()));
    const ConstBytes sent = bytes_of(send);
    const Bytes target = bytes_of(received);
    const Announcement what(OperationKind::all_to_all, operation, -1);
    if (!leads()) return follow(what, sent, target);

    std::vector<std::uint8_t> all(sent.size() * ranks());
    const auto row = [&](std::size_t r) { return Bytes(all).subspan(r * sent.size(), sent.size()); };
    for (std::size_t r = 1; r < ranks(); ++r) inputs_[r] = row(r);
    gather(what);
    std::copy(sent.begin(), sent.end(), all.begin());
    for (std::size_t to = 1; to < ranks(); ++to) {
      for (std::size_t from = 0; from < ranks(); ++from) {
        outputs_[to].push_back(row(from).subspan(parts[to], parts[to + 1] - parts[to]));
      }
    }
    for (std::size_t from = 0; from < ranks(); ++from) {
      std::copy_n(row(from).begin(), own, target.begin() + static_cast<std::ptrdiff_t>(from * own));
    }
    return answer(what);
  }

  Ticket all_gather(Tensor data, std::span<const std::int64_t> cuts, const Operation& operation) override {
    const auto parts = parts_of(cuts, data);
    const Bytes all = bytes_of(data);
    const auto part = [&](std::size_t r) { return all.subspan(parts[r], parts[r + 1] - parts[r]); };
    return gather_parts({OperationKind::all_gather, operation, -1}, part, all);
  }

  Ticket broadcast(Tensor data, int root, const Operation& operation) override {
    CHECK(root >= 0);
    CHECK(root < world_.size);
    const Announcement what(OperationKind::broadcast, operation, root);
    const Bytes all = bytes_of(data);
    if (!leads()) return root == world_.rank ? follow(what, all, {}) : follow(what, {}, all);
    if (root != 0) inputs_[index(root)] = all;
    gather(what);
    for (std::size_t r = 1; r < ranks(); ++r) {
      if (static_cast<int>(r) != root) outputs_[r].push_back(all);
    }
    return answer(what);
  }

  // Nothing is ever on its way.
  void wait(Ticket ticket) override { CHECK(ticket <= number_); }
  void progress() override {}

  std::vector<std::uint8_t> exchange(std::span<const std::uint8_t> mine, const Operation& operation) override {
    std::vector<std::uint8_t> all(mine.size() * ranks());
    const auto part = [&](std::size_t r) { return Bytes(all).subspan(r * mine.size(), mine.size()); };
    std::copy(mine.begin(), mine.end(), part(rank()).begin());
    gather_parts({OperationKind::exchange, operation, -1}, part, all);
    return all;
  }

  void abort(Exit exit) noexcept override {
    try {
      if (failed_) return;
      failed_ = fmt::format("{} has ended the job (exit code {})", rank_and_host(world_.rank, hosts_),
                            static_cast<int>(exit));
      tell(*failed_);
    } catch (const std::exception&) {
      // The others notice that the connection is closed.
    }
  }

 private:
  bool leads() const { return world_.rank == 0; }
  std::size_t rank() const { return index(world_.rank); }
  std::size_t ranks() const { return index(world_.size); }
  Link& link(std::size_t peer) { return links_[leads() ? peer : 0]; }

  static Bytes bytes_of(const Tensor& tensor) {
    return {static_cast<std::uint8_t*>(tensor.data()), index(tensor.bytes())};
  }
  // `cuts` in bytes, from 0.
  std::vector<std::size_t> parts_of(std::span<const std::int64_t> cuts, const Tensor& tensor) const {
    CHECK(cuts.size() == ranks() + 1);
    CHECK(tensor.size() == cuts.back() - cuts.front());
    std::vector<std::size_t> parts;
    for (std::int64_t cut : cuts) {
      parts.push_back(index((cut - cuts.front()) * bytes_of_element(tensor)));
      CHECK(std::is_sorted(parts.begin(), parts.end()));
    }
    return parts;
  }
  static std::int64_t bytes_of_element(const Tensor& tensor) { return nll::bytes_of(tensor.type()); }

  // Every rank has its part of `all`, and gets the whole.
  template <class Part>
  Ticket gather_parts(const Announcement& what, const Part& part, Bytes all) {
    if (!leads()) return follow(what, part(rank()), all);
    for (std::size_t r = 1; r < ranks(); ++r) inputs_[r] = part(r);
    gather(what);
    for (std::size_t r = 1; r < ranks(); ++r) outputs_[r].push_back(all);
    return answer(what);
  }

  void begin() {
    if (failed_) throw Error(Exit::peer_lost, *failed_);
    ++number_;
  }

  // ---- rank 0 ------------------------------------------------------------------------------------------------------

  // Receives inputs_[r] of each rank r.
  void gather(const Announcement& what) {
    begin();
    const Deadline deadline(limit_seconds()), patience(std::min(patience_after_seconds, limit_seconds() / 2));
    bool told = false;
    std::optional<Deadline> vote;  // since somebody announced something else
    const auto done = [&](std::size_t r) { return vote ? link(r).head().has_value() : link(r).complete(); };
    while (true) {
      std::vector<std::size_t> open;
      for (std::size_t r = 1; r < ranks(); ++r) {
        link(r).move();
        if (link(r).closed() && !link(r).complete()) lost(r, what);
        if (link(r).head() && !heard(r, what) && !vote) vote.emplace(vote_seconds);
        if (!done(r)) open.push_back(r);
      }
      if (vote && (open.empty() || vote->over() || deadline.over())) differ(what);
      if (open.empty()) break;
      if (deadline.over()) overdue(open, what);
      if (!told && patience.over()) {
        told = true;
        FrameHead head;
        head.kind = FrameKind::patience;
        for (std::size_t r = 1; r < ranks(); ++r) link(r).send(head, {});
        continue;
      }
      wait_for(vote ? *vote : told ? deadline : patience);
    }
    for (std::size_t r = 1; r < ranks(); ++r) link(r).next();
  }

  // Sends outputs_[r] to each rank r.
  Ticket answer(const Announcement& what) {
    for (std::size_t r = 1; r < ranks(); ++r) {
      FrameHead head;
      head.number = number_;
      head.what = what;
      head.what.bytes = 0;
      for (const ConstBytes& piece : outputs_[r]) head.what.bytes += static_cast<std::int64_t>(piece.size());
      link(r).send(head, outputs_[r]);
      outputs_[r].clear();
      inputs_[r] = {};
    }
    const Deadline deadline(limit_seconds());
    while (true) {
      std::vector<std::size_t> open;
      for (std::size_t r = 1; r < ranks(); ++r) {
        link(r).move();
        // One that has all it needs may leave.
        if (link(r).broken() && !link(r).flush(Deadline(0))) lost(r, what);
        if (link(r).sending()) open.push_back(r);
      }
      if (open.empty()) return number_;
      if (deadline.over()) overdue({}, what, open);
      wait_for(deadline);
    }
  }

  Announcement expected_of(std::size_t r, Announcement what) const {
    what.bytes = static_cast<std::int64_t>(inputs_[r].size());
    return what;
  }

  // A head from rank r is there. False: of another operation than this.
  bool heard(std::size_t r, const Announcement& what) {
    const FrameHead& head = *link(r).head();
    if (head.kind == FrameKind::failure) throw_failure(link(r), r);
    if (head.kind != FrameKind::operation)
      fail(rank_and_host(static_cast<int>(r), hosts_) + ": sent a message that only rank 0 sends");
    if (head.what != expected_of(r, what)) return false;
    if (!link(r).complete() && !link(r).receiving()) link(r).receive_into(inputs_[r]);
    return true;
  }

  void wait_for(const Deadline& deadline) {
    std::vector<pollfd> watched;
    for (std::size_t r = 1; r < ranks(); ++r) watched.push_back(link(r).watch());
    poll_sockets(watched, deadline.milliseconds());
  }

  [[noreturn]] void differ(const Announcement& what) {
    std::vector<Announcement> expected;
    std::vector<std::optional<Announcement>> announced(ranks());
    for (std::size_t r = 0; r < ranks(); ++r) {
      expected.push_back(expected_of(r, what));
      if (r > 0 && link(r).head()) announced[r] = link(r).head()->what;
    }
    fail(blame_difference(0, expected, announced, hosts_).message);
  }

  [[noreturn]] void overdue(const std::vector<std::size_t>& open, const Announcement& what,
                            const std::vector<std::size_t>& unread = {}) {
    std::vector<int> silent, slow;
    for (std::size_t r : open) (link(r).head() ? slow : silent).push_back(static_cast<int>(r));
    for (std::size_t r : unread) slow.push_back(static_cast<int>(r));
    fail(blame_silence(silent, slow, what, limit_seconds(), hosts_).message);
  }

  // ---- the others --------------------------------------------------------------------------------------------------

  Ticket follow(Announcement what, ConstBytes sent, Bytes target) {
    begin();
    Link& zero = link(0);
    FrameHead head;
    head.number = number_;
    head.what = what;
    head.what.bytes = static_cast<std::int64_t>(sent.size());
    zero.send(head, {sent});
    Deadline deadline(limit_seconds() + patience_seconds);
    while (true) {
      zero.move();
      if (zero.head() && !zero.complete() && !zero.receiving()) {
        if (zero.head()->kind == FrameKind::failure) throw_failure(zero, 0);
        if (zero.head()->kind == FrameKind::patience) {
          if (zero.head()->what.bytes != 0) fail("rank 0: sent a message that cannot be");
          deadline = Deadline(limit_seconds() + patience_seconds);
          zero.receive_into({});
          zero.next();
          continue;
        }
        what.bytes = static_cast<std::int64_t>(target.size());
        if (zero.head()->what != what || zero.head()->number != number_) {
          fail(fmt::format("{} answered {} with {}", rank_and_host(0, hosts_), what.text(), zero.head()->what.text()));
        }
        zero.receive_into(target);
        continue;
      }
      if (zero.complete() && !zero.sending()) break;
      if (zero.closed()) lost(0, what);
      if (deadline.over()) fail(blame_silence({0}, {}, what, limit_seconds() + patience_seconds, hosts_).message);
      std::vector<pollfd> one{zero.watch()};
      poll_sockets(one, deadline.milliseconds());
    }
    zero.next();
    return number_;
  }

  // ---- failures ----------------------------------------------------------------------------------------------------

  // Reads the text of a failure that `peer` sent, passes it on, and throws it.
  [[noreturn]] void throw_failure(Link& from, std::size_t peer) {
    const std::int64_t length = from.head()->what.bytes;
    std::string text;
    if (length > 0 && length <= static_cast<std::int64_t>(longest_text)) {
      text.resize(index(length));
      from.receive_into({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
      const Deadline deadline(farewell_seconds);
      from.move();
      while (from.receiving() && !deadline.over()) {
        std::vector<pollfd> one{from.watch()};
        poll_sockets(one, deadline.milliseconds());
        from.move();
      }
    }
    if (text.empty() || !from.complete()) text = rank_and_host(static_cast<int>(peer), hosts_) + " has ended the job";
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c < 0x20 || c == 0x7f; }, '?');
    fail(text);
  }

  [[noreturn]] void lost(std::size_t peer, const Announcement& what) {
    fail(fmt::format("{}: the connection was lost in {} ({})", rank_and_host(static_cast<int>(peer), hosts_),
                     what.text(), link(peer).fault()));
  }

  [[noreturn]] void fail(const std::string& text) {
    failed_ = text;
    tell(text);
    throw Error(Exit::peer_lost, text);
  }

  // Rank 0 tells all, the others rank 0.
  void tell(const std::string& text) {
    const Deadline deadline(farewell_seconds);
    for (std::size_t r = leads() ? 1 : 0; r < links_.size(); ++r) links_[r].send_failure(text.substr(0, longest_text));
    for (std::size_t r = leads() ? 1 : 0; r < links_.size(); ++r) (void)links_[r].flush(deadline);
  }

  World world_;
  std::vector<std::string> hosts_;
  std::deque<Link> links_;  // rank 0: to each rank, the own one unused; others: to rank 0
  std::uint64_t number_ = 0;
  std::optional<std::string> failed_;
  // Of the operation that rank 0 is at, for each rank.
  std::vector<Bytes> inputs_ = std::vector<Bytes>(index(world_.size));
  std::vector<std::vector<ConstBytes>> outputs_ = std::vector<std::vector<ConstBytes>>(index(world_.size));
};

}  // namespace

std::shared_ptr<Transport> tcp_transport(Meeting meeting, double limit_seconds) {
  return std::make_shared<TcpTransport>(std::move(meeting), limit_seconds);
}

std::shared_ptr<Transport> tcp_transport(const Launch& launch, double limit_seconds) {
  CHECK(launch.world.size >= 1);
  Meeting meeting = launch.world.rank == 0 ? receive_ranks(Listener(launch.port), launch, limit_seconds)
                                           : join_rank_0(launch, limit_seconds);
  return tcp_transport(std::move(meeting), limit_seconds);
}

}  // namespace nll
