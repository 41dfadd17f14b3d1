#include "backend/cpu/store/fixed_point.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace thinkey {
namespace {

TEST(FixedPoint, RowsKeepFifteenBitsOfTheirLargestNumber) {
  for (const float largest : {1e-30F, 3e-5F, 0.99F, 1.0F, 1.01F, 2.5F, 65504.0F, 1e30F}) {
    const float scale = fixed_scale(fixed_exponent(largest));
    EXPECT_EQ(std::exp2(std::round(std::log2(scale))), scale);
    for (const float share : {1.0F, -1.0F, 0.37F, -0.0625F, 1e-3F, 0.0F}) {
      const float x = share * largest;
      const float read = static_cast<float>(to_fixed(x / scale)) * scale;
      // Half a step; a whole one where the largest would round up to 2^15.
      EXPECT_NEAR(read, x, largest * 0x1p-14F) << largest << " " << share;
    }
    EXPECT_GE(std::abs(to_fixed(largest / scale)), 1 << 14);
  }
}

TEST(FixedPoint, ExtremesStayFinite) {
  constexpr float kMost = std::numeric_limits<float>::max();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(larger_magnitude(2.0F, kNaN), 2.0F);
  EXPECT_EQ(larger_magnitude(2.0F, -3.0F), 3.0F);
  for (const float largest : {0.0F, 1e-45F, 1e-38F, kMost, kInfinity}) {
    const float scale = fixed_scale(fixed_exponent(largest));
    EXPECT_GT(scale, 0.0F);
    EXPECT_TRUE(std::isfinite(1.0F / scale)) << largest;
    for (const float x : {largest, -largest, kInfinity, -kInfinity, kNaN}) {
      EXPECT_TRUE(std::isfinite(static_cast<float>(to_fixed(x / scale)) * scale)) << largest << " " << x;
    }
  }
  EXPECT_EQ(to_fixed(0.0F), 0);
  EXPECT_EQ(to_fixed(2.5F), 2);  // to even
  EXPECT_EQ(to_fixed(-3.5F), -4);
  EXPECT_EQ(to_fixed(1e9F), 32767);
  EXPECT_EQ(to_fixed(-1e9F), -32767);
}

}  // namespace
}  // namespace thinkey
