// The part of CUDA's <cuda_runtime.h> that the backend uses, for a host compiler.
#pragma once
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "tests/cuda_on_host/collectives.h"
#include "tests/cuda_on_host/intrinsics.h"
#include "tests/cuda_on_host/runtime_api.h"
#include "tests/cuda_on_host/vector_types.h"
