#include "tests/dist_mpi/messages.h"

#include <vector>

namespace nll {
namespace {

using Cuts = std::vector<std::int64_t>;

// What rank `from` has at `position` of a tensor in operation `round`: never 0.
std::uint8_t byte_of(int from, std::int64_t position, int round) {
  const std::uint64_t mixed = (static_cast<std::uint64_t>(position) * 31 + static_cast<std::uint64_t>(from) * 7919 +
                               static_cast<std::uint64_t>(round) * 104729) *
                              0x9e3779b97f4a7c15u;
  return static_cast<std::uint8_t>(1 + (mixed >> 56) % 255);
}

std::vector<std::uint8_t> bytes_from(int from, std::int64_t begin, std::int64_t count, int round) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) bytes[static_cast<std::size_t>(i)] = byte_of(from, begin + i, round);
  return bytes;
}

void require_bytes(const std::uint8_t* got, int from, std::int64_t begin, std::int64_t count, int round) {
  for (std::int64_t i = 0; i < count; ++i) {
    CHECK(static_cast<int>(got[i]) == static_cast<int>(byte_of(from, begin + i, round)));
  }
}

std::vector<Cuts> ways_to_cut(int ranks, std::int64_t elements) {
  Cuts equal{64}, uneven{0}, first_only{7}, last_only{0}, nothing{5};
  for (int r = 0; r < ranks; ++r) {
    equal.push_back(equal.back() + elements / ranks);
    uneven.push_back(uneven.back() + (r % 2 == 1 ? 0 : elements * (r + 1) / 3 + r));
    first_only.push_back(first_only.back() + (r == 0 ? elements : 0));
    last_only.push_back(last_only.back() + (r == ranks - 1 ? elements : 0));
    nothing.push_back(nothing.back());
  }
  return {equal, uneven, first_only, last_only, nothing};
}

// A tensor of one operation on this rank, and what must be in it after the operation.
struct Exchanged {
  Cuts cuts;
  std::int64_t element = 1;
  int round = 0;
  std::vector<std::uint8_t> send, received, gathered;

  std::int64_t begin(int r) const { return (cuts[static_cast<std::size_t>(r)] - cuts[0]) * element; }
  std::int64_t bytes(int r) const { return begin(r + 1) - begin(r); }
  std::int64_t total() const { return cuts.back() - cuts.front(); }
};

Exchanged prepare(const Transport& transport, const Cuts& cuts, DType type, int round) {
  const World& world = transport.world();
  Exchanged all{cuts, bytes_of(type), round, {}, {}, {}};
  all.send = bytes_from(world.rank, 0, all.total() * all.element, round);
  all.received.assign(static_cast<std::size_t>(world.size * all.bytes(world.rank)), 0);
  all.gathered.assign(static_cast<std::size_t>(all.total() * all.element), 0);
  const auto own = bytes_from(world.rank, all.begin(world.rank), all.bytes(world.rank), round);
  std::copy(own.begin(), own.end(), all.gathered.begin() + all.begin(world.rank));
  return all;
}

Transport::Ticket start_all_to_all(Transport& transport, Exchanged& all, DType type) {
  const World& world = transport.world();
  return transport.all_to_all(Tensor(all.received.data(), type, {world.size, all.bytes(world.rank) / all.element}),
                              Tensor(all.send.data(), type, {all.total()}), all.cuts, {"reduce-scatter", 0, all.round});
}

Transport::Ticket start_all_gather(Transport& transport, Exchanged& all, DType type) {
  return transport.all_gather(Tensor(all.gathered.data(), type, {all.total()}), all.cuts, {"all-gather", 0, all.round});
}

void require_arrived(const Transport& transport, const Exchanged& all) {
  const World& world = transport.world();
  const std::int64_t own = all.bytes(world.rank);
  for (int r = 0; r < world.size; ++r) {
    require_bytes(all.received.data() + r * own, r, all.begin(world.rank), own, all.round);
    require_bytes(all.gathered.data() + all.begin(r), r, all.begin(r), all.bytes(r), all.round);
  }
}

}  // namespace

void check_operations(Transport& transport, std::int64_t elements) {
  const World& world = transport.world();
  int round = 0;
  for (DType type : {DType::f32, DType::bf16, DType::u8}) {
    for (const Cuts& cuts : ways_to_cut(world.size, elements)) {
      Exchanged all = prepare(transport, cuts, type, ++round);
      transport.wait(start_all_to_all(transport, all, type));
      transport.wait(start_all_gather(transport, all, type));
      require_arrived(transport, all);
    }
    for (int root = 0; root < world.size; ++root) {
      ++round;
      const std::int64_t bytes = elements * bytes_of(type);
      auto data = world.rank == root ? bytes_from(root, 0, bytes, round)
                                     : std::vector<std::uint8_t>(static_cast<std::size_t>(bytes));
      const auto ticket = transport.broadcast(Tensor(data.data(), type, {elements}), root, {"broadcast"});
      transport.wait(ticket);
      transport.wait(ticket);  // once more is nothing
      require_bytes(data.data(), root, 0, bytes, round);
    }
  }
  for (std::int64_t length : {std::int64_t{0}, std::int64_t{1}, std::int64_t{4097}, elements}) {
    ++round;
    const auto all = transport.exchange(bytes_from(world.rank, 0, length, round), {"control", round});
    CHECK(static_cast<std::int64_t>(all.size()) == length * world.size);
    for (int r = 0; r < world.size; ++r) require_bytes(all.data() + r * length, r, 0, length, round);
  }
}

void check_in_flight(Transport& transport, std::int64_t elements) {
  const auto cuts = ways_to_cut(transport.world().size, elements);
  std::vector<Exchanged> all;
  for (int i = 0; i < 3; ++i) {
    all.push_back(prepare(transport, cuts[static_cast<std::size_t>(i)], DType::f32, 100 + i));
  }
  std::vector<Transport::Ticket> scattered, gathered;
  for (Exchanged& one : all) {
    scattered.push_back(start_all_to_all(transport, one, DType::f32));
    transport.progress();
    gathered.push_back(start_all_gather(transport, one, DType::f32));
  }
  for (int i = 0; i < 1000; ++i) transport.progress();
  // A small operation is not held up by those before it.
  const std::uint8_t mine = byte_of(transport.world().rank, 0, 1);
  const auto told = transport.exchange(std::span(&mine, 1), {"control", 0});
  for (int r = 0; r < transport.world().size; ++r) require_bytes(&told[static_cast<std::size_t>(r)], r, 0, 1, 1);
  for (int i : {1, 2, 0}) {
    transport.wait(gathered[static_cast<std::size_t>(i)]);
    transport.wait(scattered[static_cast<std::size_t>(i)]);
  }
  for (const Exchanged& one : all) require_arrived(transport, one);
}

}  // namespace nll
