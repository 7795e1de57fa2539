#include "src/optim/zero1.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace nll {

namespace {

constexpr std::int64_t block = Ops::norm_block;

std::int64_t blocks_of(std::int64_t elements) { return (elements + block - 1) / block; }

ModelConfig model(std::int64_t layers, std::int64_t width, std::int64_t vocabulary, std::int64_t context) {
  ModelConfig config;
  config.layers = layers;
  config.heads = 1;
  config.width = width;
  config.context = context;
  config.vocabulary = vocabulary;
  return config;
}

struct Case {
  ModelConfig model;
  ParameterTable table;
  std::int64_t ranks, bytes;
  std::vector<GradientBucket> buckets;
};

// Models from less than one block to 1.6 billion parameters, two of them with a scalar head; more ranks than blocks;
// buckets of any size.
void in_every_case(const std::function<void(const Case&)>& body) {
  for (const ModelConfig& m : {model(1, 8, 16, 4), model(3, 8, 50, 8), model(2, 64, 300, 32), model(6, 48, 257, 16),
                               model(12, 768, 50257, 1024), model(48, 1600, 50257, 1024)}) {
    const ParameterTable table = ParameterTable::gpt2(m, m.width == 64 || m.width == 48);
    for (const std::int64_t ranks : {1, 2, 3, 4, 5, 7, 8, 64, 257}) {
      for (const std::int64_t bytes :
           {std::int64_t{0}, std::int64_t{1} << 14, std::int64_t{1} << 24, std::int64_t{1} << 40}) {
        SCOPED_TRACE(fmt::format("{} layers of width {}, {} ranks, {} bytes", m.layers, m.width, ranks, bytes));
        body({m, table, ranks, bytes, gradient_buckets(table, m.layers, ranks, bytes)});
      }
    }
  }
}

// The layer with which a parameter's gradient is complete; -1: the embedding.
std::int64_t layer_of(const ParameterSpec& spec, std::int64_t layers) {
  const std::string head = "transformer.h.";
  if (spec.name.starts_with(head)) return std::stoll(spec.name.substr(head.size()));
  return spec.name.starts_with("transformer.ln_f") || spec.name == scalar_head_name ? layers : -1;
}

}  // namespace

TEST(GradientBuckets, CoverTheArenaOnceFromItsEndToItsStart) {
  in_every_case([](const Case& c) {
    std::int64_t end = c.table.stored_elements();
    for (std::size_t k = 0; k < c.buckets.size(); ++k) {
      const Bucket& bucket = c.buckets[k].bucket;
      EXPECT_EQ(bucket.index, static_cast<std::int64_t>(k));
      ASSERT_EQ(bucket.cuts.size(), static_cast<std::size_t>(c.ranks) + 1);
      EXPECT_TRUE(std::is_sorted(bucket.cuts.begin(), bucket.cuts.end()));
      EXPECT_EQ(bucket.end(), end);
      EXPECT_GT(bucket.size(), 0);
      end = bucket.begin();
    }
    EXPECT_EQ(end, 0);
  });
}

TEST(GradientBuckets, AreCutAtBlocksOfTheNorm) {
  in_every_case([](const Case& c) {
    for (const GradientBucket& b : c.buckets) {
      for (const std::int64_t cut : b.bucket.cuts)
        EXPECT_TRUE(cut % block == 0 || cut == c.table.stored_elements()) << cut;
    }
  });
}

TEST(GradientBuckets, ArePartedEvenlyUpToABlock) {
  in_every_case([](const Case& c) {
    for (const GradientBucket& b : c.buckets) {
      const std::int64_t blocks = blocks_of(b.bucket.size());
      for (std::size_t r = 0; r + 1 < b.bucket.cuts.size(); ++r) {
        const std::int64_t mine = blocks_of(b.bucket.cuts[r + 1] - b.bucket.cuts[r]);
        EXPECT_GE(mine, blocks / c.ranks);
        EXPECT_LE(mine, (blocks + c.ranks - 1) / c.ranks);
      }
    }
  });
}

// No bucket holds a gradient that the backward pass writes after the bucket is said to be ready.
TEST(GradientBuckets, AreReadyOnlyWhenEveryGradientInThemIs) {
  in_every_case([](const Case& c) {
    std::int64_t before = c.model.layers;
    for (const GradientBucket& b : c.buckets) {
      EXPECT_EQ(b.embedding, &b == &c.buckets.back());
      EXPECT_LE(b.first_layer, before);
      before = b.first_layer;
      if (b.embedding) {
        EXPECT_EQ(b.first_layer, 0);
        continue;
      }
      for (const ParameterSpec& spec : c.table.specs()) {
        if (spec.offset >= b.bucket.end() || spec.offset + spec.stored_size() <= b.bucket.begin()) continue;
        EXPECT_GE(layer_of(spec, c.model.layers), b.first_layer) << spec.name;
      }
    }
  });
}

TEST(GradientBuckets, AreAsLargeAsAskedButTheLast) {
  in_every_case([](const Case& c) {
    for (const GradientBucket& b : c.buckets) {
      if (!b.embedding) {
        EXPECT_GE(b.bucket.size() * 4, c.bytes);
      }
    }
  });
}

TEST(GradientBuckets, HoldOneLayerEachWhereALayerIsLargeEnough) {
  const auto buckets = gradient_buckets(ParameterTable::gpt2(model(12, 768, 50257, 1024)), 12, 8, 16 << 20);
  ASSERT_EQ(buckets.size(), 13u);
  for (std::size_t k = 0; k < 12; ++k) EXPECT_EQ(buckets[k].first_layer, 11 - static_cast<std::int64_t>(k));
  EXPECT_TRUE(buckets.back().embedding);
}

TEST(GradientBuckets, OfOneRankAreOne) {
  in_every_case([](const Case& c) {
    if (c.ranks != 1) return;
    ASSERT_EQ(c.buckets.size(), 1u);
    EXPECT_TRUE(c.buckets[0].embedding);
    EXPECT_EQ(c.buckets[0].bucket.cuts, (std::vector<std::int64_t>{0, c.table.stored_elements()}));
  });
}

TEST(OwnedSpans, OfAllRanksCoverTheArenaOnceAndPackTheirMomentsWithoutGaps) {
  in_every_case([](const Case& c) {
    std::vector<OwnedSpan> all;
    for (std::int64_t rank = 0; rank < c.ranks; ++rank) {
      const std::vector<OwnedSpan> own = owned_spans(c.buckets, rank);
      std::int64_t offset = 0, before = -1;
      for (const OwnedSpan& span : own) {
        EXPECT_GT(span.size(), 0);
        EXPECT_GT(span.begin, before);  // neighbours are joined
        EXPECT_EQ(span.offset, offset);
        offset += span.size();
        before = span.end;
      }
      EXPECT_EQ(elements_of(own), offset);
      all.insert(all.end(), own.begin(), own.end());
    }
    std::sort(all.begin(), all.end(), [](const OwnedSpan& a, const OwnedSpan& b) { return a.begin < b.begin; });
    std::int64_t end = 0;
    for (const OwnedSpan& span : all) {
      EXPECT_EQ(span.begin, end);
      end = span.end;
    }
    EXPECT_EQ(end, c.table.stored_elements());
  });
}

TEST(OwnedSpans, OfOneRankAreEverything) {
  const ParameterTable table = ParameterTable::gpt2(model(2, 64, 300, 32));
  for (const auto& own : {owned_spans(gradient_buckets(table, 2, 1, 0), 0), everything(table)}) {
    ASSERT_EQ(own.size(), 1u);
    EXPECT_EQ(own[0].begin, 0);
    EXPECT_EQ(own[0].end, table.stored_elements());
    EXPECT_EQ(own[0].offset, 0);
  }
}

TEST(OwnedSpans, AreNoneOfARankWithoutABlock) {
  const ParameterTable table = ParameterTable::gpt2(model(1, 8, 16, 4));
  ASSERT_LT(table.stored_elements(), block);
  const auto buckets = gradient_buckets(table, 1, 5, 0);
  std::int64_t owners = 0;
  for (std::int64_t rank = 0; rank < 5; ++rank) owners += owned_spans(buckets, rank).empty() ? 0 : 1;
  EXPECT_EQ(owners, 1);
  EXPECT_EQ(elements_of({}), 0);
}

// Who owns a block's elements owns its sum of squares: no block is split.
TEST(SquaresBucket, GivesEachBlockToTheOwnerOfItsElements) {
  in_every_case([](const Case& c) {
    std::int64_t end = blocks_of(c.table.stored_elements());
    for (const GradientBucket& b : c.buckets) {
      const Bucket squares = squares_bucket(b.bucket);
      EXPECT_EQ(squares.index, b.bucket.index);
      ASSERT_EQ(squares.cuts.size(), b.bucket.cuts.size());
      EXPECT_EQ(squares.end(), end);
      for (std::size_t r = 0; r < squares.cuts.size(); ++r) {
        EXPECT_EQ(std::min(squares.cuts[r] * block, c.table.stored_elements()), b.bucket.cuts[r]);
      }
      end = squares.begin();
    }
    EXPECT_EQ(end, 0);
  });
}

}  // namespace nll
