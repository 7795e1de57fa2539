// Paths as users write them: a name that exists, or a glob.
#pragma once
#include <string>
#include <vector>

namespace nll {

// The paths that a pattern means, sorted: itself where something of that name exists, else what it matches as a glob
// (*, ?, [...]). Empty where nothing does.
std::vector<std::string> matching_paths(const std::string& pattern);
// The names in a folder, sorted. Throws Error(bad_data) when it cannot be read.
std::vector<std::string> names_in_folder(const std::string& folder);
bool is_folder(const std::string& path);

}  // namespace nll
