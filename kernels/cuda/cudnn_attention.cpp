#include "kernels/cuda/cudnn_attention.h"

#include <utility>

#if defined(NLL_CUDNN)
#include <map>

#include "kernels/cuda/cudnn/attention_bindings.h"
#include "kernels/cuda/cudnn/attention_graph.h"
#include "kernels/cuda/cudnn/plan.h"
#endif

namespace nll::cuda {

#if defined(NLL_CUDNN)

namespace {

constexpr std::int64_t alignment = 256;  // of the pieces of working memory

std::int64_t aligned(std::int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

struct PlanKey {
  AttentionShape shape;
  bool backward = false;
  auto operator<=>(const PlanKey&) const = default;
};

std::string text(const PlanKey& key) {
  const AttentionShape& shape = key.shape;
  return std::string(key.backward ? "backward" : "forward") + " of attention with B " + std::to_string(shape.batch) +
         ", T " + std::to_string(shape.time) + ", H " + std::to_string(shape.heads) + ", D " +
         std::to_string(shape.head_size) + ", " + (shape.type == CUDNN_DATA_HALF ? "f16" : "bf16");
}

class Handle {
 public:
  explicit Handle(const CudnnLibrary& library) : library_(library) {}
  ~Handle() {
    if (handle_ != nullptr) (void)library_.destroy(handle_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  // Nothing, or why it cannot be had.
  std::string open(cudaStream_t stream) {
    cudnnStatus_t outcome = library_.create(&handle_);
    if (outcome == CUDNN_STATUS_SUCCESS) outcome = library_.set_stream(handle_, stream);
    if (outcome == CUDNN_STATUS_SUCCESS) return "";
    return "cuDNN " + library_.version_text() + " does not start: " + library_.get_error_string(outcome) + " (" +
           library_.last_error() + ")";
  }
  cudnnHandle_t get() const { return handle_; }

 private:
  const CudnnLibrary& library_;
  cudnnHandle_t handle_ = nullptr;
};

}  // namespace

struct CudnnAttention::State {
  State(std::shared_ptr<Stream> own_stream, std::shared_ptr<const CudnnLibrary> own_library, bool is_deterministic)
      : stream(std::move(own_stream)),
        library(std::move(own_library)),
        handle(*library),
        deterministic(is_deterministic) {}

  const Plan& plan(const AttentionCall& call, bool backward);

  std::shared_ptr<Stream> stream;
  std::shared_ptr<const CudnnLibrary> library;
  Handle handle;
  bool deterministic;
  std::map<PlanKey, Plan> plans;
};

const Plan& CudnnAttention::State::plan(const AttentionCall& call, bool backward) {
  CHECK(call.scratch != nullptr);
  CHECK((call.stream == stream->get()));
  const cudnnDataType_t type = call.type == DType::f16 ? CUDNN_DATA_HALF : CUDNN_DATA_BFLOAT16;
  const PlanKey key{{call.batch, call.time, call.heads, call.head_size, type}, backward};
  const auto found = plans.find(key);
  if (found != plans.end()) return found->second;
  // What is recorded has run before, and so has its plan.
  CHECK(!stream->capturing());
  OperationGraph operations = backward ? attention_backward_graph(*library, key.shape, deterministic)
                                       : attention_forward_graph(*library, key.shape);
  std::string why;
  std::optional<Plan> made =
      Plan::find(*library, operations.finish(handle.get()), nullptr, deterministic && backward, &why);
  if (!made) {
    throw Error(Exit::usage,
                "cuda.attention: \"cudnn\": cuDNN " + library->version_text() + " has no engine for the " + text(key) +
                    (why.empty() ? "" : ": " + why),
                "use cuda.attention \"own\"");
  }
  return plans.emplace(key, std::move(*made)).first->second;
}

std::unique_ptr<CudnnAttention> CudnnAttention::make(std::shared_ptr<Stream> stream, bool required, std::string* why,
                                                     bool deterministic) {
  CHECK((required || why != nullptr));
  const int capability = stream->capability();
  const std::string gpu =
      "a GPU of compute capability " + std::to_string(capability / 10) + "." + std::to_string(capability % 10);
  std::string reason, hint = "use cuda.attention \"own\"";
  std::unique_ptr<State> state;
  if (capability < 80) {
    reason = gpu + " (expected 8.0 or newer)";
  } else if (capability >= 100 && deterministic) {
    // There the library takes an order of sums from the choice of one engine's knobs, which nothing here sets.
    reason = gpu + " has no deterministic backward in it (expected 8.0 to 9.0)";
    hint += ", or cuda.deterministic false";
  } else if (auto library = CudnnLibrary::open(&reason)) {
    state = std::make_unique<State>(std::move(stream), std::move(library), deterministic);
    reason = state->handle.open(state->stream->get());
  } else {
    hint =
        "install cuDNN 9 for this CUDA, see that the dynamic linker finds libcudnn.so.9 (LD_LIBRARY_PATH), or " + hint;
  }
  if (reason.empty()) return std::unique_ptr<CudnnAttention>(new CudnnAttention(std::move(state)));
  if (required) throw Error(Exit::usage, "cuda.attention: \"cudnn\": " + reason, hint);
  *why = reason;
  return nullptr;
}

bool CudnnAttention::takes(DType type, std::int64_t head_size, std::int64_t time) const {
  if (type != DType::bf16 && type != DType::f16) return false;
  const std::int64_t largest = state_->stream->capability() == 90 ? 256 : 128;
  if (head_size <= 0 || head_size % 8 != 0 || head_size > largest) return false;
  // Up to 9.15.0 the backward is right for whole tiles only, unless it is given a mask of the sequence lengths too.
  if (time % 128 != 0 && state_->library->version() <= 91500) return false;
  return time >= 2;
}

void CudnnAttention::forward(const AttentionCall& call) {
  CHECK(takes(call.type, call.head_size, call.time));
  if (call.batch == 0 || call.heads == 0) return;
  const Plan& plan = state_->plan(call, false);
  const AttentionNumbers numbers(call.head_size);
  void* workspace = call.scratch->get(plan.workspace_bytes());
  plan.run(state_->handle.get(), forward_bindings(call, numbers), workspace);
}

void CudnnAttention::backward(const AttentionCall& call) {
  CHECK(takes(call.type, call.head_size, call.time));
  if (call.batch == 0 || call.heads == 0) return;
  const Plan& plan = state_->plan(call, true);
  const AttentionNumbers numbers(call.head_size);
  // One piece of scratch: the plan's own, y_dy and, where blocks add to it, dq_sum.
  const std::int64_t rows = checked_product(checked_product(call.batch, call.heads), call.time);
  const std::int64_t row_bytes = checked_product(rows, bytes_of(DType::f32));
  const std::int64_t dq_bytes = state_->deterministic ? 0 : checked_product(row_bytes, call.head_size);
  const std::int64_t y_dy_at = aligned(plan.workspace_bytes()), dq_sum_at = y_dy_at + aligned(row_bytes);
  auto* memory = static_cast<unsigned char*>(call.scratch->get(dq_sum_at + dq_bytes));
  const void* dq_sum = state_->deterministic ? nullptr : memory + dq_sum_at;
  plan.run(state_->handle.get(), backward_bindings(call, numbers, memory + y_dy_at, dq_sum), memory);
}

#else

// Never made: there is no object to call.
struct CudnnAttention::State {};

std::unique_ptr<CudnnAttention> CudnnAttention::make(std::shared_ptr<Stream>, bool required, std::string* why, bool) {
  CHECK((required || why != nullptr));
  const char* const reason = "this build has no cuDNN";
  if (required) {
    throw Error(Exit::usage, std::string("cuda.attention: \"cudnn\": ") + reason,
                "build where cuDNN's headers (cudnn_graph.h) are found, or use cuda.attention \"own\"");
  }
  *why = reason;
  return nullptr;
}

bool CudnnAttention::takes(DType, std::int64_t, std::int64_t) const { return false; }
void CudnnAttention::forward(const AttentionCall& call) { CHECK(takes(call.type, call.head_size, call.time)); }
void CudnnAttention::backward(const AttentionCall& call) { CHECK(takes(call.type, call.head_size, call.time)); }

#endif

CudnnAttention::CudnnAttention(std::unique_ptr<State> state) : state_(std::move(state)) {}
CudnnAttention::~CudnnAttention() = default;

std::unique_ptr<CudnnAttention> make_cudnn_attention(std::shared_ptr<Stream> stream, const BackendOptions& options) {
  if (options.attention != "cudnn") return nullptr;
  return CudnnAttention::make(std::move(stream), true, nullptr, options.deterministic);
}

}  // namespace nll::cuda
