// The limits of a machine: what its maker publishes, and what can be measured on it. What a benchmark, a plan and
// "share of peak" compare with.
#pragma once
#include "kernels/device.h"
#include "kernels/tensor.h"

namespace nll {

// Published peaks of a GPU, found by its name; 0: not known. Dense (no structured sparsity), at boost clock, products
// summed in FP32. Sources: kernels/machine_published.cpp.
double peak_matmul_flops(const DeviceInfo& device, DType type);  // f32 (without TF32), bf16, f16: operations a second
double peak_memory_bytes(const DeviceInfo& device);              // bytes a second

// Sustained rate of a large matrix product (Ops::linear, up to 8192^3, random factors of that type) in operations a
// second, and of a copy inside the device's memory in bytes read and written a second. Both begin small and grow until
// one piece of work takes a while, so they end after about `seconds` on any device; the best of several pieces counts.
// Memory: up to 1 GiB, given back.
double measure_matmul_flops(Backend& backend, DType type, double seconds);
double measure_memory_bytes(Backend& backend, double seconds);

// The same of this machine's CPU, without a backend.
// Rate of FP32 matrix products (1024^3 a thread, all threads at once), in 10^9 operations a second; the best of
// several.
double measure_sgemm_gflops(int threads, double seconds);
// Bytes a second of a pass that reads two arrays and writes one, of 64 MiB a thread, in 10^9; the best of several.
double measure_memory_gigabytes(int threads, double seconds);

}  // namespace nll
