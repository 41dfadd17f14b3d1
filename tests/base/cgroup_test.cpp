#include "base/cgroup.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace thinkey {
namespace {

namespace fs = std::filesystem;

class Cgroup : public ::testing::Test {
 protected:
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& file, const std::string& text) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << text << "\n";
  }
  [[nodiscard]] CgroupFiles files() const { return {.root = root_, .membership = root_ / "membership"}; }

  fs::path root_ = fs::temp_directory_path() / ("thinkey-cgroup-" + std::to_string(::getpid()));
};

TEST_F(Cgroup, NoFilesNoLimit) {
  EXPECT_EQ(cgroup_cores(files()), 0);
  EXPECT_FALSE(cgroup_memory_left(files()).has_value());
}

TEST_F(Cgroup, VersionTwo) {
  write("membership", "0::/a/b");
  write("cpu.max", "max 100000");
  write("a/b/cpu.max", "max 100000");
  EXPECT_EQ(cgroup_cores(files()), 0);
  write("a/b/cpu.max", "150000 100000");
  EXPECT_EQ(cgroup_cores(files()), 2);  // 1.5, rounded up
  write("a/cpu.max", "50000 100000");
  EXPECT_EQ(cgroup_cores(files()), 1);  // the parent's is less

  write("a/b/memory.max", "max");
  write("a/b/memory.current", "700");
  EXPECT_FALSE(cgroup_memory_left(files()).has_value());
  write("a/memory.max", "1000");
  write("a/memory.current", "900");
  EXPECT_EQ(cgroup_memory_left(files()), 100U);
  write("a/memory.stat", "anon 500\ninactive_file 400\nactive_file 1");
  EXPECT_EQ(cgroup_memory_left(files()), 500U);
  write("a/b/memory.max", "600");
  EXPECT_EQ(cgroup_memory_left(files()), 0U);
}

TEST_F(Cgroup, InAContainerThePathIsTheHosts) {
  write("membership", "0::/system.slice/docker-1234.scope");
  write("cpu.max", "200000 100000");
  EXPECT_EQ(cgroup_cores(files()), 2);
}

TEST_F(Cgroup, VersionOne) {
  write("membership", "5:cpu,cpuacct:/x\n4:memory:/x");
  write("cpu/x/cpu.cfs_period_us", "100000");
  write("cpu/x/cpu.cfs_quota_us", "-1");
  EXPECT_EQ(cgroup_cores(files()), 0);
  write("cpu/x/cpu.cfs_quota_us", "300000");
  EXPECT_EQ(cgroup_cores(files()), 3);
  write("memory/memory.limit_in_bytes", "9223372036854771712");
  write("memory/memory.usage_in_bytes", "10");
  EXPECT_FALSE(cgroup_memory_left(files()).has_value());
  write("memory/x/memory.limit_in_bytes", "1000");
  write("memory/x/memory.usage_in_bytes", "600");
  write("memory/x/memory.stat", "total_inactive_file 100");
  EXPECT_EQ(cgroup_memory_left(files()), 500U);
}

}  // namespace
}  // namespace thinkey
