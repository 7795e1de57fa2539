#include "kernels/cuda/sort.cuh"

#include <algorithm>
#include <numeric>

#include "kernels/cuda/stream.h"
#include "tests/cuda/machine.h"

namespace nll::test {
namespace {

using Tokens = std::vector<std::int32_t>;

TEST(CudaSort, EqualsAStableSortOnTheHost) {
  CudaMachine machine;
  const cuda::Stream stream;
  for (const std::int32_t vocabulary : {1, 3, 256, 50257, 1 << 30}) {
    for (const std::int64_t n : {1, 31, 257, 2048, 5001}) {
      SCOPED_TRACE("V " + std::to_string(vocabulary) + ", n " + std::to_string(n));
      Tokens tokens = Random(1).below(vocabulary, n);
      for (std::size_t i = 0; i < tokens.size(); i += 7) tokens[i] = i % 2 == 0 ? -5 : vocabulary + 9;  // unknown
      const Tensor scratch = machine.make({cuda::sort_bytes(n)}, DType::u8), ids = machine.put_ints(tokens, {n});
      machine.device().synchronize();
      const cuda::SortedTokens sorted =
          cuda::sort_tokens(scratch.data(), ids.as<std::int32_t>(), n, vocabulary, stream.get());
      stream.synchronize();
      for (std::int32_t& token : tokens) {
        if (token < 0 || token >= vocabulary) token = vocabulary;
      }
      Tokens order(tokens.size());
      std::iota(order.begin(), order.end(), 0);
      const auto token_of = [&](std::int32_t i) { return tokens[static_cast<std::size_t>(i)]; };
      std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return token_of(a) < token_of(b); });
      Tokens expected;
      for (const std::int32_t i : order) expected.push_back(token_of(i));
      EXPECT_EQ(machine.get_ints(Tensor(const_cast<std::int32_t*>(sorted.tokens), DType::i32, {n})), expected);
      EXPECT_EQ(machine.get_ints(Tensor(const_cast<std::int32_t*>(sorted.positions), DType::i32, {n})), order);
    }
  }
}

}  // namespace
}  // namespace nll::test
