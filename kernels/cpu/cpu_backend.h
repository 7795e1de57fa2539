// The CPU's answer to make_backend (kernels/make.cpp).
#pragma once
#include <string>

#include "kernels/device.h"

namespace nll::cpu {

Backend make_cpu_backend(int threads, const std::string& instructions);

}  // namespace nll::cpu
