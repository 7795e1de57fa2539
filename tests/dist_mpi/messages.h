// Operations of a Transport, alone and under Collective, checked against what has to arrive.
#pragma once
#include <cstdint>
#include <memory>

#include "src/dist/transport.h"

namespace nll {

// Every operation, on parts of equal, uneven and no length, in types of 1, 2 and 4 bytes. `elements`: about how many in
// a tensor. Throws std::logic_error where something else arrived.
void check_operations(Transport& transport, std::int64_t elements);

// Several operations started before the first is waited for, and waited for in another order.
void check_in_flight(Transport& transport, std::int64_t elements);

// Buckets of gradients through Collective: the sums are those of one rank after the other, bit for bit, on all ranks.
void check_sums(std::shared_ptr<Transport> transport);

}  // namespace nll
