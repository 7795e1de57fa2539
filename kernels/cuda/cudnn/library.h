// CudnnLibrary: the functions of cuDNN that attention calls, found at run time, so that a program without the library
// runs as well. Compiled only where cuDNN's headers are (NLL_CUDNN).
#pragma once
#include <cudnn_graph.h>

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/check.h"

static_assert(CUDNN_VERSION >= 91100,
              "expected cuDNN's headers 9.11 or newer; configure with -DNLL_CUDNN_INCLUDE_DIR=");

namespace nll::cuda {

class CudnnLibrary {
 public:
  // The first with CUDNN_ATTR_REDUCTION_IS_DETERMINISTIC; and without the faults of attention in 9.10.0 and 9.10.1,
  // with scores of -infinity (9.10), and clearing dq_sum by itself (9.6).
  static constexpr std::size_t oldest = 91100;

  // libcudnn.so.9 where the dynamic linker finds it. Null where it does not, or where the library is of no use; `why`
  // then says so in a part of a line. It stays open until the program ends: it keeps threads and state of its own.
  static std::shared_ptr<const CudnnLibrary> open(std::string* why);
  // Of the library, as "9.19.0", and as cuDNN counts: 91900.
  std::string version_text() const;
  std::size_t version() const { return get_version(); }

  // Nothing on success, else throws "cuda: <what>: <status> (<what the library says of it>)": Exit::resources where it
  // is memory, else Exit::internal.
  void check(cudnnStatus_t outcome, const std::string& what) const;
  std::string last_error() const;  // of the calls of this thread; "" where there is none

  decltype(&cudnnGetVersion) get_version = nullptr;
  decltype(&cudnnGetErrorString) get_error_string = nullptr;
  decltype(&cudnnGetLastErrorString) get_last_error_string = nullptr;
  decltype(&cudnnCreate) create = nullptr;
  decltype(&cudnnDestroy) destroy = nullptr;
  decltype(&cudnnSetStream) set_stream = nullptr;
  decltype(&cudnnBackendCreateDescriptor) create_descriptor = nullptr;
  decltype(&cudnnBackendDestroyDescriptor) destroy_descriptor = nullptr;
  decltype(&cudnnBackendSetAttribute) set_attribute = nullptr;
  decltype(&cudnnBackendGetAttribute) get_attribute = nullptr;
  decltype(&cudnnBackendFinalize) finalize = nullptr;
  decltype(&cudnnBackendExecute) execute = nullptr;
};

}  // namespace nll::cuda
