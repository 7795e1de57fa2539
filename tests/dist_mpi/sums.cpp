#include <cmath>
#include <cstring>
#include <vector>

#include "src/dist/collective.h"
#include "tests/dist_mpi/messages.h"

namespace nll {
namespace {

constexpr std::int64_t elements = 100'003, buckets = 3;

// What rank r adds: of very different size, so that the order of a sum shows in its bits.
float addend(int rank, std::int64_t i) {
  const auto mixed = static_cast<std::uint32_t>(i * 2654435761 + rank * 40503);
  return std::ldexp(1.0f + static_cast<float>(mixed >> 9) * 0x1p-23f, static_cast<int>(mixed % 17) - 12) *
         (mixed % 3 == 0 ? -1.0f : 1.0f);
}

Bucket bucket_of(std::int64_t index, int ranks) {
  const std::int64_t begin = elements * index / buckets, end = elements * (index + 1) / buckets;
  Bucket bucket{index, {}};
  for (int r = 0; r <= ranks; ++r) bucket.cuts.push_back(begin + (end - begin) * r / ranks);
  return bucket;
}

}  // namespace

void check_sums(std::shared_ptr<Transport> transport) {
  const int ranks = transport->world().size, rank = transport->world().rank;
  Backend backend = make_backend("cpu", cpu_options(1));
  Collective::Settings settings;
  settings.largest_bucket = elements / buckets + 1;
  settings.largest_part = settings.largest_bucket;
  Collective collective(std::move(transport), *backend.device, *backend.ops, settings);
  const Buffer memory = backend.device->allocate(elements * static_cast<std::int64_t>(sizeof(float)));
  const Tensor arena = memory.tensor(0, DType::f32, {elements});
  float* const values = arena.as<float>();

  for (std::int64_t step = 1; step <= 3; ++step) {
    collective.set_step(step);
    for (std::int64_t i = 0; i < elements; ++i) values[i] = addend(rank, i + step);
    for (std::int64_t b = buckets; b-- > 0;) {
      collective.start_reduce(arena, bucket_of(b, ranks));
      collective.progress();
    }
    for (std::int64_t b = buckets; b-- > 0;) collective.finish_reduce(bucket_of(b, ranks));
    for (std::int64_t b = 0; b < buckets; ++b) collective.start_gather(arena, bucket_of(b, ranks));
    for (std::int64_t b = 0; b < buckets; ++b) collective.finish_gather(bucket_of(b, ranks));
    for (std::int64_t i = 0; i < elements; ++i) {
      float sum = addend(0, i + step);
      for (int r = 1; r < ranks; ++r) sum += addend(r, i + step);
      CHECK(values[i] == sum);
    }
    ControlWord mine;
    mine.step = step;
    mine.sums[0] = 100 + rank;
    mine.stop = rank == ranks - 1 && step == 3 ? 1 : 0;
    const Agreement agreement = collective.control(mine);
    CHECK(agreement.sums[0] == 100.0 * ranks + ranks * (ranks - 1) / 2);
    CHECK(agreement.stop == (step == 3));
    CHECK(agreement.finite);
  }
}

}  // namespace nll
