// CudnnAttention: attention by cuDNN's fused kernels in place of our own, for comparison with them (the config's
// cuda.attention "cudnn"). "auto" and "own" mean our own kernels and do not open the library. cuDNN is optional twice:
// its headers when nll is built (NLL_CUDNN), libcudnn.so.9 when nll runs.
//
// What is known of it: the library, 9.19 and 9.26, has engines for both graphs and compiles their kernels, for the
// GPUs of tests/cudnn. NO GPU HAS RUN ANY OF THIS YET: not the numbers it computes, nor that two backward passes give
// equal bits, nor its speed, nor that its work can be recorded. tests/cuda/cudnn_attention_test.cpp says so of the
// first two and the last where there is a GPU and the library.
//
// The deterministic backward keeps dS, in the type of q, in working memory of B*H*T*T*2 bytes (1.5 GiB at B 64, H 12,
// T 1024), where our own has no (T,T) buffer; the other one adds to an FP32 dq of B*H*T*D*4 bytes in no fixed order.
#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/cuda/attention_call.h"
#include "kernels/cuda/stream.h"
#include "kernels/device.h"

namespace nll::cuda {

class CudnnAttention {
 public:
  // Where cuDNN cannot be used here (the build has none, no library, one that is too old, a GPU before 8.0 or one whose
  // deterministic backward it is not asked for here, 10.0 and up): with `required` throws Error(usage) that says why
  // and what helps, else returns null and writes why, in a part of a line. `deterministic`: the backward's sums have a
  // fixed order.
  static std::unique_ptr<CudnnAttention> make(std::shared_ptr<Stream> stream, bool required, std::string* why,
                                              bool deterministic = true);
  ~CudnnAttention();

  // Whether it is made for such calls: BF16 or FP16, a head size that is a multiple of 8 up to 128 (256 on a GPU 9.0),
  // two positions or more. Calls that it does not take are for our own kernels; y and lse of either may be given to the
  // backward of the other.
  bool takes(DType type, std::int64_t head_size, std::int64_t time) const;
  // Of calls that it takes, on its stream. The first of each shape looks for an engine and compiles its kernels, which
  // takes about a second: not while a recording is made. Throws Error(usage) where the library has no engine after all.
  void forward(const AttentionCall& call);
  void backward(const AttentionCall& call);

 private:
  struct State;
  explicit CudnnAttention(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// What options.attention asks for: null for "auto" and "own".
std::unique_ptr<CudnnAttention> make_cudnn_attention(std::shared_ptr<Stream> stream, const BackendOptions& options);

}  // namespace nll::cuda
