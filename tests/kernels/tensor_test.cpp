#include "kernels/tensor.h"

#include <gtest/gtest.h>

#include <limits>

namespace nll {
namespace {

template <class Body>
std::string message_of(Body&& body) {
  try {
    body();
  } catch (const std::logic_error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Check, PrintsBothSides) {
  const int found = 3;
  const std::string message = message_of([&] { CHECK(found == 4); });
  EXPECT_NE(message.find("CHECK(found == 4) failed: 3 == 4"), std::string::npos) << message;
  EXPECT_NE(message.find("tensor_test.cpp:"), std::string::npos) << message;
}

TEST(Check, PrintsTemporaries) {
  const std::string message = message_of([] { CHECK(std::string("a") + "b" == std::string("ac")); });
  EXPECT_NE(message.find("ab == ac"), std::string::npos) << message;
}

TEST(Check, TakesOneBool) {
  EXPECT_NE(message_of([] { CHECK(std::string("a").empty()); }).find("is false"), std::string::npos);
  EXPECT_EQ(message_of([] { CHECK(!std::string("a").empty()); }), "nothing was thrown");
}

TEST(Error, CarriesItsExitCodeAndHint) {
  const Error error(Exit::bad_data, "data: torn", "make it again");
  EXPECT_STREQ(error.what(), "data: torn");
  EXPECT_EQ(error.exit(), Exit::bad_data);
  EXPECT_EQ(error.hint(), "make it again");
}

TEST(Tensor, KnowsItsDimensions) {
  float memory[24] = {};
  const Tensor tensor(memory, DType::f32, {2, 3, 4});
  EXPECT_EQ(tensor.rank(), 3);
  EXPECT_EQ(tensor.size(), 24);
  EXPECT_EQ(tensor.rows(), 6);
  EXPECT_EQ(tensor.last(), 4);
  EXPECT_EQ(tensor.bytes(), 96);
  EXPECT_EQ(tensor.shape_text(), "(2, 3, 4)");
  EXPECT_TRUE(Tensor().empty());
  EXPECT_EQ(Tensor(memory, DType::f32, {0, 4}).rows(), 0);
  EXPECT_EQ(Tensor(memory, DType::f32, {4, 0}).rows(), 0);
}

TEST(Tensor, SlicesAndReshapesViewTheSameMemory) {
  float memory[24] = {};
  const Tensor tensor(memory, DType::f32, {4, 6});
  EXPECT_EQ(tensor.slice(1, 2).as<float>(), memory + 6);
  EXPECT_EQ(tensor.slice(1, 2).size(), 12);
  EXPECT_EQ(tensor.slice(4, 0).size(), 0);
  EXPECT_EQ(tensor.reshape({3, 8}).as<float>(), memory);
}

TEST(Tensor, RefusesWhatDoesNotFit) {
  float memory[24] = {};
  const Tensor tensor(memory, DType::f32, {4, 6});
  EXPECT_THROW(tensor.slice(3, 2), std::logic_error);
  EXPECT_THROW(tensor.slice(-1, 1), std::logic_error);
  EXPECT_THROW(tensor.reshape({5, 5}), std::logic_error);
  EXPECT_THROW(tensor.dim(2), std::logic_error);
  EXPECT_THROW(tensor.as<std::int32_t>(), std::logic_error);
  EXPECT_THROW(Tensor(memory, DType::f32, {-1}), std::logic_error);
}

TEST(Tensor, ASizeBeyond63BitsIsAnError) {
  const std::int64_t large = std::int64_t{1} << 40;
  EXPECT_THROW(Tensor(nullptr, DType::f32, {large, large}).size(), Error);
  EXPECT_EQ(checked_product(1 << 20, 1 << 20), large);
}

TEST(DType, HasTheSizeOfItsElements) {
  EXPECT_EQ(bytes_of(DType::f64), 8);
  EXPECT_EQ(bytes_of(DType::f32), 4);
  EXPECT_EQ(bytes_of(DType::i32), 4);
  EXPECT_EQ(bytes_of(DType::bf16), 2);
  EXPECT_EQ(bytes_of(DType::f16), 2);
  EXPECT_EQ(bytes_of(DType::u8), 1);
}

}  // namespace
}  // namespace nll
