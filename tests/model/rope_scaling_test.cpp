#include "model/rope_scaling.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/stages.h"

namespace thinkey {
namespace {

TEST(RopeScaling, PlainFrequencies) {
  const std::vector<double> f = base_frequencies(8, 10000.0);
  ASSERT_EQ(f.size(), 4U);
  EXPECT_DOUBLE_EQ(f[0], 1.0);
  EXPECT_DOUBLE_EQ(f[1], 0.1);
  EXPECT_DOUBLE_EQ(f[2], 0.01);
  EXPECT_DOUBLE_EQ(f[3], 0.001);
}

TEST(RopeScaling, YarnKeepsFastPairsAndSlowsSlowOnes) {
  std::vector<double> f = base_frequencies(64, 10000.0);
  const std::vector<double> plain = f;
  apply_yarn_scaling(f, {.factor = 4, .original_context = 4096, .theta = 10000.0});
  EXPECT_DOUBLE_EQ(f.front(), plain.front());
  EXPECT_DOUBLE_EQ(f.back(), plain.back() / 4);
  for (std::size_t i = 0; i < f.size(); ++i) {
    EXPECT_LE(f[i], plain[i]);
    EXPECT_GE(f[i], plain[i] / 4);
  }
}

TEST(RopeScaling, Magnitudes) {
  EXPECT_DOUBLE_EQ(yarn_magnitude(1.0), 1.0);
  EXPECT_DOUBLE_EQ(yarn_magnitude(std::exp(1.0)), 1.1);
  EXPECT_DOUBLE_EQ(longrope_magnitude(1.0, 4096), 1.0);
  EXPECT_DOUBLE_EQ(longrope_magnitude(4096, 4096), std::sqrt(2.0));
}

TEST(RopeScaling, DynamicBaseGrowsWithTheSequence) {
  RopeSpec rope{
      .rotated = 8, .inverse_frequencies = {1.0F, 0.1F, 0.01F, 0.001F}, .limit = 100, .dynamic_factor = 2};
  std::vector<float> scratch;
  EXPECT_EQ(rope_frequencies(rope, 100, scratch).data(), rope.inverse_frequencies.data());
  const auto longer = rope_frequencies(rope, 200, scratch);
  EXPECT_FLOAT_EQ(longer[0], 1.0F);
  // base 10000 * (2 * 2 - 1)^(8/6)
  EXPECT_NEAR(longer[1], std::pow(10000.0 * std::pow(3.0, 8.0 / 6.0), -0.25), 1e-6);
}

}  // namespace
}  // namespace thinkey
