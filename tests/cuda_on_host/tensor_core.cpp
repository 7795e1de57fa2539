#include "tests/cuda_on_host/tensor_core.h"

#include <cstring>
#include <type_traits>

namespace nll::cuda_on_host {
namespace {

struct MatrixLoad {
  std::uint32_t* registers;
  const void* row;
  int matrices;
  bool transposed;
};

void combine_load(void* const* parts, int) {
  const MatrixLoad& any = *static_cast<const MatrixLoad*>(parts[0]);
  std::uint16_t rows[4][8][8];
  for (int lane = 0; lane < 8 * any.matrices; ++lane) {
    std::memcpy(rows[lane / 8][lane % 8], static_cast<const MatrixLoad*>(parts[lane])->row, 16);
  }
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int j = 0; j < any.matrices; ++j) {
      const auto& m = rows[j];
      const std::uint32_t low = any.transposed ? m[2 * t][g] : m[g][2 * t];
      const std::uint32_t high = any.transposed ? m[2 * t + 1][g] : m[g][2 * t + 1];
      static_cast<const MatrixLoad*>(parts[lane])->registers[j] = low | high << 16;
    }
  }
}

template <class T>
float value_of(std::uint32_t two, int half) {
  const auto bits = static_cast<std::uint16_t>(half == 0 ? two & 0xffffu : two >> 16);
  return std::is_same_v<T, __half> ? half_value(bits) : bfloat16_value(bits);
}

bool aligned_to_16(const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; }

void arrive(const PendingCopies& pending, std::size_t end) {
  for (std::size_t i = 0; i < end; ++i) std::memcpy(pending.copies[i].to, pending.copies[i].bytes, 16);
}

}  // namespace

template <class T>
void combine_matrix_product(void* const* parts, int) {
  float a[16][16], b[16][8], d[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<const MatrixFragments*>(parts[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) a[g + 8 * (i % 2)][2 * t + 8 * (i / 2) + half] = value_of<T>(own.a[i], half);
      for (int i = 0; i < 2; ++i) b[2 * t + 8 * i + half][g] = value_of<T>(own.b[i], half);
      for (int i = 0; i < 2; ++i) d[g + 8 * i][2 * t + half] = own.d[2 * i + half];
    }
  }
  for (int row = 0; row < 16; ++row) {
    for (int k = 0; k < 16; ++k) {
      for (int column = 0; column < 8; ++column) d[row][column] += a[row][k] * b[k][column];
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& own = *static_cast<const MatrixFragments*>(parts[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int i = 0; i < 4; ++i) own.d[i] = d[g + 8 * (i / 2)][2 * t + i % 2];
  }
}
template void combine_matrix_product<__nv_bfloat16>(void* const*, int);
template void combine_matrix_product<__half>(void* const*, int);

void load_matrices(const char* name, std::uint32_t* registers, int matrices, bool transposed, const void* shared,
                   const char* file, int line) {
  if (!aligned_to_16(shared)) fault(std::string(name) + ": an address that is no multiple of 16", file, line);
  MatrixLoad load{registers, shared, matrices, transposed};
  const Meeting meeting{name, file, line, whole_warp, &load};
  meet(meeting, combine_load);
}

void begin_copy(void* shared, const void* global, bool valid, const char* file, int line) {
  if (!aligned_to_16(shared)) fault("cp_async_16: a target that is no multiple of 16", file, line);
  if (valid && !aligned_to_16(global)) fault("cp_async_16: a source that is no multiple of 16", file, line);
  PendingCopy copy{shared, {}};
  if (valid) std::memcpy(copy.bytes, global, 16);
  std::memset(shared, 0xff, 16);
  current_pending_copies().copies.push_back(copy);
}

void commit_copies() {
  PendingCopies& pending = current_pending_copies();
  pending.group_ends.push_back(pending.copies.size());
}

void wait_for_copies(int groups_left) {
  PendingCopies& pending = current_pending_copies();
  const std::size_t left = static_cast<std::size_t>(groups_left);
  if (pending.group_ends.size() <= left) return;
  const std::size_t groups = pending.group_ends.size() - left;
  const std::size_t end = pending.group_ends[groups - 1];
  arrive(pending, end);
  pending.copies.erase(pending.copies.begin(), pending.copies.begin() + static_cast<std::ptrdiff_t>(end));
  pending.group_ends.erase(pending.group_ends.begin(),
                           pending.group_ends.begin() + static_cast<std::ptrdiff_t>(groups));
  for (std::size_t& group_end : pending.group_ends) group_end -= end;
}

}  // namespace nll::cuda_on_host
