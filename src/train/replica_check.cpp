#include "src/train/replica_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "src/checkpoint/hash.h"
#include "src/dist/agreement.h"

namespace nll {

namespace {

constexpr std::int64_t piece_bytes = std::int64_t{16} << 20;

Tensor as_bytes(Tensor tensor) { return {tensor.data(), DType::u8, {tensor.bytes()}}; }

// Hashes one piece while the next one comes from the device.
void hash_pieces(Device& device, Tensor bytes, Hash128& hash) {
  const std::int64_t size = bytes.size(), pieces = (size + piece_bytes - 1) / piece_bytes;
  const auto piece = [&](std::int64_t i) {
    return bytes.slice(i * piece_bytes, std::min(piece_bytes, size - i * piece_bytes));
  };
  struct Slot {
    Buffer memory;
    std::uint64_t mark = 0;
  };
  std::array<Slot, 2> slots;
  for (Slot& slot : slots) slot.memory = device.allocate_host(std::min(piece_bytes, size));
  const auto fetch = [&](std::int64_t i) {
    Slot& slot = slots[static_cast<std::size_t>(i % 2)];
    device.download_later(slot.memory.data(), piece(i));
    slot.mark = device.mark();
  };
  fetch(0);
  for (std::int64_t i = 0; i < pieces; ++i) {
    if (i + 1 < pieces) fetch(i + 1);
    const Slot& slot = slots[static_cast<std::size_t>(i % 2)];
    device.wait(slot.mark);
    hash.update(slot.memory.data(), piece(i).bytes());
  }
}

std::string names_of(const std::vector<std::string>& names) {
  constexpr std::size_t most = 8;
  if (names.size() <= most) return fmt::format("{}", fmt::join(names, ", "));
  return fmt::format("{} and {} more", fmt::join(names.begin(), names.begin() + most, ", "), names.size() - most);
}

}  // namespace

std::string hash_of(Device& device, Tensor tensor) {
  Hash128 hash;
  if (device.info().asynchronous) {
    if (tensor.bytes() > 0) hash_pieces(device, as_bytes(tensor), hash);
  } else {
    hash.update(tensor.data(), tensor.bytes());
  }
  return hash.digest();
}

std::optional<std::string> difference(const std::vector<Replica>& replicas) {
  // In the order of their first rank, then the largest first.
  std::vector<std::pair<std::string, std::vector<std::string>>> sides;
  for (const Replica& replica : replicas) {
    auto side = std::find_if(sides.begin(), sides.end(), [&](const auto& of) { return of.first == replica.hash; });
    if (side == sides.end()) side = sides.insert(sides.end(), {replica.hash, {}});
    side->second.push_back(replica.name);
  }
  if (sides.size() <= 1) return std::nullopt;
  std::stable_sort(sides.begin(), sides.end(),
                   [](const auto& x, const auto& y) { return x.second.size() > y.second.size(); });
  const auto& [most_hash, most] = sides[0];
  if (most.size() > sides[1].second.size()) {
    std::vector<std::string> odd;
    for (const Replica& replica : replicas) {
      if (replica.hash != most_hash) odd.push_back(replica.name);
    }
    return fmt::format("the weights of {} are not those of the other {} ranks", names_of(odd), most.size());
  }
  std::vector<std::string> lists;
  for (const auto& side : sides) lists.push_back(names_of(side.second));
  if (lists.size() > 4)
    return fmt::format("the weights of the {} ranks are of {} kinds, and none has a majority", replicas.size(),
                       lists.size());
  return fmt::format("the weights of {} differ, and none has a majority", fmt::join(lists, " and of "));
}

void check_replicas(Collective& collective, Device& device, Tensor weights, std::int64_t step) {
  if (collective.alone()) return;
  const std::string name = rank_name(collective.world());
  const std::vector<std::string> answers =
      collective.exchange(hash_of(device, weights) + " " + name, "comparison of replicas");
  std::vector<Replica> replicas;
  for (const std::string& answer : answers) {
    const std::size_t end = answer.find(' ');
    replicas.push_back({answer.substr(end + 1), answer.substr(0, end)});
  }
  const std::optional<std::string> found = difference(replicas);
  if (!found) return;
  throw AgreedError(
      Exit::diverged, fmt::format("replicas at step {}: {}", step, *found),
      "the memory or processor of that host may be faulty: go on without it, from a checkpoint that is not "
      "newer than the last comparison before this one (--resume PATH)");
}

}  // namespace nll
