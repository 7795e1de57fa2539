// What of NCCL's library can be asked before there are a GPU and other ranks. Only in builds that have nccl.cpp.
#pragma once
#include <string>

namespace nll {

// Opens the library and finds every function that is used of it; its version as "2.28.9". Error(usage) where it is
// missing, too old, or lacks a function.
std::string nccl_version();
// The first step of a start: bytes for the other ranks. Needs no GPU.
std::string nccl_unique_id();

}  // namespace nll
