#include "src/optim/adamw.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace nll {

namespace {

struct SmallModel {
  explicit SmallModel(bool scalar_head = false)
      : backend(make_backend("cpu", cpu_options(2))), table(ParameterTable::gpt2(model(), scalar_head)) {
    const std::int64_t n = table.stored_elements();
    storage = backend.device->allocate(8 * n);
    weights = storage.tensor(0, DType::f32, {n});
    gradients = storage.tensor(4 * n, DType::f32, {n});
    for (std::int64_t i = 0; i < n; ++i) {
      weights.as<float>()[i] = 0.5f;
      gradients.as<float>()[i] = i % 2 == 0 ? 1e-3f : -2e-3f;
    }
  }
  static ModelConfig model() {
    ModelConfig config;
    config.layers = 1;
    config.heads = 1;
    config.width = 8;
    config.context = 4;
    config.vocabulary = 16;
    return config;
  }
  AdamWOptimizer optimizer(const Config& config) {
    return {config, table, *backend.ops, *backend.device, Numerics{}, everything(table)};
  }
  Backend backend;
  ParameterTable table;
  Buffer storage;
  Tensor weights, gradients;
};

// One update at that learning rate; returns the norm of the gradients.
float update(AdamWOptimizer& optimizer, SmallModel& model, double learning_rate) {
  UpdateState state;
  Device& device = *model.backend.device;
  device.download(&state, optimizer.state());
  state.learning_rate = static_cast<float>(learning_rate);
  optimizer.set_state(state);
  optimizer.update(model.weights, {}, model.gradients);
  device.download(&state, optimizer.state());
  return state.norm;
}

}  // namespace

TEST(AdamWOptimizer, UpdatesAScalarHeadWithoutDecay) {
  SmallModel setup(true);
  const Tensor score = parameter_view(setup.table.specs().back(), setup.weights);
  ASSERT_EQ(setup.table.specs().back().name, "score.weight");
  Config config;
  config.optimizer.weight_decay = 0.1;
  AdamWOptimizer optimizer = setup.optimizer(config);
  update(optimizer, setup, 0.01);
  // The first step of Adam is the learning rate against the sign of the gradient, but for epsilon (1e-8 of 1e-3).
  for (std::int64_t i = 0; i < score.size(); ++i)
    EXPECT_NEAR(score.as<float>()[i], 0.5 - (i % 2 == 0 ? 0.01 : -0.01), 0.01 * 1e-4);
  SmallModel still(true);
  still.backend.device->zero(still.gradients);
  AdamWOptimizer of_still = still.optimizer(config);
  update(of_still, still, 0.01);
  const Tensor same = parameter_view(still.table.specs().back(), still.weights);
  for (std::int64_t i = 0; i < same.size(); ++i) EXPECT_EQ(same.as<float>()[i], 0.5f);
}

TEST(AdamWOptimizer, DecaysMatricesAndEmbeddingsOnly) {
  SmallModel setup;
  setup.backend.device->zero(setup.gradients);
  Config config;
  config.optimizer.weight_decay = 0.1;
  AdamWOptimizer optimizer = setup.optimizer(config);
  update(optimizer, setup, 0.01);
  for (const ParameterSpec& spec : setup.table.specs()) {
    const float* w = parameter_view(spec, setup.weights).as<float>();
    for (std::int64_t i = 0; i < spec.size(); ++i) {
      EXPECT_NEAR(w[i], spec.vector ? 0.5 : 0.5 * (1 - 0.01 * 0.1), 1e-7) << spec.name;
    }
    EXPECT_EQ(spec.decay, !spec.vector) << spec.name;
  }
}

TEST(AdamWOptimizer, FollowsItsFormulaInDouble) {
  SmallModel setup;
  Config config;
  config.optimizer.clip_norm = 0;
  AdamWOptimizer optimizer = setup.optimizer(config);
  double w = 0.5, m = 0, v = 0;
  const double g = 1e-3, rate = 1e-2;
  for (int t = 1; t <= 5; ++t) {
    update(optimizer, setup, rate);
    m = config.optimizer.beta1 * m + (1 - config.optimizer.beta1) * g;
    v = config.optimizer.beta2 * v + (1 - config.optimizer.beta2) * g * g;
    const double update = m / (1 - std::pow(config.optimizer.beta1, t)) /
                          (std::sqrt(v / (1 - std::pow(config.optimizer.beta2, t))) + config.optimizer.epsilon);
    w -= rate * (update + config.optimizer.weight_decay * w);
    EXPECT_NEAR(setup.weights.as<float>()[0], w, 5e-7) << "update " << t;  // a few roundings of 0.5 in FP32
  }
}

TEST(AdamWOptimizer, ClipsByTheGlobalNormAndReportsItBeforeClipping) {
  SmallModel large, scaled;
  double squares = 0;
  const std::int64_t n = large.table.stored_elements();
  for (std::int64_t i = 0; i < n; ++i) {
    large.gradients.as<float>()[i] *= 1000;
    squares += std::pow(static_cast<double>(large.gradients.as<float>()[i]), 2);
  }
  const double norm = std::sqrt(squares);
  for (std::int64_t i = 0; i < n; ++i)
    scaled.gradients.as<float>()[i] = static_cast<float>(large.gradients.as<float>()[i] / norm);
  Config config;
  config.optimizer.clip_norm = 1;
  config.optimizer.epsilon = 1e-3;  // large enough that the scale of the gradient shows
  AdamWOptimizer first = large.optimizer(config);
  AdamWOptimizer second = scaled.optimizer(config);
  EXPECT_NEAR(update(first, large, 1e-2), norm, 1e-6 * norm);
  EXPECT_NEAR(update(second, scaled, 1e-2), 1.0, 1e-6);
  for (std::int64_t i = 0; i < n; ++i)
    EXPECT_NEAR(large.weights.as<float>()[i], scaled.weights.as<float>()[i], 1e-6) << i;
}

TEST(AdamWOptimizer, ANonFiniteGradientLeavesWeightsAndMomentsUntouched) {
  for (float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    SmallModel setup;
    AdamWOptimizer optimizer = setup.optimizer(Config{});
    update(optimizer, setup, 1e-2);
    const std::int64_t n = setup.table.stored_elements();
    const auto copy = [&](Tensor t) { return std::vector<float>(t.as<float>(), t.as<float>() + n); };
    const std::vector<float> w = copy(setup.weights), m = copy(optimizer.first_moment()),
                             v = copy(optimizer.second_moment());
    setup.gradients.as<float>()[n / 2] = bad;
    EXPECT_FALSE(std::isfinite(update(optimizer, setup, 1e-2)));
    EXPECT_EQ(copy(setup.weights), w);
    EXPECT_EQ(copy(optimizer.first_moment()), m);
    EXPECT_EQ(copy(optimizer.second_moment()), v);
  }
}

}  // namespace nll
