// Sums over ranks of numbers that objectives count: added in the order of ranks, the same on all of them.
#pragma once
#include <vector>

#include "src/dist/collective.h"
#include "src/objectives/objective.h"

namespace nll {

// The same number of numbers on every rank.
std::vector<double> add_over_ranks(Collective& collective, const std::vector<double>& mine, const char* name);
// The same names in the same order on every rank.
Metrics add_over_ranks(Collective& collective, const Metrics& mine);
StepCounts add_over_ranks(Collective& collective, const StepCounts& mine);

// Whether all ranks say so.
bool all_go_on(Collective& collective, bool mine);

}  // namespace nll
