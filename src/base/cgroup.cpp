#include "base/cgroup.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace thinkey {
namespace {

namespace fs = std::filesystem;

// The group's folder for a controller of version 1, or (empty) of version 2, and its parents'. Inside a
// container the path in `membership` may be the host's: folders that are not there are left out.
std::vector<fs::path> folders(const CgroupFiles& files, std::string_view controller) {
  std::vector<fs::path> out;
  std::ifstream in(files.membership);
  std::string line;
  const fs::path root = files.root / fs::path(controller);
  while (std::getline(in, line)) {  // number:controller,...:path
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string names = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controller.empty() ? names != ",,"
                           : names.find("," + std::string(controller) + ",") == std::string::npos) {
      continue;
    }
    for (fs::path path = fs::path(line.substr(second + 1)).relative_path(); !path.empty();
         path = path.parent_path()) {
      out.push_back(root / path);
    }
  }
  out.push_back(root);
  return out;
}

// The file's first numbers; "max" and what is no number end them.
std::vector<double> numbers_in(const fs::path& file) {
  std::vector<double> out;
  std::ifstream in(file);
  for (double x = 0; in >> x;) out.push_back(x);
  return out;
}

// The number behind a word at a line's start.
double field(const fs::path& file, std::string_view key) {
  std::ifstream in(file);
  std::string word;
  double value = 0;
  while (in >> word >> value) {
    if (word == key) return value;
  }
  return 0;
}

}  // namespace

int cgroup_cores(const CgroupFiles& files) noexcept {
  try {
    double least = 0;
    const auto limit = [&](double quota, double period) {
      if (quota <= 0 || period <= 0) return;
      least = least == 0 ? quota / period : std::min(least, quota / period);
    };
    for (const fs::path& folder : folders(files, "")) {
      const std::vector<double> both = numbers_in(folder / "cpu.max");
      if (both.size() == 2) limit(both[0], both[1]);
    }
    for (const fs::path& folder : folders(files, "cpu")) {
      const std::vector<double> quota = numbers_in(folder / "cpu.cfs_quota_us");
      const std::vector<double> period = numbers_in(folder / "cpu.cfs_period_us");
      if (!quota.empty() && !period.empty()) limit(quota[0], period[0]);
    }
    return static_cast<int>(std::ceil(std::min(least, 1e6)));
  } catch (const std::exception&) {
    return 0;
  }
}

std::optional<std::size_t> cgroup_memory_left(const CgroupFiles& files) {
  std::optional<std::size_t> least;
  const auto limit = [&](const fs::path& folder, const char* most, const char* now, const char* cache) {
    const std::vector<double> bytes = numbers_in(folder / most);
    const std::vector<double> used = numbers_in(folder / now);
    if (bytes.empty() || used.empty() || bytes[0] >= 0x1p62) return;  // version 1 writes "none" as 2^63
    const double left = bytes[0] - std::max(0.0, used[0] - field(folder / "memory.stat", cache));
    const std::size_t whole = left > 0 ? static_cast<std::size_t>(left) : 0;
    least = least ? std::min(*least, whole) : whole;
  };
  for (const fs::path& folder : folders(files, "")) {
    limit(folder, "memory.max", "memory.current", "inactive_file");
  }
  for (const fs::path& folder : folders(files, "memory")) {
    limit(folder, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file");
  }
  return least;
}

}  // namespace thinkey
