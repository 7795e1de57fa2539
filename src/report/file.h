// Whole files for the report room: read at once, or replaced so that a crash leaves the old or the new one.
#pragma once
#include <string>
#include <string_view>

namespace nll {

// Throws Error(io): `path` cannot be `what` ("read", "written") for `reason`, an errno; with a hint for a full disk.
[[noreturn]] void file_failed(const std::string& path, const char* what, int reason);
// Throws Error(io) that names the file and the reason.
std::string read_file(const std::string& path);
// Writes `path`.tmp, flushes it to the disk, renames it over `path` and flushes the folder. Throws Error(io) and
// removes the temporary file when a step fails.
void replace_file(const std::string& path, std::string_view content);
// Writes all of `content`: short writes go on, EINTR is tried again. False with errno set when a write fails.
bool write_all(int descriptor, std::string_view content);

}  // namespace nll
