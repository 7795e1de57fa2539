// Activations that are computed again in the backward pass: what is saved, and that no bit changes.
#include <gtest/gtest.h>

#include "tests/model/rig.h"

namespace nll::test {
namespace {

constexpr std::int64_t B = 2, T = 6;
constexpr Recompute all[] = {Recompute::gelu, Recompute::norm, Recompute::block};

struct Result {
  std::vector<float> logp, gradients;
};

// Two micro-batches of other texts through one model of three layers, the second with a shorter context.
Result differentiate(Recompute recompute, double dropout) {
  ModelConfig model = tiny_model();
  model.layers = 3;
  model.dropout = dropout;
  Rig rig(model);
  rig.randomize(21);
  Gpt gpt(model, rig.ops, rig.device, B, T, Pass::training, {}, recompute);
  Head head(model, rig.head, rig.ops, rig.device, B * T);
  const DropoutKey keys[] = {{5, 9, 0}, {5, 9, B * T}};
  Result result;
  for (int i = 0; i < 2; ++i) {
    const std::int64_t n = B * (T - 2 * i);
    const std::vector<float> logp =
        rig.differentiate(gpt, head, random_tokens(static_cast<std::uint64_t>(1 + i), n, model.vocabulary),
                          random_tokens(static_cast<std::uint64_t>(3 + i), n, model.vocabulary), B, n,
                          i == 0 ? Into::write : Into::add, {}, &keys[i]);
    result.logp.insert(result.logp.end(), logp.begin(), logp.end());
  }
  result.gradients = rig.download(rig.gradients);
  return result;
}

TEST(Recompute, ChangesNoBitOfLossesAndGradients) {
  for (const double dropout : {0.0, 0.25}) {
    const Result kept = differentiate(Recompute::none, dropout);
    for (const Recompute recompute : all) {
      const Result again = differentiate(recompute, dropout);
      EXPECT_EQ(again.logp, kept.logp) << static_cast<int>(recompute);
      EXPECT_EQ(again.gradients, kept.gradients) << static_cast<int>(recompute);
    }
  }
}

TEST(Recompute, ALayerKeepsTheRowsThatItsNameSays) {
  ModelConfig model;
  model.heads = 12;
  model.width = 768;
  const std::int64_t sequences = 4, context = 512, row = sequences * context * model.width * 4;
  const auto bytes_of_a_layer = [&](Recompute recompute) {
    ModelConfig deeper = model;
    ++deeper.layers;
    return Gpt::plan(deeper, sequences, context, Pass::training, {}, recompute).bytes() -
           Gpt::plan(model, sequences, context, Pass::training, {}, recompute).bytes();
  };
  const std::int64_t statistics = sequences * context * 4 * (4 + model.heads);
  EXPECT_EQ(bytes_of_a_layer(Recompute::none), 16 * row + statistics);
  EXPECT_EQ(bytes_of_a_layer(Recompute::gelu), 12 * row + statistics);
  EXPECT_EQ(bytes_of_a_layer(Recompute::norm), 10 * row + statistics);
  EXPECT_EQ(bytes_of_a_layer(Recompute::block), row);
}

}  // namespace
}  // namespace nll::test
