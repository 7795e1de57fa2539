// The gradient of every parameter of a whole model against central differences of a double-precision reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/philox.h"
#include "tests/model/reference.h"
#include "tests/model/rig.h"

namespace nll::test {
namespace {

constexpr std::int64_t B = 2, T = 6;

// Two sequences with an ignored target in each.
struct Text {
  explicit Text(const ModelConfig& model)
      : tokens(random_tokens(1, B * T, model.vocabulary)), targets(random_tokens(2, B * T, model.vocabulary)) {
    targets[3] = targets[T] = ignore_index;
  }
  std::vector<std::int32_t> tokens, targets;
  std::int64_t valid = B * T - 2;
};

// Rounding of a gradient relative to the largest one of its tensor: 8 L + 6 ops forward and as many back, each a sum of
// at most `terms` terms that is off by terms * epsilon / 2.
double tolerance(const ModelConfig& model) {
  const std::int64_t terms = std::max({4 * model.width, B * T, model.vocabulary});
  return static_cast<double>(2 * (8 * model.layers + 6) * terms) * std::numeric_limits<float>::epsilon() / 2;
}

void expect_gradients(Rig& rig, const Reference& reference, const Text& text, const Objective& objective,
                      const DropoutKey* key) {
  Gpt gpt(rig.model, rig.ops, rig.device, B, T, Pass::training);
  Head head(rig.model, rig.head, rig.ops, rig.device, B * T);
  rig.differentiate(gpt, head, text.tokens, text.targets, B, text.valid, Into::write, objective, key);
  const std::vector<float> gradient = rig.download(rig.gradients), weights = rig.download(rig.weights);
  std::vector<double> w(weights.begin(), weights.end());
  for (const ParameterSpec& spec : rig.table.specs()) {
    std::vector<double> expected;
    double largest = 0;
    for (std::int64_t i = 0; i < spec.size(); ++i) {
      double& x = w[static_cast<std::size_t>(spec.offset + i)];
      // Error h^2 L''' / 6 + epsilon L / h: far below FP32 in double.
      const double h = 1e-5, kept = x;
      x = kept + h;
      const double above = reference.loss(w, text.tokens, text.targets, B);
      x = kept - h;
      const double below = reference.loss(w, text.tokens, text.targets, B);
      x = kept;
      expected.push_back((above - below) / (2 * h));
      largest = std::max(largest, std::abs(expected.back()));
    }
    ASSERT_GT(largest, 1e-4) << spec.name << ": this text does not exercise it";
    for (std::int64_t i = 0; i < spec.size(); ++i) {
      ASSERT_NEAR(gradient[static_cast<std::size_t>(spec.offset + i)], expected[static_cast<std::size_t>(i)],
                  tolerance(rig.model) * largest)
          << spec.name << " element " << i;
    }
  }
}

// The factors of one dropout site, by the op that has nothing else in it: an embedding of ones.
std::vector<double> mask(Rig& rig, std::int64_t site, const DropoutKey& key) {
  const std::int64_t C = rig.model.width, rows = padded_vocabulary(rig.model.vocabulary);
  Dropout dropout;
  dropout.rate = static_cast<float>(rig.model.dropout);
  dropout.seed = key.seed;
  dropout.stream =
      random_stream(RandomPurpose::dropout, static_cast<std::uint64_t>(key.step * (2 * rig.model.layers + 1) + site));
  dropout.first_row = key.first_row;
  const Tensor x = rig.zeros({B, T, C});
  const std::vector<float> ones(static_cast<std::size_t>(rows * C), 1.0f);
  rig.ops.embedding(x, rig.upload(std::vector<std::int32_t>(B * T, 0), {B, T}), rig.upload(ones, {rows, C}),
                    rig.zeros({rig.model.context, C}), 0, dropout);
  const std::vector<float> factors = rig.download(x);
  return {factors.begin(), factors.end()};
}

TEST(Gradient, OfEveryParameterEqualsCentralDifferencesInDouble) {
  Rig rig(tiny_model());
  rig.randomize(11);
  expect_gradients(rig, Reference{rig.model, rig.table}, Text(rig.model), {}, nullptr);
}

TEST(Gradient, OfLabelSmoothingZLossAndSoftcapEqualsCentralDifferencesInDouble) {
  HeadConfig head;
  head.softcap = 2;
  head.chunk_tokens = 5;
  Rig rig(tiny_model(), head);
  rig.randomize(12);
  Reference reference{rig.model, rig.table};
  reference.softcap = 2;
  reference.label_smoothing = 0.1;
  reference.z_loss = 0.01;
  expect_gradients(rig, reference, Text(rig.model), {0.1, 0.01}, nullptr);
}

TEST(Gradient, WithDropoutEqualsCentralDifferencesUnderTheSameMasks) {
  ModelConfig model = tiny_model();
  model.dropout = 0.25;
  Rig rig(model);
  rig.randomize(13);
  const DropoutKey key{7, 3, 4 * T};
  Reference reference{rig.model, rig.table};
  for (std::int64_t site = 0; site <= 2 * model.layers; ++site) {
    reference.masks.push_back(mask(rig, site, key));
    const std::vector<double>& factors = reference.masks.back();
    EXPECT_GT(std::count(factors.begin(), factors.end(), 0.0), 0);
    if (site == 0) continue;
    EXPECT_NE(factors, reference.masks[0]) << "site " << site;
  }
  expect_gradients(rig, reference, Text(rig.model), {}, &key);
}

TEST(Gradient, OfPaddedVocabularyRowsIsExactlyZero) {
  Rig rig(tiny_model());
  rig.randomize(14);
  const Text text(rig.model);
  Gpt gpt(rig.model, rig.ops, rig.device, B, T, Pass::training);
  Head head(rig.model, rig.head, rig.ops, rig.device, B * T);
  rig.differentiate(gpt, head, text.tokens, text.targets, B, text.valid, Into::write, {0.1, 0.01});
  const std::int64_t V = rig.model.vocabulary;
  ASSERT_GT(rig.g.wte.dim(0), V);
  for (float value : rig.download(rig.g.wte.slice(V, rig.g.wte.dim(0) - V))) EXPECT_EQ(value, 0.0f);
}

// Four sequences in one pass, and in two passes of two whose gradients add up.
void expect_split(double dropout) {
  ModelConfig model = tiny_model();
  model.dropout = dropout;
  Rig whole(model), split(model);
  whole.randomize(15);
  split.randomize(15);
  const std::vector<std::int32_t> tokens = random_tokens(3, 4 * T, model.vocabulary);
  std::vector<std::int32_t> targets = random_tokens(4, 4 * T, model.vocabulary);
  for (int i : {0, 1, 2, 9}) targets[static_cast<std::size_t>(i)] = ignore_index;  // the halves have unequal counts
  const std::int64_t valid = 4 * T - 4;
  Gpt gpt(model, whole.ops, whole.device, 4, T, Pass::training);
  Head head(model, whole.head, whole.ops, whole.device, 4 * T);
  const DropoutKey all{5, 9, 0};
  std::vector<float> logp = whole.differentiate(gpt, head, tokens, targets, 4, valid, Into::write, {}, &all);
  Gpt half_gpt(model, split.ops, split.device, 2, T, Pass::training);
  Head half_head(model, split.head, split.ops, split.device, 2 * T);
  std::vector<float> half_logp;
  for (int half = 0; half < 2; ++half) {
    const DropoutKey key{5, 9, half * 2 * T};
    const auto part = [&](const std::vector<std::int32_t>& v) {
      return std::vector<std::int32_t>(v.begin() + half * 2 * T, v.begin() + (half + 1) * 2 * T);
    };
    const std::vector<float> some = split.differentiate(half_gpt, half_head, part(tokens), part(targets), 2, valid,
                                                        half == 0 ? Into::write : Into::add, {}, &key);
    half_logp.insert(half_logp.end(), some.begin(), some.end());
  }
  for (std::size_t i = 0; i < logp.size(); ++i) EXPECT_NEAR(half_logp[i], logp[i], tolerance(model) * std::log(19));
  const std::vector<float> expected = whole.download(whole.gradients), found = split.download(split.gradients);
  for (const ParameterSpec& spec : whole.table.specs()) {
    double largest = 0;
    for (std::int64_t i = 0; i < spec.size(); ++i) {
      largest = std::max<double>(largest, std::abs(expected[static_cast<std::size_t>(spec.offset + i)]));
    }
    for (std::int64_t i = 0; i < spec.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(spec.offset + i);
      ASSERT_NEAR(found[at], expected[at], tolerance(model) * largest) << spec.name << " element " << i;
    }
  }
}

TEST(Gradient, IsTheSameForAnySplitIntoMicroBatches) { expect_split(0); }

TEST(Gradient, IsTheSameForAnySplitIntoMicroBatchesWithDropout) { expect_split(0.3); }

}  // namespace
}  // namespace nll::test
