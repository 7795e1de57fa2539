// Counts what the test program takes by operator new.
#pragma once
#include <cstdint>

namespace nll::test {

std::int64_t allocation_count();

}  // namespace nll::test
