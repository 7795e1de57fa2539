// The limits of this machine, measured: what a benchmark and "share of peak" compare with. Each takes about `seconds`.
#pragma once

namespace nll {

// Rate of FP32 matrix products (1024^3 a thread, all threads at once), in 10^9 operations a second; the best of
// several.
double measure_sgemm_gflops(int threads, double seconds);
// Bytes a second of a pass that reads two arrays and writes one, of 64 MiB a thread, in 10^9; the best of several.
double measure_memory_gigabytes(int threads, double seconds);

}  // namespace nll
