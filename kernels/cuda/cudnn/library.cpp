#include "kernels/cuda/cudnn/library.h"

#include <dlfcn.h>

#include <algorithm>

namespace nll::cuda {
namespace {

constexpr const char* file = "libcudnn.so.9";

std::string linker_error() {
  const char* text = dlerror();
  return text != nullptr ? text : "unknown fault of the dynamic linker";
}

// "" where the library has the function.
template <class Function>
std::string find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(dlsym(library, name));
  return function != nullptr ? "" : std::string(file) + " has no " + name;
}

}  // namespace

std::shared_ptr<const CudnnLibrary> CudnnLibrary::open(std::string* why) {
  CHECK(why != nullptr);
  void* library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *why = std::string(file) + " cannot be opened: " + linker_error();
    return nullptr;
  }
  auto found = std::make_shared<CudnnLibrary>();
  const std::string faults[] = {
      find(library, "cudnnGetVersion", found->get_version),
      find(library, "cudnnGetErrorString", found->get_error_string),
      find(library, "cudnnGetLastErrorString", found->get_last_error_string),
      find(library, "cudnnCreate", found->create),
      find(library, "cudnnDestroy", found->destroy),
      find(library, "cudnnSetStream", found->set_stream),
      find(library, "cudnnBackendCreateDescriptor", found->create_descriptor),
      find(library, "cudnnBackendDestroyDescriptor", found->destroy_descriptor),
      find(library, "cudnnBackendSetAttribute", found->set_attribute),
      find(library, "cudnnBackendGetAttribute", found->get_attribute),
      find(library, "cudnnBackendFinalize", found->finalize),
      find(library, "cudnnBackendExecute", found->execute),
  };
  for (const std::string& fault : faults) {
    if (fault.empty()) continue;
    *why = fault;
    return nullptr;
  }
  if (found->version() < oldest) {
    *why = std::string(file) + " is cuDNN " + found->version_text() + " (expected 9.11 or newer)";
    return nullptr;
  }
  return found;
}

std::string CudnnLibrary::version_text() const {
  const std::size_t number = version();
  return std::to_string(number / 10000) + "." + std::to_string(number / 100 % 100) + "." + std::to_string(number % 100);
}

std::string CudnnLibrary::last_error() const {
  char buffer[4096] = {};
  get_last_error_string(buffer, sizeof(buffer));
  buffer[sizeof(buffer) - 1] = '\0';
  // Lines of "Warning: <status>; Reason: <reason>", innermost first; the first reason is the one that counts.
  std::string text = buffer;
  const std::string mark = "Reason: ";
  const std::size_t reason = text.find(mark);
  if (reason != std::string::npos) text.erase(0, reason + mark.size());
  text.erase(std::min(text.find('\n'), text.size()));
  return text;
}

void CudnnLibrary::check(cudnnStatus_t outcome, const std::string& what) const {
  if (outcome == CUDNN_STATUS_SUCCESS) return;
  const bool memory = outcome == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED ||
                      outcome == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
  const std::string told = last_error();
  throw Error(memory ? Exit::resources : Exit::internal,
              "cuda: " + what + ": " + get_error_string(outcome) + (told.empty() ? "" : " (" + told + ")"),
              memory ? "free the GPU of other programs, or lower batch.sequences" : "use cuda.attention \"own\"");
}

}  // namespace nll::cuda
