#include "backend/cpu/ops/float24.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "backend/cpu/ops/each_highway_target.h"
#include "backend/cpu/ops/random_rows.h"

namespace thinkey {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }
float from_bits(std::uint32_t u) { return std::bit_cast<float>(u); }

// The nearest number of 16 significant bits, or of the subnormals' unit, 2^-141.
float nearest(float x) {
  if (!std::isfinite(x) || x == 0) return x;
  const double unit = std::max(std::ldexp(1.0, std::ilogb(x) - 15), 0x1p-141);
  const double rounded = std::nearbyint(double{x} / unit) * unit;  // exact but for nearbyint
  return rounded > double{std::numeric_limits<float>::max()}    ? kInfinity
         : rounded < -double{std::numeric_limits<float>::max()} ? -kInfinity
                                                                : static_cast<float>(rounded);
}

struct Rows {
  explicit Rows(std::size_t n)
      : upper(std::make_unique<std::uint16_t[]>(n)), lower(std::make_unique<std::uint8_t[]>(n)) {}
  std::unique_ptr<std::uint16_t[]> upper;  // exactly sized: AddressSanitizer sees any access past the end
  std::unique_ptr<std::uint8_t[]> lower;
};

std::vector<float> there_and_back(const std::vector<float>& x) {
  const Rows rows(x.size());
  std::vector<float> back(x.size());
  f32_to_f24(x.data(), x.size(), rows.upper.get(), rows.lower.get());
  f24_to_f32(rows.upper.get(), rows.lower.get(), x.size(), back.data());
  return back;
}

// Numbers of every exponent at, and next to, every kind of rounding decision.
std::vector<float> interesting_floats() {
  std::mt19937 rng(7);
  std::vector<float> values;
  for (std::uint32_t exponent = 0; exponent < 255; ++exponent) {
    for (const std::uint32_t mantissa :
         {0U, 1U, 0x2AAAU, 0x7FFEU, 0x7FFFU, static_cast<unsigned>(rng() >> 17U)}) {
      for (const std::uint32_t rest :
           {0U, 1U, 0x7FU, 0x80U, 0x81U, 0xFFU, static_cast<unsigned>(rng() >> 24U)}) {
        const std::uint32_t magnitude = exponent << 23U | mantissa << 8U | rest;
        values.push_back(from_bits(magnitude));
        values.push_back(from_bits(magnitude | 0x80000000U));
      }
    }
  }
  return values;
}

TEST(Float24, RoundsToNearestEven) {
  const std::vector<float> x = interesting_floats();
  for_each_highway_target([&] {
    const std::vector<float> back = there_and_back(x);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_EQ(bits(back[i]), bits(nearest(x[i]))) << bits(x[i]);
  });
}

TEST(Float24, NanStaysNanAndInfinityInfinity) {
  const std::vector<float> nans{from_bits(0x7F800001U), from_bits(0xFF800001U), from_bits(0x7FFFFFFFU),
                                from_bits(0xFFFFFFFFU), from_bits(0x7FC00000U), from_bits(0x7F8000FFU)};
  const std::vector<float> infinities(5, kInfinity);
  const std::vector<float> largest(5, -std::numeric_limits<float>::max());
  for_each_highway_target([&] {
    std::vector<float> many = nans;  // in whole vectors as well as in the last lanes
    for (int i = 0; i < 5; ++i) many.insert(many.end(), nans.begin(), nans.end());
    for (const float x : there_and_back(many)) EXPECT_TRUE(std::isnan(x));
    for (const float x : there_and_back(infinities)) EXPECT_EQ(x, kInfinity);
    for (const float x : there_and_back(largest)) EXPECT_EQ(x, -kInfinity);  // as rounding says
  });
}

TEST(Float24, TheUpperPlaneIsTheNumberCutToBf16) {
  for_each_highway_target([] {
    const std::vector<float> x(33, 0x1.23468ap-3F);  // bits 0x3E11A345
    const Rows rows(x.size());
    f32_to_f24(x.data(), x.size(), rows.upper.get(), rows.lower.get());
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(rows.upper[i], 0x3E11);
      EXPECT_EQ(rows.lower[i], 0xA3);
    }
  });
}

TEST(Float24, SumsAreRoundedOnce) {
  for_each_highway_target([] {
    for (std::size_t n = 0; n <= 67; ++n) {
      const std::vector<float> first = normal_numbers(n, 1);
      const std::vector<float> second = normal_numbers(n, 2, 0.01F);
      const auto x = std::make_unique<float[]>(n);
      std::copy(second.begin(), second.end(), x.get());
      const Rows rows(n);
      f32_to_f24(first.data(), n, rows.upper.get(), rows.lower.get());
      add_to_f24(x.get(), n, rows.upper.get(), rows.lower.get());
      const auto sum = std::make_unique<float[]>(n);
      f24_to_f32(rows.upper.get(), rows.lower.get(), n, sum.get());
      for (std::size_t i = 0; i < n; ++i) {
        ASSERT_EQ(sum[i], nearest(nearest(first[i]) + second[i])) << i << " of " << n;
      }
    }
  });
}

TEST(Float24, SumsKeepInfinityAndNan) {
  const std::vector<float> first{kInfinity, kInfinity, 3e38F, 1.0F, from_bits(0x7F800001U)};
  const std::vector<float> second{1.0F, -kInfinity, 3e38F, from_bits(0x7FFFFFFFU), 1.0F};
  for_each_highway_target([&] {
    const Rows rows(first.size());
    std::vector<float> sum(first.size());
    f32_to_f24(first.data(), first.size(), rows.upper.get(), rows.lower.get());
    add_to_f24(second.data(), first.size(), rows.upper.get(), rows.lower.get());
    f24_to_f32(rows.upper.get(), rows.lower.get(), first.size(), sum.data());
    EXPECT_EQ(sum[0], kInfinity);
    EXPECT_TRUE(std::isnan(sum[1]));
    EXPECT_EQ(sum[2], kInfinity);
    EXPECT_TRUE(std::isnan(sum[3]));
    EXPECT_TRUE(std::isnan(sum[4]));
  });
}

}  // namespace
}  // namespace thinkey
