// Code books are what defines them, scales keep what they promise, and the rotation is orthogonal.
#include "backend/cpu/store/levels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <random>
#include <vector>

namespace thinkey {
namespace {

constexpr ElementFormat kBooks[] = {ElementFormat::L1, ElementFormat::L2, ElementFormat::L3,
                                    ElementFormat::L4, ElementFormat::L5};

double density(double x) { return std::exp(-x * x / 2.0) / std::sqrt(2.0 * std::numbers::pi); }
double below(double x) { return 0.5 * std::erfc(-x / std::numbers::sqrt2); }

// Lloyd's condition: a level is the mean of the normal numbers that are nearest to it.
TEST(Levels, OfOneToFiveBitsAreLloydMax) {
  for (const ElementFormat format : kBooks) {
    const LevelBook& book = level_book(format);
    const std::size_t n = std::size_t{1} << element_bits(format);
    const auto at = [&](std::size_t i) { return book.levels[i] * static_cast<double>(book.spread) / 127.0; };
    for (std::size_t i = 0; i < n; ++i) {
      const double low = i == 0 ? -40.0 : (at(i - 1) + at(i)) / 2.0;
      const double high = i + 1 == n ? 40.0 : (at(i) + at(i + 1)) / 2.0;
      const double mean = (density(low) - density(high)) / (below(high) - below(low));
      EXPECT_NEAR(at(i), mean, 0.7 * static_cast<double>(book.spread) / 127.0)
          << element_bits(format) << " " << i;
    }
  }
}

TEST(Levels, NormalRowsLoseWhatTheBookSays) {
  // Mean square error of the best scalar quantizer of normal numbers; of evenly spaced levels for 8 bits and
  // for 6, which between rounding to whole numbers and codes lose a little more than the 0.00104 they could.
  const std::pair<ElementFormat, double> errors[] = {
      {ElementFormat::L1, 0.3634},   {ElementFormat::L2, 0.1175},   {ElementFormat::L3, 0.03454},
      {ElementFormat::L4, 0.009497}, {ElementFormat::L5, 0.002499}, {ElementFormat::L6, 0.00104},
      {ElementFormat::L8, 0.000095}};
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> x(512);
  std::vector<std::uint8_t> codes(512);
  for (const auto& [format, error] : errors) {
    double lost = 0.0;
    double energy = 0.0;
    for (int i = 0; i < 200; ++i) {
      for (float& e : x) e = normal(random);
      for (const float fairness : {0.0F, 1.0F}) {
        const float scale = encode_levels(level_book(format), x, fairness, codes.data());
        double product = 0.0;
        double square = 0.0;
        for (std::size_t j = 0; j < x.size(); ++j) {
          const double y = scale * static_cast<float>(level_book(format).levels[codes[j]]);
          if (fairness == 0.0F) lost += (x[j] - y) * (x[j] - y);
          if (fairness == 0.0F) energy += static_cast<double>(x[j]) * x[j];
          product += x[j] * y;
          square += static_cast<double>(x[j]) * x[j];
        }
        if (fairness == 1.0F) {
          EXPECT_NEAR(product / square, 1.0, 1e-4);
        }
      }
    }
    EXPECT_NEAR(lost / energy, error, 0.06 * error) << element_bits(format);
  }
}

TEST(Levels, ScalesKeepSixBitsDownToThe128thPart) {
  std::vector<float> scales = {3.0F, 1.7F, 0.1F, 0.0231F, 0.012F, 0.0F};
  std::byte stored[kLevelScaleBytes];
  store_level_scales(scales, stored);
  for (std::size_t t = 0; t < 4; ++t)
    EXPECT_NEAR(load_level_scale(stored, t) / scales[t], 1.0F, 1.0F / 64.0F);
  EXPECT_EQ(load_level_scale(stored, 4), 0.0F);
  EXPECT_EQ(load_level_scale(stored, 5), 0.0F);
  EXPECT_EQ(load_level_scale(stored, 31), 0.0F);  // no token
  for (const float edge : {1e-38F, 1e-30F, 1.0F, 1.999F, 3e38F}) {
    store_level_scales(std::vector<float>{edge}, stored);
    if (edge > 1e-36F) {
      EXPECT_NEAR(load_level_scale(stored, 0) / std::min(edge, 0x1p126F), 1.0F, 1.0F / 64.0F);
    }
    EXPECT_TRUE(std::isfinite(load_level_scale(stored, 0)));
  }
}

TEST(Levels, WhatIsNoNumberStaysNone) {
  std::vector<float> x(64, 1.0F);
  std::vector<std::uint8_t> codes(64);
  for (const float bad : {std::nanf(""), INFINITY, 3e38F}) {
    x[5] = bad;
    const float scale = encode_levels(level_book(ElementFormat::L4), {x.data(), 64}, 1.0F, codes.data());
    EXPECT_TRUE(std::isnan(scale));
    std::byte stored[kLevelScaleBytes];
    store_level_scales(std::vector<float>{1.0F, scale}, stored);
    EXPECT_TRUE(std::isnan(load_level_scale(stored, 0)));
  }
}

TEST(Levels, RotationIsOrthogonalAndItsOwnInverse) {
  std::mt19937_64 random(2);
  std::normal_distribution<float> normal;
  for (const std::size_t n : {1U, 2U, 39U, 64U, 80U, 96U, 128U, 256U}) {
    std::vector<float> x(n * 3);
    for (float& e : x) e = normal(random);
    std::vector<float> y = x;
    rotate(y.data(), n, 3);
    for (std::size_t t = 0; t < 3; ++t) {
      double before = 0.0;
      double after = 0.0;
      for (std::size_t i = 0; i < n; ++i) {
        before += static_cast<double>(x[i * 3 + t]) * x[i * 3 + t];
        after += static_cast<double>(y[i * 3 + t]) * y[i * 3 + t];
      }
      EXPECT_NEAR(after / before, 1.0, 1e-5);
    }
    rotate(y.data(), n, 3);
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], x[i], 1e-5F);
  }
}

// An error that all numbers share does not average out over tokens, however small: mean of x - x' over normal
// numbers, in parts of the error's deviation.
TEST(Levels, HaveNoBias) {
  std::mt19937_64 random(9);
  std::normal_distribution<float> normal;
  for (const ElementFormat format :
       {ElementFormat::L8, ElementFormat::L6, ElementFormat::L5, ElementFormat::L4, ElementFormat::L3,
        ElementFormat::L2, ElementFormat::L1}) {
    double sum = 0.0;
    double square = 0.0;
    std::size_t n = 0;
    std::vector<float> x(512);
    std::vector<std::uint8_t> codes(512);
    for (int row = 0; row < 2000; ++row) {
      for (float& e : x) e = normal(random);
      const float scale = encode_levels(level_book(format), x, 1.0F, codes.data());
      for (std::size_t i = 0; i < x.size(); ++i, ++n) {
        const double error = x[i] - scale * static_cast<float>(level_book(format).levels[codes[i]]);
        sum += error;
        square += error * error;
      }
    }
    const auto count = static_cast<double>(n);
    EXPECT_LT(std::abs(sum / count), 5.0 * std::sqrt(square / count / count)) << element_bits(format);
  }
}

}  // namespace
}  // namespace thinkey
