#include "src/dist/collective.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <type_traits>

#include "src/dist/agreement.h"
#include "src/dist/blame.h"
#include "src/dist/staged.h"

namespace nll {
namespace {

constexpr int slots = 2;  // buckets on their way at the same time

std::int64_t part_limit(const Collective::Settings& settings, std::int64_t ranks) {
  if (settings.largest_part > 0) return settings.largest_part;
  const std::int64_t share = (settings.largest_bucket + ranks - 1) / ranks;
  const std::int64_t blocks = (share + Ops::norm_block - 1) / Ops::norm_block;
  return std::min(settings.largest_bucket, blocks * Ops::norm_block);
}

// Which bucket is meant, without its cuts.
struct Key {
  std::int64_t index, begin, end;
  explicit Key(const Bucket& bucket) : index(bucket.index), begin(bucket.begin()), end(bucket.end()) {}
  bool operator==(const Key&) const = default;
};

// The first of `flights` that is on its way with this bucket.
template <class Flight>
auto find_flight(std::deque<Flight>& flights, const Bucket& bucket) {
  return std::find_if(flights.begin(), flights.end(),
                      [key = Key(bucket)](const Flight& one) { return one.bucket == key; });
}

struct Position {
  std::int64_t step;
  std::uint64_t sequence;
  bool operator==(const Position&) const = default;
};

// "rank 2 (node1) is at step 7 after 31 operations, rank 0 (node0) at step 7 after 32"; empty: all are at the same.
std::string difference(const std::vector<ControlWord>& words, const std::vector<std::string>& hosts) {
  struct Group {
    Position at;
    std::vector<int> ranks;
  };
  std::vector<Group> groups;  // in the order of their lowest ranks
  for (std::size_t r = 0; r < words.size(); ++r) {
    const Position at{words[r].step, words[r].sequence};
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& one) { return one.at == at; });
    if (group == groups.end()) group = groups.insert(group, {at, {}});
    group->ranks.push_back(static_cast<int>(r));
  }
  if (groups.size() <= 1) return {};
  const auto right = std::max_element(groups.begin(), groups.end(), [](const Group& one, const Group& other) {
    return one.ranks.size() < other.ranks.size();
  });
  std::string text;
  for (const Group& group : groups) {
    if (&group == &*right) continue;
    for (const int rank : group.ranks) text += (text.empty() ? "" : ", ") + rank_and_host(rank, hosts);
    text += fmt::format(" {} at step {} after {} operations", group.ranks.size() == 1 ? "is" : "are", group.at.step,
                        group.at.sequence);
  }
  return text + fmt::format(", {} at step {} after {} (an operation was skipped or repeated)",
                            rank_and_host(right->ranks.front(), hosts), right->at.step, right->at.sequence);
}

}  // namespace

struct Collective::State {
  struct Reduction {
    Key bucket;
    Transport::Ticket ticket = 0;
    Tensor sum, parts;     // the own part of the arena; what arrives, (R, own part)
    std::size_t slot = 0;  // of the working memory
    bool done = false;
  };
  struct Gather {
    Key bucket;
    Transport::Ticket ticket = 0;
  };

  std::shared_ptr<Transport> transport;
  Device& device;
  Ops& ops;
  const Settings settings;
  Arena memory;
  std::int64_t step = -1;
  std::uint64_t sequence = 0;  // operations started
  std::size_t reductions_started = 0;
  std::int64_t bytes_sent = 0;
  std::deque<Reduction> reductions;  // in the order of their starts; those that are done wait to be finished
  std::deque<Gather> gathers;

  Operation next(const char* name, std::int64_t bucket = -1) {
    ++sequence;
    return {name, step, bucket};
  }
  Tensor received(std::size_t slot) const { return memory[static_cast<int>(slot)]; }
  Tensor rounded(std::size_t slot) const { return memory[static_cast<int>(slots + slot)]; }

  void complete(Reduction& reduction) {
    if (reduction.done) return;
    transport->wait(reduction.ticket);
    if (reduction.sum.size() > 0) ops.sum_parts(reduction.sum, reduction.parts, settings.order);
    reduction.done = true;
  }
};

ArenaPlan Collective::plan(const Settings& settings, const World& world) {
  CHECK((settings.wire == DType::f32 || settings.wire == DType::bf16));
  ArenaPlan plan("gradients on their way");
  if (world.size == 1) return plan;
  const std::int64_t received = checked_product(world.size, part_limit(settings, world.size));
  for (int slot = 0; slot < slots; ++slot) plan.add(fmt::format("received {}", slot), settings.wire, {received});
  if (settings.wire == DType::f32) return plan;
  for (int slot = 0; slot < slots; ++slot) {
    plan.add(fmt::format("rounded {}", slot), settings.wire, {settings.largest_bucket});
  }
  return plan;
}

Collective::Collective(std::shared_ptr<Transport> transport, Device& device, Ops& ops, const Settings& settings) {
  const bool on_host = transport->world().size == 1 || transport->device_memory() || device.info().kind == "cpu";
  if (!on_host) transport = staged(std::move(transport), device);
  state_ = std::make_unique<State>(State{.transport = std::move(transport),
                                         .device = device,
                                         .ops = ops,
                                         .settings = settings,
                                         .memory = {},
                                         .reductions = {},
                                         .gathers = {}});
  if (!alone()) state_->memory = Arena(device, plan(settings, world()));
}

Collective::~Collective() = default;

const World& Collective::world() const { return state_->transport->world(); }

Transport& Collective::transport() { return *state_->transport; }

void Collective::set_step(std::int64_t step) { state_->step = step; }

void Collective::start_reduce(Tensor arena, const Bucket& bucket) {
  if (alone()) return;
  State& s = *state_;
  const auto ranks = static_cast<std::size_t>(world().size), rank = static_cast<std::size_t>(world().rank);
  CHECK(arena.type() == DType::f32);
  CHECK(bucket.cuts.size() == ranks + 1);
  const std::int64_t own = bucket.cuts[rank + 1] - bucket.cuts[rank], arriving = world().size * own;
  const std::size_t slot = s.reductions_started++ % slots;
  for (State::Reduction& earlier : s.reductions) {
    if (earlier.slot == slot) s.complete(earlier);
  }
  CHECK(arriving <= s.received(slot).size());
  CHECK(bucket.size() <= s.settings.largest_bucket);
  const Tensor flat = arena.reshape({arena.size()});
  Tensor send = flat.slice(bucket.begin(), bucket.size());
  if (s.settings.wire != DType::f32) {
    const Tensor rounded = s.rounded(slot).slice(0, bucket.size());
    if (bucket.size() > 0) s.ops.convert(rounded, send);
    send = rounded;
  }
  const Tensor parts = s.received(slot).slice(0, arriving).reshape({world().size, own});
  s.bytes_sent += (bucket.size() - own) * bytes_of(send.type());
  const Operation operation = s.next("reduce-scatter", bucket.index);
  s.reductions.push_back({Key(bucket), s.transport->all_to_all(parts, send, bucket.cuts, operation),
                          flat.slice(bucket.cuts[rank], own), parts, slot, false});
}

void Collective::finish_reduce(const Bucket& bucket) {
  if (alone()) return;
  State& s = *state_;
  const auto at = find_flight(s.reductions, bucket);
  const bool started = at != s.reductions.end();
  CHECK(started);
  s.complete(*at);
  s.reductions.erase(at);
}

void Collective::start_gather(Tensor arena, const Bucket& bucket) {
  if (alone()) return;
  State& s = *state_;
  const Tensor data = arena.reshape({arena.size()}).slice(bucket.begin(), bucket.size());
  const auto rank = static_cast<std::size_t>(world().rank);
  s.bytes_sent += (bucket.cuts[rank + 1] - bucket.cuts[rank]) * bytes_of(data.type()) * (world().size - 1);
  const Operation operation = s.next("all-gather", bucket.index);
  s.gathers.push_back({Key(bucket), s.transport->all_gather(data, bucket.cuts, operation)});
}

void Collective::finish_gather(const Bucket& bucket) {
  if (alone()) return;
  State& s = *state_;
  const auto at = find_flight(s.gathers, bucket);
  const bool started = at != s.gathers.end();
  CHECK(started);
  s.transport->wait(at->ticket);
  s.gathers.erase(at);
}

std::int64_t Collective::bytes_sent() const { return state_->bytes_sent; }

void Collective::progress() { state_->transport->progress(); }

void Collective::broadcast(Tensor tensor, int root) {
  if (alone()) return;
  Transport& transport = *state_->transport;
  transport.wait(transport.broadcast(tensor, root, state_->next("broadcast")));
}

void Collective::barrier(const char* name) {
  if (alone()) return;
  const std::uint8_t here = 1;
  state_->transport->exchange({&here, 1}, state_->next(name));
}

std::vector<std::string> Collective::exchange(const std::string& mine, const char* name) {
  if (alone()) return {mine};
  return exchange_texts(*state_->transport, mine, state_->next(name));
}

Agreement Collective::control(ControlWord mine) {
  static_assert(std::is_trivially_copyable_v<ControlWord>);
  static_assert(sizeof(ControlWord) == 88, "ranks exchange its bytes: there must be no padding");
  State& s = *state_;
  const Operation operation = s.next("control");
  mine.sequence = s.sequence;
  Agreement all;
  all.words = {mine};
  if (!alone()) {
    const auto* const bytes = reinterpret_cast<const std::uint8_t*>(&mine);
    const std::vector<std::uint8_t> words = s.transport->exchange({bytes, sizeof mine}, operation);
    all.words.resize(words.size() / sizeof mine);
    std::memcpy(all.words.data(), words.data(), words.size());
    if (!difference(all.words, {}).empty()) {
      // All ranks have come to this, so one more exchange tells the hosts.
      const std::vector<std::string> hosts = exchange_texts(*s.transport, world().host, {"names", s.step, -1});
      throw AgreedError(Exit::peer_lost, difference(all.words, hosts), "resume from the last checkpoint");
    }
  }
  for (const ControlWord& word : all.words) {
    all.stop = all.stop || word.stop != 0;
    all.finite = all.finite && word.finite != 0;
    for (std::size_t i = 0; i < std::size(all.sums); ++i) all.sums[i] += word.sums[i];
  }
  return all;
}

void Collective::together(const char* name, const std::function<void()>& work) {
  ++state_->sequence;
  nll::together(*state_->transport, name, work);
}

void Collective::abort(Exit exit) noexcept { state_->transport->abort(exit); }

}  // namespace nll
