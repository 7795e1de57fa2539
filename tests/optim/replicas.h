// Replicas: the ranks of a sharded update and a rank that owns everything, in one thread and on one device. Each has a
// whole arena of weights and gradients; what ranks would send each other is copied.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/philox.h"
#include "src/optim/adamw.h"

namespace nll::test {

class Replica {
 public:
  Replica(const Config& config, const ParameterTable& table, Backend& backend, const Numerics& numerics,
          std::vector<OwnedSpan> owned)
      : device_(*backend.device),
        weights_(device_.allocate(table.stored_elements() * 4)),
        gradients_(device_.allocate(table.stored_elements() * 4)),
        rounded_(device_.allocate(table.stored_elements() * bytes_of(numerics.compute))),
        elements_(table.stored_elements()),
        compute_(numerics.compute),
        optimizer(config, table, *backend.ops, device_, numerics, std::move(owned)) {}

  Tensor weights() const { return weights_.tensor(0, DType::f32, {elements_}); }
  Tensor gradients() const { return gradients_.tensor(0, DType::f32, {elements_}); }
  Tensor rounded() const { return compute_ == DType::f32 ? Tensor() : rounded_.tensor(0, compute_, {elements_}); }
  UpdateState state() const {
    UpdateState state;
    device_.download(&state, optimizer.state());
    return state;
  }

 private:
  Device& device_;
  Buffer weights_, gradients_, rounded_;
  std::int64_t elements_;
  DType compute_;

 public:
  AdamWOptimizer optimizer;
};

class Replicas {
 public:
  Replicas(const std::string& kind, const Config& config, const Numerics& numerics, std::int64_t ranks,
           std::int64_t bucket_bytes)
      : backend_(make_backend(kind, cpu_options(1))),
        table_(ParameterTable::gpt2(config.model)),
        buckets_(gradient_buckets(table_, config.model.layers, ranks, bucket_bytes)),
        whole_(config, table_, backend_, numerics, everything(table_)) {
    for (std::int64_t r = 0; r < ranks; ++r) {
      ranks_.push_back(std::make_unique<Replica>(config, table_, backend_, numerics, owned_spans(buckets_, r)));
    }
    const std::vector<float> weights = values(0, 0.5f);
    each([&](Replica& replica) { backend_.device->upload(replica.weights(), weights.data()); });
  }
  Replica& whole() { return whole_; }
  Replica& rank(std::size_t r) { return *ranks_[r]; }
  std::size_t ranks() const { return ranks_.size(); }
  std::size_t buckets() const { return buckets_.size(); }
  std::int64_t elements() const { return table_.stored_elements(); }

  // Numbers that differ from element to element, a function of `stream`.
  std::vector<float> values(std::uint64_t stream, float scale) const {
    std::vector<float> all(static_cast<std::size_t>(elements()));
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = scale * (2 * unit_float(philox(7, stream, i).word[0]) - 1);
    return all;
  }
  // One update of all by these gradients, at that learning rate.
  void update(const std::vector<float>& gradients, float learning_rate) {
    each([&](Replica& replica) {
      UpdateState state = replica.state();
      state.learning_rate = learning_rate;
      replica.optimizer.set_state(state);
      backend_.device->upload(replica.gradients(), gradients.data());
    });
    whole_.optimizer.update(whole_.weights(), whole_.rounded(), whole_.gradients());
    for (const auto& rank : ranks_) rank->optimizer.sum_squares(rank->gradients());
    for (const GradientBucket& bucket : buckets_) {
      gather(squares_bucket(bucket.bucket), [](Replica& replica) { return replica.optimizer.squares(); });
    }
    for (const auto& rank : ranks_) rank->optimizer.apply(rank->weights(), rank->rounded(), rank->gradients());
    for (const GradientBucket& bucket : buckets_) {
      gather(bucket.bucket, [](Replica& replica) { return replica.weights(); });
    }
  }
  // All weights, and of each rank its own rounded weights and moments, are bit for bit those of the whole.
  void expect_equal() {
    for (std::size_t r = 0; r < ranks(); ++r) {
      SCOPED_TRACE("rank " + std::to_string(r));
      Replica& mine = rank(r);
      EXPECT_TRUE(same(mine.weights(), whole_.weights()));
      const UpdateState found = mine.state(), expected = whole_.state();
      EXPECT_EQ(std::memcmp(&found, &expected, sizeof found), 0);
      for (const OwnedSpan& own : mine.optimizer.owned()) {
        const auto equal = [&](Tensor packed, Tensor all) {
          return same(packed.slice(own.offset, own.size()), all.slice(own.begin, own.size()));
        };
        EXPECT_TRUE(equal(mine.optimizer.first_moment(), whole_.optimizer.first_moment()));
        EXPECT_TRUE(equal(mine.optimizer.second_moment(), whole_.optimizer.second_moment()));
        if (!mine.rounded().empty()) {
          EXPECT_TRUE(same(mine.rounded().slice(own.begin, own.size()), whole_.rounded().slice(own.begin, own.size())));
        }
      }
    }
  }

 private:
  template <class Body>
  void each(const Body& body) {
    body(whole_);
    for (const auto& rank : ranks_) body(*rank);
    backend_.device->synchronize();
  }
  template <class ArenaOf>
  void gather(const Bucket& bucket, const ArenaOf& arena_of) {
    for (std::size_t from = 0; from < ranks(); ++from) {
      const std::int64_t begin = bucket.cuts[from], count = bucket.cuts[from + 1] - begin;
      for (std::size_t to = 0; to < ranks(); ++to) {
        if (to == from || count == 0) continue;
        backend_.device->copy(arena_of(*ranks_[to]).slice(begin, count), arena_of(*ranks_[from]).slice(begin, count));
      }
    }
  }
  bool same(Tensor a, Tensor b) {
    std::vector<char> x(static_cast<std::size_t>(a.bytes())), y(static_cast<std::size_t>(b.bytes()));
    backend_.device->download(x.data(), a);
    backend_.device->download(y.data(), b);
    return x == y;
  }

  Backend backend_;
  ParameterTable table_;
  std::vector<GradientBucket> buckets_;
  Replica whole_;
  std::vector<std::unique_ptr<Replica>> ranks_;
};

}  // namespace nll::test
