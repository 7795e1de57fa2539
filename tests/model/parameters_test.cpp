#include "src/model/parameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/model/rig.h"

namespace nll::test {
namespace {

ModelConfig published(std::int64_t layers, std::int64_t heads, std::int64_t width, std::int64_t context = 1024) {
  ModelConfig model;
  model.layers = layers;
  model.heads = heads;
  model.width = width;
  model.context = context;
  return model;
}

TEST(Parameters, CountsAreThoseOfThePublishedModels) {
  EXPECT_EQ(ParameterTable::gpt2(published(12, 12, 768)).parameters(), 124439808);
  EXPECT_EQ(ParameterTable::gpt2(published(24, 16, 1024)).parameters(), 354823168);
  EXPECT_EQ(ParameterTable::gpt2(published(36, 20, 1280)).parameters(), 774030080);
  EXPECT_EQ(ParameterTable::gpt2(published(48, 25, 1600)).parameters(), 1557611200);
  // GPT-3 175B: 12 L C^2 + 13 L C + (V + T) C + 2 C.
  const std::int64_t L = 96, C = 12288;
  EXPECT_EQ(ParameterTable::gpt2(published(L, 96, C, 2048)).parameters(),
            12 * L * C * C + 13 * L * C + (50257 + 2048) * C + 2 * C);
}

TEST(Parameters, ThatDoNotFitSixtyThreeBitsAreAnError) {
  ModelConfig model = published(1000, 1, std::int64_t{1} << 31);
  try {
    ParameterTable::gpt2(model);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::usage);
  }
}

TEST(Parameters, LieOnCacheLinesAndNeverOverlap) {
  const ParameterTable table = ParameterTable::gpt2(tiny_model());
  std::int64_t end = 0;
  std::set<std::string> names;
  for (const ParameterSpec& spec : table.specs()) {
    EXPECT_GE(spec.offset, end) << spec.name;
    EXPECT_EQ(spec.offset % 64, 0) << spec.name;
    EXPECT_GE(spec.stored_rows, spec.rows);
    end = spec.offset + spec.stored_size();
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
  }
  EXPECT_GE(table.stored_elements(), end);
}

TEST(Parameters, DecaySpansCoverTheArenaAndDecayOnlyMatrices) {
  const ParameterTable table = ParameterTable::gpt2(tiny_model());
  std::int64_t next = 0;
  for (const DecaySpan& span : table.decay_spans()) {
    EXPECT_EQ(span.begin, next);
    next = span.end;
    for (const ParameterSpec& spec : table.specs()) {
      if (spec.offset < span.begin || spec.offset >= span.end) continue;
      EXPECT_EQ(spec.decay, span.decay) << spec.name;
    }
  }
  EXPECT_EQ(next, table.stored_elements());
  for (const ParameterSpec& spec : table.specs()) EXPECT_EQ(spec.decay, !spec.vector) << spec.name;
}

TEST(Parameters, ViewsAreTheTensorsOfTheTable) {
  Rig rig(tiny_model());
  rig.randomize(1);
  std::vector<Tensor> views = {rig.w.wte.slice(0, rig.model.vocabulary), rig.w.wpe};
  for (const LayerTensors& l : rig.w.layers) {
    for (const Tensor& t :
         {l.qkv_weight, l.attention_weight, l.fc_weight, l.projection_weight, l.ln1_weight, l.ln1_bias, l.qkv_bias,
          l.attention_bias, l.ln2_weight, l.ln2_bias, l.fc_bias, l.projection_bias}) {
      views.push_back(t);
    }
  }
  views.push_back(rig.w.final_weight);
  views.push_back(rig.w.final_bias);
  ASSERT_EQ(views.size(), rig.table.specs().size());
  for (std::size_t i = 0; i < views.size(); ++i) {
    const ParameterSpec& spec = rig.table.specs()[i];
    EXPECT_EQ(views[i].data(), parameter_view(spec, rig.weights).data()) << spec.name;
    EXPECT_EQ(views[i].shape_text(), parameter_view(spec, rig.weights).shape_text()) << spec.name;
  }
  EXPECT_EQ(rig.w.wte.dim(0), padded_vocabulary(rig.model.vocabulary));
}

TEST(Parameters, OfAScalarHeadComeLastAndChangeNothingBefore) {
  const ModelConfig model = tiny_model();
  const ParameterTable without = ParameterTable::gpt2(model), with = ParameterTable::gpt2(model, true);
  EXPECT_FALSE(without.scalar_head());
  EXPECT_TRUE(with.scalar_head());
  ASSERT_EQ(with.specs().size(), without.specs().size() + 1);
  for (std::size_t i = 0; i < without.specs().size(); ++i) {
    EXPECT_EQ(with.specs()[i].name, without.specs()[i].name);
    EXPECT_EQ(with.specs()[i].offset, without.specs()[i].offset);
  }
  const ParameterSpec& score = with.specs().back();
  EXPECT_EQ(score.name, "score.weight");
  EXPECT_EQ(score.rows, 1);
  EXPECT_EQ(score.columns, model.width);
  EXPECT_FALSE(score.decay);
  EXPECT_EQ(with.parameters(), without.parameters() + model.width);
  // It joins the vectors before it: one update for all of them.
  ASSERT_EQ(with.decay_spans().size(), without.decay_spans().size());
  EXPECT_EQ(with.decay_spans().back().end, with.stored_elements());
}

TEST(Parameters, OfAScalarHeadStartAtZeroAndAreNeverRounded) {
  Rig rig(tiny_model());
  const ParameterTable table = ParameterTable::gpt2(rig.model, true);
  const Tensor master = rig.zeros({table.stored_elements()}), rounded = rig.zeros({table.stored_elements()});
  initialize(table, 1, rig.device, master);
  const Tensor score = gpt_views(table, rig.model, master).score;
  EXPECT_EQ(score.shape_text(), "(8)");
  EXPECT_EQ(score.data(), parameter_view(table.specs().back(), master).data());
  EXPECT_EQ(rig.download(score), std::vector<float>(8, 0.0f));
  EXPECT_EQ(gpt_views(table, rig.model, master, rounded).score.data(), score.data());
  EXPECT_TRUE(rig.w.score.empty());
}

TEST(Parameters, StartFromTheDistributionOfGpt2) {
  ModelConfig model = published(8, 4, 64, 64);
  model.vocabulary = 1000;
  Rig rig(model);
  initialize(rig.table, 7, rig.device, rig.weights);
  for (const ParameterSpec& spec : rig.table.specs()) {
    double sum = 0, squares = 0;
    for (float x : rig.download(parameter_view(spec, rig.weights))) {
      sum += x;
      squares += static_cast<double>(x) * x;
    }
    const double n = static_cast<double>(spec.size()), mean = sum / n, deviation = std::sqrt(squares / n - mean * mean);
    const double expected = spec.vector                                            ? 0
                            : spec.name == "transformer.wpe.weight"                ? 0.01
                            : spec.name.find("c_proj.weight") != std::string::npos ? 0.02 / std::sqrt(2.0 * 8)
                                                                                   : 0.02;
    const bool ones = spec.vector && spec.name.find("ln_") != std::string::npos && spec.name.ends_with(".weight");
    // Five standard errors of a mean and of a standard deviation.
    EXPECT_NEAR(mean, ones ? 1 : 0, 5 * expected / std::sqrt(n)) << spec.name;
    EXPECT_NEAR(deviation, expected, 5 * expected / std::sqrt(2 * n)) << spec.name;
  }
  const std::vector<float> wte = rig.download(rig.w.wte);
  for (std::size_t i = 1000 * 64; i < wte.size(); ++i) EXPECT_EQ(wte[i], 0.0f);
}

TEST(Parameters, AreAFunctionOfTheSeed) {
  Rig a(tiny_model()), b(tiny_model());
  initialize(a.table, 1, a.device, a.weights);
  initialize(b.table, 1, b.device, b.weights);
  EXPECT_EQ(a.download(a.weights), b.download(b.weights));
  initialize(b.table, 2, b.device, b.weights);
  EXPECT_NE(a.download(a.weights), b.download(b.weights));
}

}  // namespace
}  // namespace nll::test
