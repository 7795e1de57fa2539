#include "tests/cuda/machine.h"

#include <bit>
#include <limits>

namespace nll::test {
namespace {

// A binary floating-point type: sign, exponent, fraction.
struct Format {
  int bits, fraction_bits, bias;

  int smallest_exponent() const { return 1 - bias; }
  double largest() const { return std::ldexp(2 - std::ldexp(1.0, -fraction_bits), bias); }
};

Format format_of(DType type) {
  if (type == DType::bf16) return {16, 7, 127};
  if (type == DType::f16) return {16, 10, 15};
  EXPECT_EQ(type, DType::f32);
  return {32, 23, 127};
}

// Exponent of a number's last place.
int last_place(double value, const Format& format) {
  return std::max(std::ilogb(value), format.smallest_exponent()) - format.fraction_bits;
}

// `value` is a number of that format, infinite or NaN.
std::uint32_t encode(double value, const Format& format) {
  const std::uint32_t sign = (std::signbit(value) ? 1u : 0u) << (format.bits - 1);
  const std::uint32_t all_ones = (2u * static_cast<std::uint32_t>(format.bias) + 1u) << format.fraction_bits;
  if (std::isnan(value)) return sign | all_ones | 1u << (format.fraction_bits - 1);
  if (std::isinf(value)) return sign | all_ones;
  if (value == 0) return sign;
  const int place = last_place(value, format);
  // The leading bit, where there is one, adds one to the exponent field below.
  const auto significand = static_cast<std::uint32_t>(std::ldexp(std::abs(value), -place));
  const auto steps = static_cast<std::uint32_t>(place + format.fraction_bits - format.smallest_exponent());
  return sign | ((steps << format.fraction_bits) + significand);
}

double decode(std::uint32_t bits, const Format& format) {
  const std::uint32_t fraction = bits & ((1u << format.fraction_bits) - 1);
  const int exponent =
      static_cast<int>(bits >> format.fraction_bits & (2u * static_cast<std::uint32_t>(format.bias) + 1));
  double value = 0;
  if (exponent == 2 * format.bias + 1) {
    value = fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(fraction, format.smallest_exponent() - format.fraction_bits);
  } else {
    value = std::ldexp(fraction + (1u << format.fraction_bits), exponent - format.bias - format.fraction_bits);
  }
  return (bits >> (format.bits - 1) & 1u) != 0 ? -value : value;
}

std::int64_t product_of(Dims dims) {
  std::int64_t size = 1;
  for (const std::int64_t dim : dims) size *= dim;
  return size;
}

}  // namespace

double rounded(double value, DType type) {
  if (value == 0 || !std::isfinite(value)) return value;
  const Format format = format_of(type);
  const int place = last_place(value, format);
  const double nearest = std::ldexp(std::nearbyint(std::ldexp(value, -place)), place);
  return std::abs(nearest) > format.largest() ? std::copysign(std::numeric_limits<double>::infinity(), value) : nearest;
}

Reals rounded(Reals values, DType type) {
  for (double& value : values) value = rounded(value, type);
  return values;
}

Tensor CudaMachine::make(Dims dims, DType type) {
  buffers_.push_back(backend_.device->allocate(std::max<std::int64_t>(64, product_of(dims) * bytes_of(type))));
  return buffers_.back().tensor(0, type, dims);
}

Tensor CudaMachine::poisoned(Dims dims, DType type) {
  const Tensor tensor = make(dims, type);
  const std::vector<std::uint8_t> ones(static_cast<std::size_t>(tensor.bytes()), 0xff);
  if (!ones.empty()) backend_.device->upload(tensor, ones.data());
  return tensor;
}

Tensor CudaMachine::put(const Reals& values, Dims dims, DType type) {
  const Tensor tensor = make(dims, type);
  EXPECT_EQ(tensor.size(), static_cast<std::int64_t>(values.size()));
  if (values.empty()) return tensor;
  const Format format = format_of(type);
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(tensor.bytes()));
  const std::size_t each = static_cast<std::size_t>(format.bits) / 8;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t bits = encode(rounded(values[i], type), format);
    for (std::size_t byte = 0; byte < each; ++byte) {
      bytes[i * each + byte] = static_cast<std::uint8_t>(bits >> (8 * byte));
    }
  }
  backend_.device->upload(tensor, bytes.data());
  return tensor;
}

Tensor CudaMachine::put_ints(const std::vector<std::int32_t>& values, Dims dims) {
  const Tensor tensor = make(dims, DType::i32);
  EXPECT_EQ(tensor.size(), static_cast<std::int64_t>(values.size()));
  if (!values.empty()) backend_.device->upload(tensor, values.data());
  return tensor;
}

Reals CudaMachine::get(const Tensor& tensor) {
  const Format format = format_of(tensor.type());
  const std::vector<std::uint8_t> bytes = get_bytes(tensor);
  const std::size_t each = static_cast<std::size_t>(format.bits) / 8;
  Reals values(bytes.size() / each);
  for (std::size_t i = 0; i < values.size(); ++i) {
    std::uint32_t bits = 0;
    for (std::size_t byte = 0; byte < each; ++byte) {
      bits |= static_cast<std::uint32_t>(bytes[i * each + byte]) << (8 * byte);
    }
    values[i] = decode(bits, format);
  }
  return values;
}

std::vector<std::int32_t> CudaMachine::get_ints(const Tensor& tensor) {
  EXPECT_EQ(tensor.type(), DType::i32);
  std::vector<std::int32_t> values(static_cast<std::size_t>(tensor.size()));
  if (!values.empty()) backend_.device->download(values.data(), tensor);
  return values;
}

std::vector<std::uint8_t> CudaMachine::get_bytes(const Tensor& tensor) {
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(tensor.bytes()));
  if (!bytes.empty()) backend_.device->download(bytes.data(), tensor);
  return bytes;
}

void expect_close(const Reals& actual, const Reals& expected, DType stored, double terms, double parts) {
  ASSERT_EQ(actual.size(), expected.size());
  double scale = parts;
  for (const double value : expected) scale = std::max(scale, std::abs(value));
  const double in_fp32 = epsilon * terms * scale;
  // Below the type's normal numbers a rounding is no longer relative.
  const Format format = format_of(stored);
  const double smallest = std::ldexp(0.5, format.smallest_exponent() - format.fraction_bits);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double bound = in_fp32 + unit_of(stored) * (std::abs(expected[i]) + in_fp32) + smallest;
    const double difference = std::abs(actual[i] - expected[i]);
    ASSERT_TRUE(difference <= bound) << "element " << i << ": " << actual[i] << ", expected " << expected[i]
                                     << ", difference " << difference << " above " << bound;
  }
}

}  // namespace nll::test
