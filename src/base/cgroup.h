// What the cgroup of this process, version 1 or 2, lets it use.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>

namespace thinkey {

// Where the kernel says it; tests say it elsewhere.
struct CgroupFiles {
  std::filesystem::path root = "/sys/fs/cgroup";  // v2's hierarchy, or a folder for each of v1's
  std::filesystem::path membership = "/proc/self/cgroup";
};

// CPU time per time (cpu.max, or cpu.cfs_quota_us), the least of the group's and its parents', rounded up to
// whole cores; 0: no limit.
[[nodiscard]] int cgroup_cores(const CgroupFiles& files = {}) noexcept;

// Bytes that the limit of the group or a parent (memory.max, or memory.limit_in_bytes) still leaves; pages
// that only cache files count as free. None: no limit.
[[nodiscard]] std::optional<std::size_t> cgroup_memory_left(const CgroupFiles& files = {});

}  // namespace thinkey
