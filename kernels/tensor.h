// Tensor: a view of typed memory with named dimensions. It owns nothing; Buffer (device.h) does.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "kernels/check.h"

namespace nll {

enum class DType : std::uint8_t { f32, bf16, f16, i32, f64, u8 };

inline std::int64_t bytes_of(DType type) {
  switch (type) {
    case DType::f64:
      return 8;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
    case DType::f16:
      return 2;
    case DType::u8:
      return 1;
  }
  return 0;
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::u8;
};

// a * b for sizes; a size that does not fit 63 bits is the caller's bad input.
inline std::int64_t checked_product(std::int64_t a, std::int64_t b) {
  std::int64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) throw Error(Exit::usage, "a size does not fit 63 bits");
  return product;
}

class Tensor {
 public:
  static constexpr int max_rank = 4;

  Tensor() = default;
  Tensor(void* data, DType type, std::initializer_list<std::int64_t> dims) : data_(data), type_(type) {
    CHECK(static_cast<int>(dims.size()) <= max_rank);
    for (std::int64_t dim : dims) {
      CHECK(dim >= 0);
      dims_[rank_++] = dim;
    }
  }

  bool empty() const { return data_ == nullptr; }
  DType type() const { return type_; }
  int rank() const { return rank_; }
  std::int64_t dim(int i) const {
    CHECK(i >= 0);
    CHECK(i < rank_);
    return dims_[i];
  }
  std::int64_t last() const { return dim(rank_ - 1); }
  std::int64_t size() const {  // elements
    std::int64_t n = 1;
    for (int i = 0; i < rank_; ++i) n = checked_product(n, dims_[i]);
    return n;
  }
  std::int64_t rows() const { return rank_ == 0 || last() == 0 ? 0 : size() / last(); }  // all dims but the last
  std::int64_t bytes() const { return size() * bytes_of(type_); }
  void* data() const { return data_; }

  // The elements as T; the stored type must be T.
  template <class T>
  T* as() const {
    CHECK(static_cast<int>(type_) == static_cast<int>(DTypeOf<T>::value));
    return static_cast<T*>(data_);
  }

  // The same memory under other dimensions, of equal size.
  Tensor reshape(std::initializer_list<std::int64_t> dims) const {
    Tensor view(data_, type_, dims);
    CHECK(view.size() == size());
    return view;
  }
  // Entries [begin, begin + count) of the first dimension.
  Tensor slice(std::int64_t begin, std::int64_t count) const {
    CHECK(rank_ >= 1);
    CHECK(begin >= 0);
    CHECK(count >= 0);
    CHECK(begin + count <= dims_[0]);
    Tensor view = *this;
    const std::int64_t stride = dims_[0] == 0 ? 0 : bytes() / dims_[0];
    view.data_ = static_cast<std::uint8_t*>(data_) + begin * stride;
    view.dims_[0] = count;
    return view;
  }

  std::string shape_text() const {  // "(4, 64, 768)"
    std::string text = "(";
    for (int i = 0; i < rank_; ++i) text += (i ? ", " : "") + std::to_string(dims_[i]);
    return text + ")";
  }

 private:
  void* data_ = nullptr;
  DType type_ = DType::f32;
  int rank_ = 0;
  std::array<std::int64_t, max_rank> dims_{};
};

}  // namespace nll
