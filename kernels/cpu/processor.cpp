#include "kernels/cpu/processor.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

namespace nll::cpu {
namespace {

constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();

// The first number of a file of the kernel; `unlimited` where there is no file or it says "max".
std::int64_t number_in(const std::string& path) {
  std::ifstream file(path);
  std::int64_t value = 0;
  return file >> value && value >= 0 ? value : unlimited;
}

// Folders of this process's cgroup and its parents, for version 2 ("") or a controller of version 1.
std::vector<std::string> cgroup_folders(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  std::vector<std::string> folders;
  const std::string root = controller.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    if (line.substr(first + 1, second - first - 1) != controller) continue;
    std::string path = line.substr(second + 1);
    while (!path.empty() && path != "/") {
      folders.push_back(root + path);
      path.erase(path.find_last_of('/'));
    }
  }
  folders.push_back(root);
  return folders;
}

void limit_memory(MemorySize& memory, std::int64_t limit, std::int64_t used) {
  if (limit == unlimited) return;
  memory.total = std::min(memory.total, limit);
  if (used != unlimited) memory.available = std::min(memory.available, std::max<std::int64_t>(0, limit - used));
}

}  // namespace

int usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cores =
      sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
  const auto limit = [&](double quota, double period) {
    if (quota > 0 && period > 0) cores = std::min(cores, static_cast<int>(std::ceil(quota / period)));
  };
  for (const std::string& folder : cgroup_folders("")) {
    std::ifstream file(folder + "/cpu.max");
    double quota = 0, period = 0;
    if (file >> quota >> period) limit(quota, period);
  }
  for (const std::string& folder : cgroup_folders("cpu")) {
    std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
    double quota = 0, period = 0;
    if (quota_file >> quota && period_file >> period) limit(quota, period);
  }
  return std::max(1, cores);
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const std::size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
    if (begin != std::string::npos) return line.substr(begin);
  }
  return "processor";
}

MemorySize memory_size() {
  MemorySize memory{unlimited, unlimited};
  std::ifstream file("/proc/meminfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    std::int64_t kilobytes = 0;
    if (!(words >> key >> kilobytes)) continue;
    if (key == "MemTotal:") memory.total = kilobytes * 1024;
    if (key == "MemAvailable:") memory.available = kilobytes * 1024;
  }
  if (memory.total == unlimited) {
    memory.total = static_cast<std::int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  }
  memory.available = std::min(memory.available, memory.total);
  for (const std::string& folder : cgroup_folders("")) {
    limit_memory(memory, number_in(folder + "/memory.max"), number_in(folder + "/memory.current"));
  }
  for (const std::string& folder : cgroup_folders("memory")) {
    limit_memory(memory, number_in(folder + "/memory.limit_in_bytes"), number_in(folder + "/memory.usage_in_bytes"));
  }
  return memory;
}

}  // namespace nll::cpu
