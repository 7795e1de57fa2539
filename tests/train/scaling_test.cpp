#include "src/train/scaling.h"

#include <gtest/gtest.h>

namespace nll {
namespace {

// 4 ranks on 2 hosts; inside 1 us and 100 GB/s, outside 10 us and 10 GB/s.
Interconnect two_hosts() { return {2, {1e-6, 100e9}, {10e-6, 10e9}}; }

// Three buckets of 1, 2 and 3 million elements.
ScalingRequest request() {
  ScalingRequest made;
  made.ranks = 4;
  made.buckets = {1'000'000, 2'000'000, 3'000'000};
  made.micro_batches = 2;
  made.forward = 1e-3;
  made.backward = 2e-3;
  made.update = 4e-3;
  return made;
}

TEST(Scaling, AnOperationTakesTheTimeOfTheSlowerWires) {
  // Outside: 2 messages of 1 MB: 2 x 10 us + 2 MB / 10 GB/s = 220 us. Inside: 1 us + 1 MB / 100 GB/s = 11 us.
  EXPECT_DOUBLE_EQ(operation_seconds(two_hosts(), 4, 4e6), 220e-6);
  // On one host only the wires inside.
  EXPECT_DOUBLE_EQ(operation_seconds(two_hosts(), 2, 4e6), 1e-6 + 2e6 / 100e9);
  EXPECT_EQ(operation_seconds(two_hosts(), 1, 4e6), 0);
  // Where the wires outside are the faster ones: 1 us + 1 MB / 1 GB/s.
  EXPECT_DOUBLE_EQ(operation_seconds({2, {1e-6, 1e9}, {1e-6, 100e9}}, 4, 4e6), 1e-6 + 1e-3);
}

TEST(Scaling, AnExchangeTakesRounds) {
  EXPECT_EQ(exchange_seconds(two_hosts(), 1), 0);
  EXPECT_DOUBLE_EQ(exchange_seconds(two_hosts(), 2), 1e-6);
  EXPECT_DOUBLE_EQ(exchange_seconds(two_hosts(), 4), 20e-6);
  EXPECT_DOUBLE_EQ(exchange_seconds(two_hosts(), 5), 30e-6);
}

TEST(Scaling, VolumeIsAllButTheOwnPart) {
  const Volume v = volume(request(), two_hosts());
  EXPECT_DOUBLE_EQ(v.gradients, 18e6);  // 3/4 of 24 MB
  EXPECT_DOUBLE_EQ(v.weights, 18e6);
  EXPECT_DOUBLE_EQ(v.gradients_outside, 12e6);
  ScalingRequest halved = request();
  halved.wire_bytes = 2;
  EXPECT_DOUBLE_EQ(volume(halved, two_hosts()).gradients, 9e6);
  EXPECT_DOUBLE_EQ(volume(halved, two_hosts()).weights, 18e6);
}

TEST(Scaling, AStepWaitsForTheLastBucketAndForWhatThePassesDoNotCover) {
  const Scaling s = scaling(request(), two_hosts());
  // Buckets: 20 us + 2, 4 and 6 MB / 10 GB/s: 220, 420 and 620 us.
  EXPECT_DOUBLE_EQ(s.reduce, 1260e-6);
  EXPECT_DOUBLE_EQ(s.gather, 1260e-6);
  EXPECT_DOUBLE_EQ(s.exposed_reduce, 620e-6);  // 640 us are less than the backward pass
  EXPECT_DOUBLE_EQ(s.exposed_gather, 620e-6);
  // Half of 8 bytes for each 4096 elements, and of 16 bytes, go outside; 4 operations of 2 messages.
  EXPECT_NEAR(s.norm, 4 * 20e-6 + (6e6 / 4096 * 8 + 16) / 2 / 10e9, 1e-15);
  EXPECT_DOUBLE_EQ(s.control, 3 * 20e-6);
  EXPECT_DOUBLE_EQ(s.compute, 6e-3 + 1e-3);
  EXPECT_DOUBLE_EQ(s.step(), s.compute + 1240e-6 + s.norm + 60e-6);
  EXPECT_DOUBLE_EQ(s.efficiency, (4 * 6e-3 + 4e-3) / (4 * s.step()));
}

TEST(Scaling, ShortPassesExposeTheRest) {
  ScalingRequest quick = request();
  quick.forward = 100e-6;
  quick.backward = 200e-6;
  const Scaling s = scaling(quick, two_hosts());
  EXPECT_DOUBLE_EQ(s.exposed_reduce, 620e-6 + 440e-6);
  EXPECT_DOUBLE_EQ(s.exposed_gather, 620e-6 + 540e-6);
}

TEST(Scaling, WithoutShardingGradientsComeBackAtOnceAndEachRankUpdatesAll) {
  ScalingRequest replicated = request();
  replicated.sharded = false;
  const Scaling s = scaling(replicated, two_hosts());
  EXPECT_DOUBLE_EQ(s.exposed_gather, 1260e-6);
  EXPECT_DOUBLE_EQ(s.compute, 6e-3 + 4e-3);
  EXPECT_DOUBLE_EQ(s.norm, 20e-6 + 8 / 10e9);
}

TEST(Scaling, OneRankWaitsForNobody) {
  ScalingRequest alone = request();
  alone.ranks = 1;
  const Scaling s = scaling(alone, two_hosts());
  EXPECT_EQ(s.waiting(), 0);
  EXPECT_EQ(s.efficiency, 1);
  EXPECT_EQ(volume(alone, two_hosts()).gradients, 0);
}

}  // namespace
}  // namespace nll
