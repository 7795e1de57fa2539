#include "kernels/machine.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "kernels/check.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/team.h"

namespace nll {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// amount(work) / time(work) of the fastest repetition within `seconds`, at least three of them.
template <class Work>
double best_rate(double amount, double seconds, Work&& work) {
  double best = 0;
  work();  // pages, caches, frequency
  const double end = now() + seconds;
  for (int repetition = 0; repetition < 3 || now() < end; ++repetition) {
    const double start = now();
    work();
    best = std::max(best, amount / (now() - start));
  }
  return best;
}

}  // namespace

double measure_sgemm_gflops(int threads, double seconds) {
  CHECK(threads >= 1);
  constexpr std::int64_t size = 1024;
  cpu::use_one_thread_a_call();
  cpu::ThreadTeam team(threads);
  std::vector<std::vector<float>> matrices(static_cast<std::size_t>(threads));
  const double operations = 2.0 * size * size * size * threads;
  return 1e-9 * best_rate(operations, seconds, [&] {
           team.run([&](int thread) {
             std::vector<float>& all = matrices[static_cast<std::size_t>(thread)];
             if (all.empty()) {
               all.resize(3 * size * size);
               for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<float>(i % 251) * 0.01f - 1.25f;
             }
             const cpu::Gemm gemm{cpu::Product::nn,
                                  size,
                                  size,
                                  size,
                                  all.data(),
                                  size,
                                  all.data() + size * size,
                                  size,
                                  all.data() + 2 * size * size,
                                  size,
                                  0};
             multiply_block(gemm, {{0, size}, {0, size}});
           });
         });
}

double measure_memory_gigabytes(int threads, double seconds) {
  CHECK(threads >= 1);
  constexpr std::int64_t size = std::int64_t{16} << 20;
  const cpu::RowKernels& rows = *cpu::row_kernels("");
  cpu::ThreadTeam team(threads);
  std::vector<std::vector<float>> arrays(static_cast<std::size_t>(threads));
  return 1e-9 * best_rate(12.0 * static_cast<double>(size) * threads, seconds, [&] {
           team.run([&](int thread) {
             std::vector<float>& all = arrays[static_cast<std::size_t>(thread)];
             if (all.empty()) all.resize(static_cast<std::size_t>(3 * size), 1.0f);
             rows.add(all.data(), all.data() + size, all.data() + 2 * size, size);
           });
         });
}

}  // namespace nll
