// Which of the compiled row kernels this processor can run.
#include <cstring>

#include "kernels/cpu/rows.h"

namespace nll::cpu {

extern const RowKernels generic_row_kernels;
#if defined(__x86_64__)
extern const RowKernels avx2_row_kernels, avx512_row_kernels;
#endif

namespace {

struct Supported {
  const char* names[3] = {};
  const RowKernels* tables[3] = {};
  int count = 0;
  void add(const RowKernels& table) {
    names[count] = table.instructions;
    tables[count++] = &table;
  }
};

const Supported& supported() {
  static const Supported all = [] {
    Supported found;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    if (v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")) {
      found.add(avx512_row_kernels);
    }
    if (v3) found.add(avx2_row_kernels);
#endif
    found.add(generic_row_kernels);
    return found;
  }();
  return all;
}

}  // namespace

const char* const* supported_instructions(int* count) {
  *count = supported().count;
  return supported().names;
}

const RowKernels* row_kernels(const char* instructions) {
  for (int i = 0; i < supported().count; ++i) {
    if (instructions[0] == '\0' || std::strcmp(instructions, supported().names[i]) == 0) return supported().tables[i];
  }
  return nullptr;
}

}  // namespace nll::cpu
