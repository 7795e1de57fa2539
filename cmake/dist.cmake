# What carries messages between ranks besides plain TCP. Both are optional: a program starts without them and says what
# is missing when a run needs it.

# MPI, as a plugin beside the program, so that the program itself does not need MPI's library.
find_package(MPI COMPONENTS C)
if(MPI_C_FOUND AND EXISTS ${PROJECT_SOURCE_DIR}/src/dist/mpi.cpp)
  add_library(nll_mpi MODULE src/dist/mpi.cpp src/dist/blame.cpp)
  target_link_libraries(nll_mpi PRIVATE nll_settings fmt::fmt MPI::MPI_C)
  # MPI's interface is that of C; nothing may be left to be found when the plugin is opened.
  target_compile_definitions(nll_mpi PRIVATE OMPI_SKIP_MPICXX=1 MPICH_SKIP_MPICXX=1)
  if(NOT NLL_SANITIZE)  # their runtime is the program's
    target_link_options(nll_mpi PRIVATE LINKER:--no-undefined)
  endif()
  set_target_properties(nll_mpi PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endif()

# NCCL, opened at run time; its header comes with the CUDA toolkit or beside it.
if(NLL_CUDA)
  find_path(NLL_NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  if(NLL_NCCL_INCLUDE_DIR AND EXISTS ${PROJECT_SOURCE_DIR}/src/dist/nccl.cpp)
    target_sources(nll_dist PRIVATE src/dist/nccl.cpp)
    target_compile_definitions(nll_dist PRIVATE NLL_NCCL=1)
    target_include_directories(nll_dist SYSTEM PRIVATE ${NLL_NCCL_INCLUDE_DIR})
    target_link_libraries(nll_dist PRIVATE CUDA::cudart_static)
  endif()
endif()
