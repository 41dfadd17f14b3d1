#include "base/half.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <type_traits>

namespace thinkey {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Mixing them does not compile: neither becomes the other, nor an integer, nor the other way round.
static_assert(!std::is_convertible_v<f16_bits, bf16_bits> && !std::is_convertible_v<bf16_bits, f16_bits>);
static_assert(!std::is_convertible_v<f16_bits, int> && !std::is_convertible_v<int, f16_bits>);
static_assert(!std::is_convertible_v<bf16_bits, int> && !std::is_convertible_v<int, bf16_bits>);

TEST(Half, KnownF16Values) {
  EXPECT_EQ(f32_from_f16({0x0000}), 0.0F);
  EXPECT_TRUE(std::signbit(f32_from_f16({0x8000})));
  EXPECT_EQ(f32_from_f16({0x3C00}), 1.0F);
  EXPECT_EQ(f32_from_f16({0xC000}), -2.0F);
  EXPECT_EQ(f32_from_f16({0x7BFF}), 65504.0F);
  EXPECT_EQ(f32_from_f16({0x0400}), 0x1p-14F);
  EXPECT_EQ(f32_from_f16({0x0001}), 0x1p-24F);
  EXPECT_EQ(f32_from_f16({0x7C00}), kInfinity);
  EXPECT_TRUE(std::isnan(f32_from_f16({0x7E00})));
}

TEST(Half, EveryF16SurvivesTheRoundTrip) {
  for (std::uint32_t h = 0; h <= 0xFFFF; ++h) {
    const float wide = f32_from_f16({static_cast<std::uint16_t>(h)});
    if (std::isnan(wide)) {
      EXPECT_TRUE(std::isnan(f32_from_f16(f16_from_f32(wide))));
    } else {
      ASSERT_EQ(f16_from_f32(wide).bits, h);
    }
  }
}

// Against the definition: the nearer of the two neighbours, the even one in the middle.
TEST(Half, F16RoundsToNearestEven) {
  for (std::uint32_t h = 0; h < 0x7BFF; ++h) {
    const float low = f32_from_f16({static_cast<std::uint16_t>(h)});
    const float high = f32_from_f16({static_cast<std::uint16_t>(h + 1)});
    const float middle = low + 0.5F * (high - low);  // exact in f32
    ASSERT_EQ(f16_from_f32(middle).bits, (h & 1U) == 0 ? h : h + 1);
    ASSERT_EQ(f16_from_f32(std::nextafter(middle, low)).bits, h);
    ASSERT_EQ(f16_from_f32(std::nextafter(middle, high)).bits, h + 1);
    ASSERT_EQ(f16_from_f32(-middle).bits, ((h & 1U) == 0 ? h : h + 1) | 0x8000U);
  }
}

TEST(Half, F16OverflowsToInfinity) {
  EXPECT_EQ(f16_from_f32(std::nextafter(65520.0F, 0.0F)).bits, 0x7BFF);
  EXPECT_EQ(f16_from_f32(65520.0F).bits, 0x7C00);
  EXPECT_EQ(f16_from_f32(-1e30F).bits, 0xFC00);
  EXPECT_EQ(f16_from_f32(kInfinity).bits, 0x7C00);
}

TEST(Half, BF16IsTheUpperHalfRounded) {
  EXPECT_EQ(bf16_from_f32(1.0F).bits, 0x3F80);
  EXPECT_EQ(f32_from_bf16({0x3F80}), 1.0F);
  EXPECT_EQ(bf16_from_f32(std::bit_cast<float>(0x3F808000U)).bits, 0x3F80);  // tie to even
  EXPECT_EQ(bf16_from_f32(std::bit_cast<float>(0x3F818000U)).bits, 0x3F82);
  EXPECT_EQ(bf16_from_f32(std::bit_cast<float>(0x3F808001U)).bits, 0x3F81);
  EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::max()).bits, 0x7F80);  // to infinity
  EXPECT_EQ(bf16_from_f32(-kInfinity).bits, 0xFF80);
  EXPECT_TRUE(std::isnan(f32_from_bf16(bf16_from_f32(std::bit_cast<float>(0x7F800001U)))));
}

TEST(Half, BF16ErrorIsAtMostHalfAUnit) {
  std::mt19937 rng(3);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 10000; ++i) {
    const float x = normal(rng);
    ASSERT_LE(std::abs(f32_from_bf16(bf16_from_f32(x)) - x), std::abs(x) * 0x1p-8F);
  }
}

}  // namespace
}  // namespace thinkey
