#include "base/system_memory.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

#include "base/cgroup.h"

namespace thinkey {
namespace {

// The first number after `key` in a "Key:   123 kB" file, in bytes.
std::optional<std::size_t> kilobytes_field(const char* path, const std::string& key) {
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) {
    if (!line.starts_with(key)) continue;
    try {
      return static_cast<std::size_t>(std::stoull(line.substr(key.size()))) * 1024;
    } catch (const std::exception&) {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

}  // namespace

std::size_t available_memory() {
  std::size_t available = kilobytes_field("/proc/meminfo", "MemAvailable:").value_or(0);
  if (const auto left = cgroup_memory_left()) available = std::min(available, *left);
  return available;
}

std::size_t anonymous_resident_memory() {
  return kilobytes_field("/proc/self/status", "RssAnon:").value_or(0);
}

std::size_t resident_memory() { return kilobytes_field("/proc/self/status", "VmRSS:").value_or(0); }

std::size_t peak_resident_memory() { return kilobytes_field("/proc/self/status", "VmHWM:").value_or(0); }

}  // namespace thinkey
