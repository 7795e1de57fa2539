# The CUDA backend, for builds with NLL_CUDA. Needs the toolkit (nvcc, cuBLASLt), no GPU.

# Code for the A100 (80; 86 and 89 run it too) and the H100 (90a). Others by name: -DCMAKE_CUDA_ARCHITECTURES="90a-real;100-real".
set(CMAKE_CUDA_ARCHITECTURES "80-real;90a-real" CACHE STRING "GPU architectures to build for, as CMake names them")
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS /usr/local/cuda/bin)
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
if(CCACHE)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
# A program finds the toolkit's libraries where it was built, and those beside it (../lib) in a bundle carried elsewhere.
list(APPEND CMAKE_BUILD_RPATH "$ORIGIN/../lib")

# nll_cuda_backend(TARGET): adds kernels/cuda to a library.
function(nll_cuda_backend target)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cu ${PROJECT_SOURCE_DIR}/kernels/cuda/*.cpp)
  target_sources(${target} PRIVATE ${sources})
  set_source_files_properties(${PROJECT_SOURCE_DIR}/kernels/make.cpp TARGET_DIRECTORY ${target}
                              PROPERTIES COMPILE_DEFINITIONS NLL_CUDA=1)
  set_target_properties(${target} PROPERTIES CUDA_RUNTIME_LIBRARY Static)
  # By option: CMake 3.25 does not know that nvcc has C++20.
  target_compile_options(${target} PRIVATE
    "$<$<COMPILE_LANGUAGE:CUDA>:-std=c++20;--Werror=all-warnings;-Xcompiler=-Wall,-Wextra,-Wshadow,-Werror>")
  # The static runtime: a program then needs the driver and cuBLASLt only. Private: the rooms are compiled as without it.
  target_link_libraries(${target} PRIVATE CUDA::cudart_static CUDA::cublasLt nlohmann_json::nlohmann_json)
  # cuDNN's attention, for comparison with our own. Headers only: the library is opened at run time.
  find_path(NLL_CUDNN_INCLUDE_DIR cudnn_graph.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  if(NLL_CUDNN_INCLUDE_DIR)
    file(GLOB cudnn_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/cuda/cudnn/*.cpp)
    target_sources(${target} PRIVATE ${cudnn_sources})
    target_include_directories(${target} SYSTEM PRIVATE ${NLL_CUDNN_INCLUDE_DIR})
    target_compile_definitions(${target} PRIVATE NLL_CUDNN=1)
    target_link_libraries(${target} PRIVATE ${CMAKE_DL_LIBS})
  endif()
endfunction()

# nll_sees_cuda(TARGET): for tests that look into the backend.
function(nll_sees_cuda target)
  target_link_libraries(${target} PRIVATE CUDA::cudart_static CUDA::cublasLt)
  if(NLL_CUDNN_INCLUDE_DIR)
    target_include_directories(${target} SYSTEM PRIVATE ${NLL_CUDNN_INCLUDE_DIR})
    target_compile_definitions(${target} PRIVATE NLL_CUDNN=1)
  endif()
endfunction()
