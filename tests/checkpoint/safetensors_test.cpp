#include "src/checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "src/checkpoint/checkpoint.h"
#include "src/checkpoint/half.h"
#include "tests/checkpoint/sample_checkpoint.h"
#include "tests/checkpoint/temporary_folder.h"

namespace nll::testing {
namespace {

using Names = std::vector<std::string>;
using Shape = std::vector<std::int64_t>;

const std::string fixture = NLL_SOURCE_DIR "/tests/checkpoint/fixtures/hugging_face.safetensors";

std::vector<float> read_floats(const SafetensorsFile& file, const std::string& name, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  file.read(name, Tensor(values.data(), DType::f32, {count}));
  return values;
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::bad_data);
    return error.what();
  }
  return "no error";
}

TEST(Half, EveryBitPatternWidensToItsValue) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const unsigned exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const float sign = bits & 0x8000 ? -1.0F : 1.0F;
    const float value = widen_f16(static_cast<std::uint16_t>(bits));
    if (exponent == 31 && fraction != 0) {
      EXPECT_TRUE(std::isnan(value));
      continue;
    }
    const float expected = exponent == 31 ? std::numeric_limits<float>::infinity()
                           : exponent == 0
                               ? std::ldexp(static_cast<float>(fraction), -24)
                               : std::ldexp(static_cast<float>(1024 + fraction), static_cast<int>(exponent) - 25);
    ASSERT_EQ(std::bit_cast<std::uint32_t>(value), std::bit_cast<std::uint32_t>(sign * expected)) << bits;
    ASSERT_EQ(std::bit_cast<std::uint32_t>(widen_bf16(static_cast<std::uint16_t>(bits))), bits << 16);
  }
}

TEST(Safetensors, AFileOfHuggingFaceIsReadWithAllItsTypesAndItsMetadata) {
  const SafetensorsFile file(posix_file_ops(), fixture);
  EXPECT_EQ(file.names(), (Names{"brain", "brain.widened", "f32", "f64", "half", "half.widened", "i32", "listed.bool",
                                 "listed.i16", "listed.i64", "listed.i8", "none", "rank5", "scalar", "u8"}));
  EXPECT_EQ(file.header().metadata,
            (std::map<std::string, std::string>{{"format", "pt"}, {"note", "gr\xC3\xBC\xC3\x9F dich \"quoted\""}}));
  EXPECT_EQ(file.header().tensors.at("rank5").shape, (Shape{1, 2, 1, 1, 1}));
  EXPECT_EQ(file.header().tensors.at("listed.i64").dtype, "I64");
  EXPECT_FALSE(file.header().tensors.at("listed.i64").readable);
  EXPECT_TRUE(file.has("f32"));
  EXPECT_FALSE(file.has("F32"));

  std::vector<float> values(6);
  file.read("f32", Tensor(values.data(), DType::f32, {2, 3}));
  EXPECT_EQ(values, (std::vector<float>{-0.5F, -0.25F, 0.0F, 0.25F, 0.5F, 0.75F}));
  std::vector<double> doubles(2);
  file.read("f64", Tensor(doubles.data(), DType::f64, {2}));
  EXPECT_EQ(doubles, (std::vector<double>{1.0 / 3, -2.5e300}));
  std::vector<std::int32_t> integers(2);
  file.read("i32", Tensor(integers.data(), DType::i32, {1, 2}));
  EXPECT_EQ(integers, (std::vector<std::int32_t>{-1, 2147483647}));
  std::vector<std::uint8_t> bytes(3);
  file.read("u8", Tensor(bytes.data(), DType::u8, {3}));
  EXPECT_EQ(bytes, (std::vector<std::uint8_t>{0, 127, 255}));
  float scalar = 0;
  file.read("scalar", Tensor(&scalar, DType::f32, {}));
  EXPECT_EQ(scalar, 0.25F);
  EXPECT_EQ(read_floats(file, "scalar", 1), std::vector<float>{0.25F});
  file.read("none", Tensor(&scalar, DType::f32, {0, 4}));
}

TEST(Safetensors, SixteenBitTypesWidenAsPyTorchWidensThem) {
  const SafetensorsFile file(posix_file_ops(), fixture);
  for (const auto& [name, count] : {std::pair<std::string, std::int64_t>{"half", 16}, {"brain", 14}}) {
    const std::vector<float> widened = read_floats(file, name, count),
                             expected = read_floats(file, name + ".widened", count);
    EXPECT_EQ(std::memcmp(widened.data(), expected.data(), static_cast<std::size_t>(count) * 4), 0);
    std::vector<double> doubles(static_cast<std::size_t>(count));
    file.read(name, Tensor(doubles.data(), DType::f64, {count}));
    for (std::size_t i = 0; i < doubles.size(); ++i) EXPECT_EQ(doubles[i], static_cast<double>(expected[i]));
  }
}

TEST(Safetensors, AWrongNameShapeOrTypeIsRefusedWithBothSides) {
  const SafetensorsFile file(posix_file_ops(), fixture);
  std::vector<float> values(6);
  const auto read = [&](const std::string& name, DType type, std::initializer_list<std::int64_t> dims) {
    return message_of([&] { file.read(name, Tensor(values.data(), type, dims)); });
  };
  EXPECT_EQ(read("f33", DType::f32, {6}), fixture + ": tensor \"f33\" is missing");
  EXPECT_EQ(read("f32", DType::f32, {3, 2}), fixture + ": tensor \"f32\": shape (2, 3) (expected (3, 2))");
  EXPECT_EQ(read("f32", DType::f32, {6}), fixture + ": tensor \"f32\": shape (2, 3) (expected (6))");
  EXPECT_EQ(read("f64", DType::f32, {2}), fixture + ": tensor \"f64\": dtype F64 (expected F32, F16 or BF16)");
  EXPECT_EQ(read("listed.i64", DType::f32, {3}),
            fixture + ": tensor \"listed.i64\": dtype I64 (expected F32, F16 or BF16)");
  EXPECT_EQ(read("i32", DType::u8, {1, 2}), fixture + ": tensor \"i32\": dtype I32 (expected U8)");
  EXPECT_EQ(read("f32", DType::i32, {2, 3}), fixture + ": tensor \"f32\": dtype F32 (expected I32)");
}

TEST(Safetensors, TheHeaderIsMadeInTheOrderGivenAndPaddedToEightBytes) {
  float data[6] = {};
  const std::vector<NamedTensor> tensors = {{"b", Tensor(data, DType::f32, {2, 3})},
                                            {"a", Tensor(data, DType::bf16, {})},
                                            {"\"", Tensor(data, DType::u8, {0})}};
  const std::string header = make_safetensors_header(tensors, {{"format", "pt"}});
  const std::string text =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
      R"("a":{"dtype":"BF16","shape":[],"data_offsets":[24,26]},"\"":{"dtype":"U8","shape":[0],"data_offsets":[26,26]}})";
  EXPECT_EQ(header, text + std::string(header.size() - text.size(), ' '));
  EXPECT_EQ(header.size() % 8, 0U);
  EXPECT_LT(header.size() - text.size(), 8U);
  const auto parsed = parse_safetensors_header(header, 8 + static_cast<std::int64_t>(header.size()) + 26, "x");
  EXPECT_EQ(parsed.tensors.at("b").shape, (Shape{2, 3}));
  EXPECT_EQ(parsed.tensors.at("a").shape, Shape{});
  EXPECT_EQ(parsed.tensors.at("\"").begin, 26);
  EXPECT_EQ(make_safetensors_header({}, {}), "{}      ");
}

TEST(Safetensors, AHeaderOfOurOwnIsReadBackForManyTensors) {
  float value = 0;
  std::vector<NamedTensor> tensors;
  for (int i = 0; i < 20000; ++i) tensors.push_back({"h." + std::to_string(i), Tensor(&value, DType::f32, {1})});
  const std::string header = make_safetensors_header(tensors, {});
  const auto parsed = parse_safetensors_header(header, 8 + static_cast<std::int64_t>(header.size()) + 80000, "x");
  EXPECT_EQ(parsed.tensors.size(), 20000U);
  EXPECT_EQ(parsed.tensors.at("h.19999").end, 80000);
}

TEST(Safetensors, LeadingSpacesAndTensorsInAnyOrderOfOffsetsAreAccepted) {
  const std::string header = R"(   {"z":{"dtype":"F32","shape":[1],"data_offsets":[4,8]},
    "a":{"shape":[0,9],"data_offsets":[4,4],"dtype":"I8"}, "m":{"data_offsets":[0,4],"dtype":"U8","shape":[2,2]}} )";
  const auto parsed = parse_safetensors_header(header, 8 + static_cast<std::int64_t>(header.size()) + 8, "x");
  EXPECT_EQ(parsed.tensors.size(), 3U);
}

TEST(Safetensors, LargeTensorsOfSixteenBitsAreWidenedPieceByPiece) {
  const TemporaryFolder folder;
  const std::int64_t count = (1 << 18) * 2 + 3;  // beyond two pieces of the reader
  std::vector<std::uint16_t> bits(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<std::uint16_t>(i * 7 % 0x7C00);
  const std::string header = make_safetensors_header({{"x", Tensor(bits.data(), DType::f16, {count})}}, {});
  std::string bytes = safetensors_bytes(header, 0);
  bytes.append(reinterpret_cast<const char*>(bits.data()), bits.size() * 2);
  write_bytes(folder / "x.safetensors", bytes);
  const SafetensorsFile file(posix_file_ops(), folder / "x.safetensors");
  const std::vector<float> values = read_floats(file, "x", count);
  for (std::size_t i = 0; i < bits.size(); ++i) ASSERT_EQ(values[i], widen_f16(bits[i])) << i;
}

TEST(Safetensors, AMovedFileStaysReadable) {
  SafetensorsFile first(posix_file_ops(), fixture);
  const SafetensorsFile second(std::move(first));
  EXPECT_EQ(read_floats(second, "scalar", 1), std::vector<float>{0.25F});
}

// ---- Hugging Face folders
// --------------------------------------------------------------------------------------------

TEST(CheckpointFolder, ShardsAreReadAsOneModelAndTensorsOutsideTheIndexAreListedToo) {
  const TemporaryFolder folder;
  const std::string one = R"({"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})";
  const std::string two =
      R"({"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]},"mask":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})";
  write_bytes(folder / "model-00001-of-00002.safetensors", safetensors_bytes(one, 3));
  write_bytes(folder / "model-00002-of-00002.safetensors", safetensors_bytes(two, 3));
  write_bytes(folder / "config.json", "{\"n_layer\": 1}");
  write_bytes(
      folder / "model.safetensors.index.json",
      R"({"metadata":{"total_size":5},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
  EXPECT_EQ(resolve_checkpoint(posix_file_ops(), folder.path(), {}), folder.path());
  const CheckpointFolder opened(posix_file_ops(), folder.path());
  EXPECT_FALSE(opened.has_manifest());
  EXPECT_EQ(opened.step(), -1);
  EXPECT_TRUE(opened.has("config.json"));
  EXPECT_FALSE(opened.has("tokenizer.json"));
  EXPECT_EQ(opened.text("config.json"), "{\"n_layer\": 1}");
  EXPECT_THROW(opened.text("tokenizer.json"), Error);
  EXPECT_THROW(opened.optimizer(), Error);
  const SafetensorsFile weights = opened.weights();
  EXPECT_EQ(weights.names(), (Names{"a", "b", "mask"}));
  EXPECT_EQ(weights.header().metadata.at("format"), "pt");
  std::vector<std::uint8_t> a(3), b(2);
  weights.read("a", Tensor(a.data(), DType::u8, {3}));
  weights.read("b", Tensor(b.data(), DType::u8, {2}));
  EXPECT_EQ(a, (std::vector<std::uint8_t>{0, 1, 2}));
  EXPECT_EQ(b, (std::vector<std::uint8_t>{1, 2}));
}

TEST(CheckpointFolder, WithAManifestOnlyItsFilesExist) {
  const TemporaryFolder run;
  const std::string folder = CheckpointStore(posix_file_ops(), run.path()).save(SampleCheckpoint(1).content());
  write_bytes(folder + "/tokenizer.json", "not ours");
  const CheckpointFolder opened(posix_file_ops(), folder);
  EXPECT_TRUE(opened.has("manifest.json"));
  EXPECT_TRUE(opened.has("state.json"));
  EXPECT_FALSE(opened.has("tokenizer.json"));
  EXPECT_THROW(opened.text("tokenizer.json"), Error);
  EXPECT_EQ(resolve_checkpoint(posix_file_ops(), folder + "/", {}), folder);
}

}  // namespace
}  // namespace nll::testing
