// What the tests of CUDA ops share: a CUDA backend (a GPU, or the host run of its kernels) whose tensors are filled and
// read back in any type, and bounds that follow from the type. Builds on tests/kernels/machine.h.
#pragma once
#include "tests/kernels/reference.h"

namespace nll::test {

inline const DType number_types[] = {DType::f32, DType::bf16, DType::f16};
inline const DType half_types[] = {DType::bf16, DType::f16};

// R and T of kernels/ops.h that go together.
struct StreamTypes {
  DType residual, compute;
};
inline const StreamTypes stream_types[] = {{DType::f32, DType::f32},
                                           {DType::bf16, DType::bf16},
                                           {DType::f16, DType::f16},
                                           {DType::f32, DType::bf16},
                                           {DType::f32, DType::f16}};

inline std::string type_name(DType type) {
  return type == DType::bf16 ? "bf16" : type == DType::f16 ? "f16" : type == DType::f32 ? "f32" : "?";
}

inline std::string type_name(const StreamTypes& types) {
  return type_name(types.residual) + " with " + type_name(types.compute);
}

// Half a unit in the last place, relative.
inline double unit_of(DType type) {
  return type == DType::bf16 ? 1.0 / (1 << 8) : type == DType::f16 ? 1.0 / (1 << 11) : epsilon;
}

// The nearest number of that type (ties to even), as a double.
double rounded(double value, DType type);
Reals rounded(Reals values, DType type);

class CudaMachine {
 public:
  explicit CudaMachine(const BackendOptions& options = {}) : backend_(make_backend("cuda", options)) {}

  Ops& ops() { return *backend_.ops; }
  Device& device() { return *backend_.device; }

  // Not initialised to anything useful: allocate() zero-fills.
  Tensor make(Dims dims, DType type = DType::f32);
  Tensor poisoned(Dims dims, DType type = DType::f32);                  // full of NaN: what is not written shows
  Tensor put(const Reals& values, Dims dims, DType type = DType::f32);  // rounded to the type
  Tensor put_ints(const std::vector<std::int32_t>& values, Dims dims);
  Reals get(const Tensor& tensor);  // f32, bf16 or f16
  std::vector<std::int32_t> get_ints(const Tensor& tensor);
  std::vector<std::uint8_t> get_bytes(const Tensor& tensor);  // for bitwise comparison

 private:
  Backend backend_;
  std::vector<Buffer> buffers_;
};

// |actual - expected| <= epsilon * terms * scale + unit_of(stored) * |expected|: `terms` roundings in FP32 of parts
// bounded by scale, then one rounding to the stored type. scale: the largest expected magnitude, but at least `parts`.
void expect_close(const Reals& actual, const Reals& expected, DType stored, double terms, double parts = 1e-3);

}  // namespace nll::test
