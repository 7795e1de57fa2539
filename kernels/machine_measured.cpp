#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "kernels/machine.h"
#include "kernels/ops.h"
#include "kernels/philox.h"

namespace nll {

namespace {

double seconds_of(Device& device, const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  device.synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Random numbers of the type in [-1, 1): zeros and other regular data let a GPU run faster than training does.
Tensor random_matrix(Backend& backend, std::vector<Buffer>& buffers, DType type, std::int64_t rows,
                     std::int64_t columns) {
  Device& device = *backend.device;
  std::vector<float> values(static_cast<std::size_t>(rows * columns));
  for (std::size_t i = 0; i < values.size(); i += 4) {
    const PhiloxBlock block = philox(3, buffers.size(), i);
    for (std::size_t k = 0; k < 4 && i + k < values.size(); ++k) values[i + k] = 2 * unit_float(block.word[k]) - 1;
  }
  const Buffer staging = device.allocate(4 * rows * columns);
  const Tensor exact = staging.tensor(0, DType::f32, {rows, columns});
  device.upload(exact, values.data());
  buffers.push_back(device.allocate(bytes_of(type) * rows * columns));
  const Tensor matrix = buffers.back().tensor(0, type, {rows, columns});
  if (type == DType::f32) {
    device.copy(matrix, exact);
  } else {
    backend.ops->convert(matrix.reshape({matrix.size()}), exact.reshape({exact.size()}));
  }
  device.synchronize();
  return matrix;
}

// amount / time of `work`, repeated without waiting in between for a fifth of `seconds` at a time; the best such piece.
double best_rate(Device& device, double amount, double seconds, double once, const std::function<void()>& work) {
  const int repetitions = static_cast<int>(std::clamp(seconds / 5 / once, 1.0, 1000.0));
  double best = 0, spent = 0;
  for (int piece = 0; piece < 3 || spent < seconds; ++piece) {
    const double took = seconds_of(device, [&] {
      for (int i = 0; i < repetitions; ++i) work();
    });
    best = std::max(best, amount * repetitions / took);
    spent += took;
  }
  return best;
}

}  // namespace

double measure_matmul_flops(Backend& backend, DType type, double seconds) {
  Device& device = *backend.device;
  for (std::int64_t size = 512;; size *= 2) {
    std::vector<Buffer> buffers;
    const Tensor x = random_matrix(backend, buffers, type, size, size),
                 w = random_matrix(backend, buffers, type, size, size),
                 bias = random_matrix(backend, buffers, type, 1, size).reshape({size});
    buffers.push_back(device.allocate(bytes_of(type) * size * size));
    const Tensor y = buffers.back().tensor(0, type, {size, size});
    const auto product = [&] { backend.ops->linear(y, x, w, bias); };
    seconds_of(device, product);  // scratch memory, the choice of an algorithm
    const double once = seconds_of(device, product);
    // The next size takes eight times as long.
    if (size < 8192 && 8 * once < seconds / 10) continue;
    const double n = static_cast<double>(size);
    return best_rate(device, 2 * n * n * n, seconds, once, product);
  }
}

double measure_memory_bytes(Backend& backend, double seconds) {
  Device& device = *backend.device;
  const std::int64_t most = std::min(std::int64_t{512} << 20, device.info().available_memory_bytes / 4);
  for (std::int64_t size = std::int64_t{16} << 20;; size *= 2) {
    const Buffer from = device.allocate(size), to = device.allocate(size);
    const Tensor source = from.tensor(0, DType::u8, {size}), destination = to.tensor(0, DType::u8, {size});
    const auto copy = [&] { device.copy(destination, source); };
    seconds_of(device, copy);
    const double once = seconds_of(device, copy);
    if (2 * size <= most && 2 * once < seconds / 10) continue;
    return best_rate(device, 2 * static_cast<double>(size), seconds, once, copy);
  }
}

}  // namespace nll
