// What the tests of Collective share: a rank with a CPU and an arena, the numbers in it, and sums over ranks from start
// to end.
#pragma once
#include <cstring>
#include <random>
#include <vector>

#include "src/dist/collective.h"
#include "tests/dist/ranks.h"

namespace nll::test {

// A rank's backend and its Collective.
struct RankMachine {
  Backend backend;
  Collective collective;
  std::vector<Buffer> buffers{};

  RankMachine(std::shared_ptr<Transport> transport, const Collective::Settings& settings)
      : backend(make_backend("cpu", cpu_options(1))),
        collective(std::move(transport), *backend.device, *backend.ops, settings) {}

  template <class T>
  Tensor put(const std::vector<T>& values) {
    const auto n = static_cast<std::int64_t>(values.size());
    buffers.push_back(backend.device->allocate(std::max<std::int64_t>(64, n * static_cast<std::int64_t>(sizeof(T)))));
    const Tensor tensor = buffers.back().tensor(0, DTypeOf<T>::value, {n});
    if (n > 0) backend.device->upload(tensor, values.data());
    return tensor;
  }
};

template <class T>
std::vector<T> values_of(const Tensor& tensor) {
  const T* data = tensor.as<T>();
  return {data, data + tensor.size()};
}

inline std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits(values.size());
  if (!values.empty()) std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

// What rank r adds: numbers of very different size, so that the order of a sum shows in its bits.
inline std::vector<float> addends(int rank, std::int64_t n) {
  std::mt19937 random(static_cast<unsigned>(rank) + 1);
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<int> exponent(-12, 4);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = std::ldexp(normal(random), exponent(random));
  return values;
}

inline Bucket even_bucket(std::int64_t index, std::int64_t begin, std::int64_t end, int ranks) {
  Bucket bucket{index, {}};
  for (int r = 0; r <= ranks; ++r) bucket.cuts.push_back(begin + (end - begin) * r / ranks);
  return bucket;
}

// Buckets that end at these positions, in the order of training: from the end to the start.
inline std::vector<Bucket> even_buckets(std::vector<std::int64_t> ends, int ranks) {
  std::vector<Bucket> buckets;
  for (std::size_t i = ends.size(); i-- > 0;) {
    buckets.push_back(even_bucket(static_cast<std::int64_t>(buckets.size()), i == 0 ? 0 : ends[i - 1], ends[i], ranks));
  }
  return buckets;
}

// The sums over ranks of `mine(rank)` bucket by bucket, all parts, which must be the same bits on all ranks.
inline std::vector<float> sum_over_ranks(const Transports& transports, const std::vector<Bucket>& buckets,
                                         const Collective::Settings& settings,
                                         const std::function<std::vector<float>(int)>& mine) {
  std::vector<std::vector<float>> sums(transports.size());
  expect_all_done(run_ranks(transports, [&](int rank, std::shared_ptr<Transport> transport) {
    RankMachine machine(std::move(transport), settings);
    Collective& collective = machine.collective;
    const Tensor arena = machine.put(mine(rank));
    for (const Bucket& bucket : buckets) collective.start_reduce(arena, bucket);
    for (const Bucket& bucket : buckets) collective.finish_reduce(bucket);
    for (const Bucket& bucket : buckets) collective.start_gather(arena, bucket);
    for (const Bucket& bucket : buckets) collective.finish_gather(bucket);
    sums[static_cast<std::size_t>(rank)] = values_of<float>(arena);
  }));
  for (std::size_t r = 1; r < sums.size(); ++r) EXPECT_EQ(bits_of(sums[r]), bits_of(sums[0])) << "rank " << r;
  return sums[0];
}

}  // namespace nll::test
