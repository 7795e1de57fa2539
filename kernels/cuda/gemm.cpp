#include "kernels/cuda/gemm.h"

#include <algorithm>
#include <limits>
#include <map>

#include "kernels/cuda/error.h"
#include "kernels/cuda/gemm_cache.h"
#include "kernels/cuda/library_product.h"
#include "kernels/cuda/memory.h"
#include "kernels/cuda/product.h"
#include "kernels/cuda/product_key.h"

namespace nll::cuda {
namespace {

// For the parts of sums that are split over blocks; what the library recommends for Hopper is 32 MiB, twice that lets
// it split deeper.
constexpr std::size_t workspace_bytes = std::size_t{64} << 20;
constexpr int timings = 3;  // of each algorithm, after one run that warms it up; the median counts

std::string device_name() {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, 0), "reading the GPU's properties");
  return properties.name;
}

void expect_valid(const GemmCall& call) {
  CHECK(call.m >= 0);
  CHECK(call.n >= 0);
  CHECK(call.k >= 0);
  CHECK((call.beta == 0.0f || call.beta == 1.0f));
  CHECK((call.out == call.in || call.out == DType::f32));
  const bool gelu = call.epilogue == Epilogue::gelu_bias || call.epilogue == Epilogue::gelu_backward;
  const bool bias = call.epilogue != Epilogue::none && call.epilogue != Epilogue::gelu_backward;
  CHECK((call.auxiliary != nullptr) == gelu);
  CHECK((call.bias != nullptr) == bias);
  CHECK((!gelu || call.auxiliary != call.c));
  CHECK((call.epilogue != Epilogue::bias_gradient || call.product == Product::tn));
  CHECK((call.epilogue != Epilogue::bias_gradient || call.out == DType::f32));
}

}  // namespace

struct Gemm::State {
  struct Known {
    LibraryProduct product;
    std::optional<Algorithm> algorithm;  // none: the library has none
  };

  State(std::shared_ptr<Stream> own_stream, const BackendOptions& own_options)
      : stream(std::move(own_stream)),
        options(own_options),
        workspace(device_memory(*stream, static_cast<std::int64_t>(workspace_bytes))),
        cache(options.product_tuning ? options.product_cache : "", device_name(), cublasLtGetVersion()) {}

  const Known& known(const GemmCall& call);
  // Which algorithm, for a product that is met for the first time.
  std::optional<Algorithm> choose(const LibraryProduct& product, const ProductKey& key, const GemmCall& call);
  // The fastest of `algorithms`, measured; nothing where none of them runs. The call's results are not touched.
  std::optional<Algorithm> fastest(const LibraryProduct& product, const std::vector<Algorithm>& algorithms,
                                   GemmCall call);
  // Median of several runs; infinity where the algorithm does not run.
  float milliseconds(const LibraryProduct& product, const Algorithm& algorithm, const GemmCall& call);
  cublasStatus_t queue(const LibraryProduct& product, const Algorithm& algorithm, const GemmCall& call) {
    return product.run(algorithm, call, workspace.data(), workspace_bytes, stream->get());
  }

  std::shared_ptr<Stream> stream;
  BackendOptions options;
  Library library;
  Buffer workspace;
  GemmCache cache;
  std::map<ProductKey, Known> products;
  Event begin{Event::Timing::yes}, end{Event::Timing::yes};
  std::int64_t timed = 0;
};

const Gemm::State::Known& Gemm::State::known(const GemmCall& call) {
  const ProductKey key = key_of(call, options.tf32, options.deterministic);
  const auto found = products.find(key);
  if (found != products.end()) return found->second;
  // What is recorded has run before, and so has chosen its algorithms.
  CHECK(!stream->capturing());
  LibraryProduct product(library, key);
  std::optional<Algorithm> algorithm = choose(product, key, call);
  return products.emplace(key, Known{std::move(product), std::move(algorithm)}).first->second;
}

std::optional<Algorithm> Gemm::State::choose(const LibraryProduct& product, const ProductKey& key,
                                             const GemmCall& call) {
  if (const GemmCache::Choice* choice = cache.find(key.text())) {
    if (!*choice) return std::nullopt;
    // An algorithm that this library refuses after all is chosen anew.
    if (const auto algorithm = product.checked(**choice, call, workspace_bytes)) return algorithm;
  }
  const std::vector<Algorithm> algorithms = product.algorithms(call, workspace_bytes);
  if (!options.product_tuning) return algorithms.empty() ? std::nullopt : std::optional(algorithms.front());
  const std::optional<Algorithm> best = algorithms.empty() ? std::nullopt : fastest(product, algorithms, call);
  cache.remember(key.text(), best ? GemmCache::Choice(best->algorithm) : std::nullopt);
  return best;
}

std::optional<Algorithm> Gemm::State::fastest(const LibraryProduct& product, const std::vector<Algorithm>& algorithms,
                                              GemmCall call) {
  // Results go to memory of their own: a product that adds must add once, and c may be what another op still needs.
  const std::int64_t elements = checked_product(call.m, call.n);
  const std::int64_t bytes = checked_product(elements, bytes_of(call.out));
  const std::int64_t c_bytes = (bytes + 255) / 256 * 256;
  const bool writes_auxiliary = call.epilogue == Epilogue::gelu_bias;
  const bool writes_bias = call.epilogue == Epilogue::bias_gradient;
  const std::int64_t auxiliary_bytes = writes_auxiliary ? c_bytes : 0;
  const Buffer scratch = device_memory_if_there_is_room(
      *stream, c_bytes + auxiliary_bytes + (writes_bias ? call.n * bytes_of(DType::f32) : 0));
  // Without room for that the library's first choice has to do, in this run.
  if (scratch.data() == nullptr) return algorithms.front();
  check(cudaMemsetAsync(scratch.data(), 0, static_cast<std::size_t>(scratch.bytes()), stream->get()),
        "clearing memory");
  auto* memory = static_cast<std::uint8_t*>(scratch.data());
  call.c = memory;
  if (writes_auxiliary) call.auxiliary = memory + c_bytes;
  if (writes_bias) call.bias = memory + c_bytes + auxiliary_bytes;

  std::optional<Algorithm> best;
  float least = std::numeric_limits<float>::infinity();
  for (const Algorithm& algorithm : algorithms) {
    const float time = milliseconds(product, algorithm, call);
    if (time < least) {
      least = time;
      best = algorithm;
    }
  }
  ++timed;
  return best;
}

float Gemm::State::milliseconds(const LibraryProduct& product, const Algorithm& algorithm, const GemmCall& call) {
  constexpr float never = std::numeric_limits<float>::infinity();
  if (queue(product, algorithm, call) != CUBLAS_STATUS_SUCCESS) return never;
  float times[timings];
  for (float& time : times) {
    begin.record(*stream);
    if (queue(product, algorithm, call) != CUBLAS_STATUS_SUCCESS) return never;
    end.record(*stream);
    end.synchronize();
    time = end.milliseconds_since(begin);
  }
  std::sort(times, times + timings);
  return times[timings / 2];
}

Gemm::Gemm(std::shared_ptr<Stream> stream, const BackendOptions& options)
    : state_(std::make_unique<State>(std::move(stream), options)) {}
Gemm::~Gemm() = default;

std::int64_t Gemm::timed() const { return state_->timed; }

bool Gemm::run(const GemmCall& call) {
  expect_valid(call);
  if (call.m == 0 || call.n == 0 || call.k == 0) {
    if (call.epilogue != Epilogue::none) return false;
    if (call.m > 0 && call.n > 0 && call.beta == 0) {
      const std::int64_t bytes = checked_product(checked_product(call.m, call.n), bytes_of(call.out));
      check(cudaMemsetAsync(call.c, 0, static_cast<std::size_t>(bytes), state_->stream->get()), "clearing memory");
    }
    return true;
  }
  const State::Known& known = state_->known(call);
  if (!known.algorithm) {
    if (call.epilogue != Epilogue::none) return false;
    own_product(*state_->stream, call);
    return true;
  }
  check(state_->queue(known.product, *known.algorithm, call), "queueing a matrix product");
  return true;
}

}  // namespace nll::cuda
