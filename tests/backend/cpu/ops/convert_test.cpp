#include "backend/cpu/ops/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "backend/cpu/ops/each_highway_target.h"

namespace thinkey {
namespace {

std::uint32_t bits(float x) { return std::bit_cast<std::uint32_t>(x); }

// Values around every rounding decision: all f16 values, the midpoints between neighbours and the floats
// next to those, plus random bit patterns.
std::vector<float> interesting_floats() {
  std::vector<float> values;
  for (std::uint32_t h = 0; h <= 0xFFFF; h += 3) {
    const float v = f32_from_f16({static_cast<std::uint16_t>(h)});
    values.push_back(v);
    if (!std::isfinite(v)) continue;
    const float next = f32_from_f16({static_cast<std::uint16_t>(h + 1)});
    const float middle = std::isfinite(next) ? v + 0.5F * (next - v) : v;
    values.push_back(middle);
    values.push_back(std::nextafter(middle, std::numeric_limits<float>::infinity()));
    values.push_back(std::nextafter(middle, -std::numeric_limits<float>::infinity()));
  }
  std::mt19937 rng(7);
  for (int i = 0; i < 20000; ++i) values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(rng())));
  for (const float v :
       {65504.0F, 65519.99F, 65520.0F, -65520.0F, 1e30F, 0x1p-24F, 0x1p-25F, 0x1.000002p-25F, 0.0F, -0.0F,
        std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN(), std::bit_cast<float>(0x7F800001U),
        std::bit_cast<float>(0xFFFFFFFFU), std::numeric_limits<float>::max()}) {
    values.push_back(v);
  }
  return values;
}

TEST(Convert, EveryF16WidensExactly) {
  std::vector<f16_bits> from(65536);
  for (std::size_t i = 0; i < from.size(); ++i) from[i] = {static_cast<std::uint16_t>(i)};
  for_each_highway_target([&] {
    std::vector<float> to(from.size());
    f16_to_f32(from.data(), from.size(), to.data());
    for (std::size_t i = 0; i < from.size(); ++i) {
      const float expected = f32_from_f16(from[i]);
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(to[i])) << i;
        ASSERT_EQ(std::signbit(to[i]), std::signbit(expected)) << i;
      } else {
        ASSERT_EQ(bits(to[i]), bits(expected)) << i;
      }
    }
  });
}

TEST(Convert, F16RoundsToNearestEven) {
  const std::vector<float> from = interesting_floats();
  for_each_highway_target([&] {
    std::vector<f16_bits> to(from.size());
    f32_to_f16(from.data(), from.size(), to.data());
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (std::isnan(from[i])) {
        ASSERT_EQ(to[i].bits & 0x7C00, 0x7C00) << bits(from[i]);
        ASSERT_NE(to[i].bits & 0x03FF, 0) << bits(from[i]);
        ASSERT_EQ(to[i].bits >> 15, bits(from[i]) >> 31U);
      } else {
        ASSERT_EQ(to[i], f16_from_f32(from[i])) << bits(from[i]);
      }
    }
  });
}

TEST(Convert, BF16BothWays) {
  const std::vector<float> from = interesting_floats();
  for_each_highway_target([&] {
    std::vector<bf16_bits> narrow(from.size());
    std::vector<float> back(from.size());
    f32_to_bf16(from.data(), from.size(), narrow.data());
    bf16_to_f32(narrow.data(), narrow.size(), back.data());
    for (std::size_t i = 0; i < from.size(); ++i) {
      ASSERT_EQ(narrow[i], bf16_from_f32(from[i])) << bits(from[i]);
      ASSERT_EQ(bits(back[i]), static_cast<std::uint32_t>(narrow[i].bits) << 16U);
    }
  });
}

// Exactly sized heap arrays: AddressSanitizer sees any access past the end.
TEST(Convert, AnyLengthAndNothingPastTheEnd) {
  for_each_highway_target([] {
    for (std::size_t n = 0; n <= 67; ++n) {
      const auto wide = std::make_unique<float[]>(n);
      const auto half = std::make_unique<f16_bits[]>(n);
      const auto brain = std::make_unique<bf16_bits[]>(n);
      const auto back = std::make_unique<float[]>(n);
      for (std::size_t i = 0; i < n; ++i) wide[i] = static_cast<float>(i) - 30.0F;
      f32_to_f16(wide.get(), n, half.get());
      f16_to_f32(half.get(), n, back.get());
      for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(back[i], wide[i]);
      f32_to_bf16(wide.get(), n, brain.get());
      bf16_to_f32(brain.get(), n, back.get());
      for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(back[i], wide[i]);
    }
  });
}

}  // namespace
}  // namespace thinkey
