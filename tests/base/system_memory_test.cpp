#include "base/system_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

namespace thinkey {
namespace {

TEST(SystemMemory, AvailableIsPlausible) {
  EXPECT_GT(available_memory(), std::size_t{1} << 20U);
  EXPECT_LT(available_memory(), std::size_t{1} << 50U);
}

TEST(SystemMemory, PeakSeesWhatWasTouched) {
  const std::size_t before = peak_resident_memory();
  constexpr std::size_t kBytes = std::size_t{32} << 20U;
  const auto touched = std::make_unique<char[]>(kBytes);
  std::memset(touched.get(), 1, kBytes);
  EXPECT_GT(touched[kBytes / 2], 0);
  EXPECT_GE(peak_resident_memory(), kBytes);
  EXPECT_GE(peak_resident_memory(), before);
}

}  // namespace
}  // namespace thinkey
