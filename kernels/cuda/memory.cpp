#include "kernels/cuda/memory.h"

#include "kernels/cuda/error.h"

namespace nll::cuda {
namespace {

// Frees when the stream has done what was queued for this memory. A stream that is gone has: it waits when destroyed.
std::shared_ptr<void> owned(const Stream& stream, void* data, cudaError_t (*release)(void*)) {
  return {data, [queue = stream.weak_from_this(), release](void* memory) {
            if (const auto alive = queue.lock()) (void)cudaStreamSynchronize(alive->get());
            (void)release(memory);
          }};
}

cudaError_t free_device(void* data) { return cudaFree(data); }
cudaError_t free_host(void* data) { return cudaFreeHost(data); }

void* try_device(const Stream& stream, std::int64_t bytes) {
  CHECK(bytes >= 0);
  CHECK(!stream.capturing());
  void* data = nullptr;
  const cudaError_t outcome = cudaMalloc(&data, static_cast<std::size_t>(bytes));
  if (outcome == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    return nullptr;
  }
  check(outcome, "allocating " + std::to_string(bytes) + " bytes");
  return data;
}

}  // namespace

Buffer device_memory(const Stream& stream, std::int64_t bytes) {
  if (bytes == 0) return {};
  Buffer buffer = device_memory_if_there_is_room(stream, bytes);
  if (buffer.data() != nullptr) return buffer;
  std::size_t available = 0, total = 0;
  check(cudaMemGetInfo(&available, &total), "asking for free memory");
  throw Error(Exit::resources,
              "cuda: " + std::to_string(bytes) + " bytes of GPU memory are needed, " + std::to_string(available) +
                  " of " + std::to_string(total) + " are available",
              "lower batch.sequences, model.context or the model's size, or free the GPU of other programs; "
              "`nll plan` shows what needs how much");
}

Buffer device_memory_if_there_is_room(const Stream& stream, std::int64_t bytes) {
  if (bytes == 0) return {};
  void* data = try_device(stream, bytes);
  if (data == nullptr) return {};
  return {data, bytes, owned(stream, data, free_device)};
}

Buffer host_memory(const Stream& stream, std::int64_t bytes) {
  CHECK(bytes >= 0);
  CHECK(!stream.capturing());
  if (bytes == 0) return {};
  void* data = nullptr;
  const cudaError_t outcome = cudaMallocHost(&data, static_cast<std::size_t>(bytes));
  if (outcome == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    throw Error(Exit::resources, "cuda: the system gives no " + std::to_string(bytes) + " bytes of pinned memory",
                "free memory of this machine, or raise its limit of locked memory (ulimit -l)");
  }
  check(outcome, "allocating " + std::to_string(bytes) + " bytes of pinned memory");
  return {data, bytes, owned(stream, data, free_host)};
}

}  // namespace nll::cuda
