// Did you mean: the known name that an unknown one was probably meant to be.
#pragma once
#include <string>
#include <vector>

namespace nll {

// Insertions, deletions, substitutions and swaps of neighbours that lead from one to the other; letter case is ignored.
int edit_distance(const std::string& a, const std::string& b);
// The nearest of `known`, or the one that is called `unknown` elsewhere (n_layer, bfloat16); empty when none is near.
std::string nearest(const std::string& unknown, const std::vector<std::string>& known);
// What other trainers call `name` here ("n_layer" -> "layers"); empty when it is no such name.
std::string known_elsewhere_as(const std::string& name);

}  // namespace nll
