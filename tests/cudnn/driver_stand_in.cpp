// A libcuda.so.1 for machines without a GPU: cuDNN compiles its kernels with NVRTC and then hands them to the driver;
// this one takes them and can do nothing else. It sees no device.
#include <cstdint>

namespace {
constexpr int success = 0, no_device = 100, not_supported = 801;  // as in cuda.h
}  // namespace

extern "C" {

int cuLibraryLoadData(void** library) {
  *library = reinterpret_cast<void*>(std::uintptr_t{16});
  return success;
}
int cuLibraryGetKernel(void** kernel) {
  *kernel = reinterpret_cast<void*>(std::uintptr_t{32});
  return success;
}
int cuLibraryUnload() { return success; }
int cuKernelSetAttribute() { return success; }
int cuInit() { return no_device; }
int cuDeviceGetCount() { return no_device; }

// The others that cuDNN and the runtime look up by name.
#define NLL_REFUSE(name) \
  int name() { return not_supported; }
NLL_REFUSE(cuCtxGetCurrent)
NLL_REFUSE(cuCtxGetDevice)
NLL_REFUSE(cuCtxGetLimit)
NLL_REFUSE(cuCtxPopCurrent)
NLL_REFUSE(cuCtxPushCurrent)
NLL_REFUSE(cuDeviceGet)
NLL_REFUSE(cuDeviceGetAttribute)
NLL_REFUSE(cuDevicePrimaryCtxRelease)
NLL_REFUSE(cuDevicePrimaryCtxReset)
NLL_REFUSE(cuDevicePrimaryCtxRetain)
NLL_REFUSE(cuDriverGetVersion)
NLL_REFUSE(cuFuncGetAttribute)
NLL_REFUSE(cuFuncSetAttribute)
NLL_REFUSE(cuGetErrorName)
NLL_REFUSE(cuGetErrorString)
NLL_REFUSE(cuGetExportTable)
NLL_REFUSE(cuGetProcAddress)
NLL_REFUSE(cuGetProcAddress_v2)
NLL_REFUSE(cuKernelGetAttribute)
NLL_REFUSE(cuLaunchCooperativeKernel)
NLL_REFUSE(cuLaunchKernel)
NLL_REFUSE(cuLaunchKernelEx)
NLL_REFUSE(cuLibraryLoadFromFile)
NLL_REFUSE(cuLinkAddData)
NLL_REFUSE(cuLinkAddData_v2)
NLL_REFUSE(cuLinkAddFile_v2)
NLL_REFUSE(cuLinkComplete)
NLL_REFUSE(cuLinkCreate)
NLL_REFUSE(cuLinkCreate_v2)
NLL_REFUSE(cuLinkDestroy)
NLL_REFUSE(cuMemcpyDtoH_v2)
NLL_REFUSE(cuModuleGetFunction)
NLL_REFUSE(cuModuleGetGlobal_v2)
NLL_REFUSE(cuModuleLoadData)
NLL_REFUSE(cuModuleLoadDataEx)
NLL_REFUSE(cuModuleLoadFatBinary)
NLL_REFUSE(cuModuleUnload)
NLL_REFUSE(cuOccupancyMaxActiveBlocksPerMultiprocessor)
NLL_REFUSE(cuOccupancyMaxPotentialClusterSize)
NLL_REFUSE(cuStreamGetCtx)
NLL_REFUSE(cuStreamSynchronize)
NLL_REFUSE(cuTensorMapEncodeTiled)

}  // extern "C"
