// Attention by cuDNN against FP64: on a GPU, in a build with cuDNN's headers, with the library. Elsewhere these tests
// are skipped with the reason that the config would be refused with. What needs no GPU: tests/cudnn.
#include "kernels/cuda/cudnn_attention.h"

#include <optional>

#include "tests/cuda/attention_rows.h"

namespace nll::test {
namespace {

struct Case {
  std::int64_t batch, time, heads, head_size;
  DType type;
  std::int64_t width() const { return heads * head_size; }
};
// Whole tiles of the library's kernels, and sequences that end inside one.
const Case cases[] = {{2, 256, 3, 64, DType::bf16},
                      {1, 200, 2, 64, DType::f16},
                      {2, 128, 2, 128, DType::f16},
                      {1, 75, 3, 128, DType::bf16}};

std::string text(const Case& c) {
  return type_name(c.type) + ", B " + std::to_string(c.batch) + ", T " + std::to_string(c.time) + ", H " +
         std::to_string(c.heads) + ", D " + std::to_string(c.head_size);
}

BackendOptions asking_for_cudnn() {
  BackendOptions options;
  options.attention = "cudnn";
  return options;
}

// Tensors of a call, and their values as the reference sees them.
struct Call {
  Call(CudaMachine& machine, const Case& c)
      : qkv_values(rounded(Random(1).normals(c.batch * c.time * 3 * c.width()), c.type)),
        dy_values(rounded(Random(2).normals(c.batch * c.time * c.width()), c.type)),
        forward(attention(qkv_values, c.batch, c.time, c.heads)),
        qkv(machine.put(qkv_values, {c.batch, c.time, 3 * c.width()}, c.type)),
        dqkv(machine.make({c.batch, c.time, 3 * c.width()}, c.type)),
        y(machine.make({c.batch, c.time, c.width()}, c.type)),
        dy(machine.put(dy_values, {c.batch, c.time, c.width()}, c.type)),
        lse(machine.make({c.batch, c.heads, c.time})) {}
  Reals qkv_values, dy_values;
  Attention forward;  // in FP64
  Tensor qkv, dqkv, y, dy, lse;
};

// What roundings of P and dS to their type, and of the FP32 sums behind them, can change: for each gradient the sum of
// |P|, or of |P| (|dP| + |y dy|), over what it is multiplied by.
Reals gradient_parts(const Call& call, const Case& c) {
  Reals parts(call.qkv_values.size());
  const auto size = static_cast<std::size_t>(c.head_size);
  const double scale = 1 / std::sqrt(static_cast<double>(c.head_size));
  for (std::int64_t b = 0; b < c.batch; ++b) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const auto at = [&](std::int64_t t, std::int64_t which) {
        return static_cast<std::size_t>(((b * c.time + t) * 3 + which) * c.width() + h * c.head_size);
      };
      for (std::int64_t t = 0; t < c.time; ++t) {
        const auto row = static_cast<std::size_t>((b * c.time + t) * c.width() + h * c.head_size);
        double y_dy = 0;
        for (std::size_t d = 0; d < size; ++d) y_dy += std::abs(call.dy_values[row + d] * call.forward.y[row + d]);
        for (std::int64_t j = 0; j <= t; ++j) {
          double score = 0, dp = 0;
          for (std::size_t d = 0; d < size; ++d) {
            score += call.qkv_values[at(t, 0) + d] * call.qkv_values[at(j, 1) + d] * scale;
            dp += std::abs(call.dy_values[row + d] * call.qkv_values[at(j, 2) + d]);
          }
          const double p = std::exp(score - call.forward.lse[static_cast<std::size_t>((b * c.heads + h) * c.time + t)]);
          const double ds = p * (dp + y_dy) * scale;
          for (std::size_t d = 0; d < size; ++d) {
            parts[at(t, 0) + d] += ds * std::abs(call.qkv_values[at(j, 1) + d]);
            parts[at(j, 1) + d] += ds * std::abs(call.qkv_values[at(t, 0) + d]);
            parts[at(j, 2) + d] += p * std::abs(call.dy_values[row + d]);
          }
        }
      }
    }
  }
  return parts;
}

double largest_of(const Reals& values) {
  double largest = 0;
  for (const double value : values) largest = std::max(largest, std::abs(value));
  return largest;
}

// FP32 roundings of a score, whose error goes through exp.
double score_terms(const Case& c) { return 16 * std::sqrt(static_cast<double>(c.head_size)) + 32; }

// Each element: `parts` rounded once to the type and score_terms times to FP32, factors below the type's smallest
// normal number, and the result's own rounding.
void expect_rows(const Reals& found, const Reals& expected, const Reals& parts, const Case& c, double largest_factor) {
  ASSERT_EQ(found.size(), expected.size());
  const double tiny = c.type == DType::f16 ? static_cast<double>(c.time) * std::ldexp(largest_factor, -25) : 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double bound = (unit_of(c.type) + epsilon * score_terms(c)) * parts[i] + tiny +
                         unit_of(c.type) * std::abs(expected[i]) + std::ldexp(1.0, -25);
    ASSERT_NEAR(found[i], expected[i], bound) << "element " << i;
  }
}

class CudnnAttention : public testing::Test {
 protected:
  void SetUp() override {
    stream_ = std::make_shared<cuda::Stream>();
    std::string why;
    cudnn_ = cuda::CudnnAttention::make(stream_, false, &why);
    if (cudnn_ == nullptr) {
      EXPECT_NE(why, "");
      GTEST_SKIP() << "no cuDNN here: " << why;
    }
    unordered_ = cuda::CudnnAttention::make(stream_, true, nullptr, false);
    scratch_.emplace(*stream_);
    machine_.emplace(asking_for_cudnn());
  }

  CudaMachine& machine() { return *machine_; }
  cuda::CudnnAttention& cudnn() { return *cudnn_; }
  cuda::CudnnAttention& unordered() { return *unordered_; }  // not deterministic
  void run(cuda::CudnnAttention& way, const Case& c, const Call& tensors,
           void (cuda::CudnnAttention::*direction)(const cuda::AttentionCall&)) {
    cuda::AttentionCall call;
    call.type = c.type;
    call.batch = c.batch, call.time = c.time, call.heads = c.heads, call.head_size = c.head_size;
    call.qkv = tensors.qkv.data(), call.y = tensors.y.data(), call.lse = tensors.lse.as<float>();
    call.dy = tensors.dy.data(), call.dqkv = tensors.dqkv.data();
    call.stream = stream_->get();
    call.scratch = &*scratch_;
    machine_->device().synchronize();
    (way.*direction)(call);
    stream_->synchronize();
  }

 private:
  std::shared_ptr<cuda::Stream> stream_;
  std::unique_ptr<cuda::CudnnAttention> cudnn_, unordered_;
  std::optional<cuda::Scratch> scratch_;
  std::optional<CudaMachine> machine_;
};

TEST_F(CudnnAttention, ForwardEqualsItsFormulaWithANaturalLogarithm) {
  for (const Case& c : cases) {
    if (!cudnn().takes(c.type, c.head_size, c.time)) continue;
    SCOPED_TRACE(text(c));
    const Call call(machine(), c);
    run(cudnn(), c, call, &cuda::CudnnAttention::forward);
    const double largest = largest_of(call.qkv_values);
    const Reals parts(call.forward.y.size(), largest);  // P sums to 1
    expect_rows(machine().get(call.y), call.forward.y, parts, c, largest);
    expect_near(machine().get(call.lse), call.forward.lse, score_terms(c), 4);
  }
}

TEST_F(CudnnAttention, BackwardEqualsItsFormulaGivenAnyForwardsResults) {
  for (const Case& c : cases) {
    if (!cudnn().takes(c.type, c.head_size, c.time)) continue;
    SCOPED_TRACE(text(c));
    Call call(machine(), c);
    call.forward.y = rounded(call.forward.y, c.type);
    call.y = machine().put(call.forward.y, {c.batch, c.time, c.width()}, c.type);
    call.lse = machine().put(call.forward.lse, {c.batch, c.heads, c.time});
    const Reals expected = attention_gradient(call.qkv_values, call.dy_values, call.forward, c.batch, c.time, c.heads);
    const double largest = std::max(largest_of(call.qkv_values), largest_of(call.dy_values));
    for (cuda::CudnnAttention* way : {&cudnn(), &unordered()}) {
      run(*way, c, call, &cuda::CudnnAttention::backward);
      expect_rows(machine().get(call.dqkv), expected, gradient_parts(call, c), c, largest);
      machine().device().zero(call.dqkv);
    }
  }
}

TEST_F(CudnnAttention, IsWhatTheOpUsesAndRepeatsItsBitsRecordedOrNot) {
  for (const Case& c : cases) {
    if (!cudnn().takes(c.type, c.head_size, c.time)) continue;
    SCOPED_TRACE(text(c));
    const Call direct(machine(), c), op(machine(), c);
    run(cudnn(), c, direct, &cuda::CudnnAttention::forward);
    run(cudnn(), c, direct, &cuda::CudnnAttention::backward);
    const auto work = [&] {
      machine().ops().attention(op.y, op.lse, op.qkv, c.heads);
      machine().ops().attention_backward(op.dqkv, op.dy, op.y, op.lse, op.qkv, c.heads);
    };
    const auto expect_equal = [&] {
      EXPECT_EQ(machine().get_bytes(op.y), machine().get_bytes(direct.y));
      EXPECT_EQ(machine().get_bytes(op.lse), machine().get_bytes(direct.lse));
      EXPECT_EQ(machine().get_bytes(op.dqkv), machine().get_bytes(direct.dqkv));
    };
    work();
    expect_equal();
    const auto recording = machine().device().record(work);
    for (const Tensor& tensor : {op.y, op.lse, op.dqkv}) machine().device().zero(tensor);
    recording->replay();
    expect_equal();
  }
}

TEST_F(CudnnAttention, TakesTheModelsOfGpt2AndLeavesToOurOwnKernelsWhatItIsNotMadeFor) {
  EXPECT_TRUE(cudnn().takes(DType::bf16, 64, 1024));
  EXPECT_TRUE(cudnn().takes(DType::f16, 64, 256));
  EXPECT_TRUE(cudnn().takes(DType::bf16, 128, 2048));
  EXPECT_FALSE(cudnn().takes(DType::f32, 64, 128));
  EXPECT_FALSE(cudnn().takes(DType::bf16, 60, 128));
  EXPECT_FALSE(cudnn().takes(DType::bf16, 264, 128));
  EXPECT_FALSE(cudnn().takes(DType::bf16, 64, 1));
}

TEST(CudnnAttentionConfig, IsRefusedWithItsReasonOrMade) {
  const auto stream = std::make_shared<cuda::Stream>();
  std::string why;
  const bool usable = cuda::CudnnAttention::make(stream, false, &why) != nullptr;
  try {
    const auto made = cuda::make_cudnn_attention(stream, asking_for_cudnn());
    EXPECT_TRUE(usable);
    EXPECT_NE(made, nullptr);
  } catch (const Error& error) {
    EXPECT_FALSE(usable);
    EXPECT_EQ(error.exit(), Exit::usage);
    EXPECT_EQ(error.what(), "cuda.attention: \"cudnn\": " + why);
    EXPECT_NE(error.hint().find("cuda.attention \"own\""), std::string::npos) << error.hint();
  }
  for (const char* own : {"own", "auto"}) {
    BackendOptions options;
    options.attention = own;
    EXPECT_EQ(cuda::make_cudnn_attention(stream, options), nullptr) << own;
  }
}

}  // namespace
}  // namespace nll::test
