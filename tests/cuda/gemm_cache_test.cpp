#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cuda/gemm_bench.h"

namespace nll::test {
namespace {

using cuda::GemmCall;
using cuda::Product;
using nlohmann::json;

// A file name in a fresh folder that goes with the object.
class CacheFile {
 public:
  CacheFile() {
    std::string name = (std::filesystem::temp_directory_path() / "nll-products-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder_ = name;
  }
  ~CacheFile() { std::filesystem::remove_all(folder_); }
  CacheFile(const CacheFile&) = delete;
  CacheFile& operator=(const CacheFile&) = delete;

  std::string path() const { return folder_ / "products.json"; }
  json read() const {
    std::ifstream stream(path());
    return json::parse(stream);
  }
  void write(const std::string& text) const { std::ofstream(path()) << text; }
  std::size_t files() const {
    const std::filesystem::directory_iterator begin(folder_);
    return static_cast<std::size_t>(std::distance(begin, std::filesystem::directory_iterator{}));
  }
  BackendOptions options() const {
    BackendOptions options;
    options.product_cache = path();
    return options;
  }

 private:
  std::filesystem::path folder_;
};

// Runs one product with this cache and returns how many products were timed for it.
std::int64_t timed_with(const BackendOptions& options, const Sizes& s) {
  GemmBench bench(options);
  const Operands operands(bench, Product::nn, s, DType::bf16);
  const Tensor c = bench.machine.make({s.m, s.n}, DType::bf16);
  EXPECT_TRUE(bench.run(operands.call(Product::nn, s, DType::bf16, c)));
  expect_close(bench.machine.get(c), operands.expected, DType::bf16, sum_terms(s.k));
  return bench.timed();
}
const Sizes small{16, 32, 64}, large{64, 64, 64};

TEST(CudaGemmCache, KeepsChoicesFromRunToRun) {
  const CacheFile file;
  EXPECT_EQ(timed_with(file.options(), small), 1);
  EXPECT_EQ(timed_with(file.options(), small), 0);
  EXPECT_EQ(timed_with(file.options(), large), 1);
  EXPECT_EQ(timed_with(file.options(), small), 0);
  EXPECT_EQ(timed_with(file.options(), large), 0);
  EXPECT_EQ(file.read()["products"].size(), 2u);
  EXPECT_EQ(file.files(), 1u);
}

TEST(CudaGemmCache, ChoicesOfAnotherDeviceOrLibraryAreNotUsed) {
  const CacheFile file;
  EXPECT_EQ(timed_with(file.options(), small), 1);
  const json sound = file.read();
  for (const auto& [member, value] : {std::pair<const char*, json>{"device", "another GPU"}, {"cublaslt", 1u}}) {
    json other = sound;
    other[member] = value;
    file.write(other.dump());
    EXPECT_EQ(timed_with(file.options(), small), 1);
    EXPECT_EQ(file.read()[member], sound[member]);
  }
}

TEST(CudaGemmCache, AnAlgorithmTheLibraryRefusesIsChosenAnew) {
  const CacheFile file;
  EXPECT_EQ(timed_with(file.options(), small), 1);
  json changed = file.read();
  for (auto& choice : changed["products"]) choice = std::string(128, 'f');
  file.write(changed.dump());
  EXPECT_EQ(timed_with(file.options(), small), 1);
  EXPECT_NE(file.read(), changed);
}

TEST(CudaGemmCache, RemembersThatThereIsNoAlgorithm) {
  const CacheFile file;
  const Sizes s{8, 33, 8};  // the library wants rows of the auxiliary matrix in multiples of eight
  for (int run = 0; run < 2; ++run) {
    GemmBench bench(file.options());
    const Operands operands(bench, Product::nn, s, DType::bf16);
    const Tensor c = bench.machine.make({s.m, s.n}, DType::bf16),
                 auxiliary = bench.machine.make({s.m, s.n}, DType::bf16);
    GemmCall call = operands.call(Product::nn, s, DType::bf16, c);
    call.epilogue = cuda::Epilogue::gelu_backward;
    call.auxiliary = auxiliary.data();
    EXPECT_FALSE(bench.run(call));
    EXPECT_FALSE(bench.run(call));
    EXPECT_EQ(bench.timed(), 0);
    const json products = file.read()["products"];
    ASSERT_EQ(products.size(), 1u);
    EXPECT_EQ(products.begin().value(), "none");
  }
}

TEST(CudaGemmCache, IsNeitherReadNorWrittenWithoutTuning) {
  const CacheFile file;
  file.write("no cache at all");
  BackendOptions options = file.options();
  options.product_tuning = false;
  EXPECT_EQ(timed_with(options, small), 0);
  std::ifstream stream(file.path());
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(stream), {}), "no cache at all");
}

TEST(CudaGemmCache, NamesTheFileThatIsNone) {
  const CacheFile file;
  EXPECT_EQ(timed_with(file.options(), small), 1);
  json digits = file.read(), number = digits;
  for (auto& choice : digits["products"]) choice = "12";
  for (auto& choice : number["products"]) choice = 12;
  const std::pair<std::string, std::string> cases[] = {
      {"", "is not JSON"},
      {"{\"device\": ", "is not JSON"},
      {"[1]", "has no \"device\""},
      {"{\"device\": \"a\", \"cublaslt\": 1}", "has no \"products\""},
      {"{\"device\": 1, \"cublaslt\": 1, \"products\": {}}", "\"device\" is not a text"},
      {"{\"device\": \"a\", \"cublaslt\": -1, \"products\": {}}", "\"cublaslt\" is not a version"},
      {"{\"device\": \"a\", \"cublaslt\": 1, \"products\": []}", "\"products\" is not an object"},
      {digits.dump(), "is not 128 hexadecimal digits"},
      {number.dump(), "is not 128 hexadecimal digits"},
  };
  for (const auto& [text, what] : cases) {
    file.write(text);
    try {
      const GemmBench bench(file.options());
      FAIL() << text << " was taken for a cache";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::bad_data);
      const std::string message = error.what();
      EXPECT_EQ(message.rfind(file.path() + ": ", 0), 0u) << message;
      EXPECT_NE(message.find(what), std::string::npos) << message;
      EXPECT_FALSE(error.hint().empty());
    }
  }
}

TEST(CudaGemmCache, MakesTheFolderOfItsFile) {
  const CacheFile file;
  BackendOptions options;
  options.product_cache = file.path() + ".of/two/folders.json";
  EXPECT_EQ(timed_with(options, small), 1);
  EXPECT_EQ(timed_with(options, small), 0);
}

TEST(CudaGemmCache, NamesTheFileItCannotWrite) {
  const CacheFile file;
  file.write("not a folder");
  BackendOptions options;
  options.product_cache = file.path() + "/products.json";
  try {
    timed_with(options, small);
    FAIL() << "a file was written into a file";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::io);
    EXPECT_EQ(std::string(error.what()).rfind(options.product_cache + ": cannot be written", 0), 0u) << error.what();
  }
}

}  // namespace
}  // namespace nll::test
