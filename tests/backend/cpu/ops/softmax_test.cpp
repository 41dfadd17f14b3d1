#include "backend/cpu/ops/softmax.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "backend/cpu/ops/each_highway_target.h"
#include "backend/cpu/ops/random_rows.h"

namespace thinkey {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(ExpShifted, RelativeErrorBelow2e7) {
  for_each_highway_target([] {
    std::vector<float> x;
    for (int i = -87 * 1024; i <= 88 * 1024; ++i) x.push_back(static_cast<float>(i) / 1024 + 1e-4F);
    for (int i = 0; i < 200; ++i) {
      x.push_back(1e-8F * std::pow(1.1F, static_cast<float>(i)));
      x.push_back(-x.back());
    }
    auto y = x;
    exp_shifted(y.data(), y.size(), 0.0F);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double want = std::exp(double{x[i]});
      worst = std::max(worst, std::abs(y[i] - want) / want);
    }
    EXPECT_LT(worst, 2e-7);
  });
}

TEST(ExpShifted, SumsWhatItWritesAtEveryLength) {
  for_each_highway_target([] {
    for (const std::size_t n : {0, 1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 64, 65, 513}) {
      auto x = normal_numbers(n, 1, 3.0F);
      const auto before = x;
      const float sum = exp_shifted(x.data(), n, 1.5F);
      double want_sum = 0;
      for (std::size_t i = 0; i < n; ++i) {
        const double want = std::exp(double{before[i] - 1.5F});
        ASSERT_NEAR(x[i], want, 2e-7 * want) << i << " of " << n;
        want_sum += want;
      }
      EXPECT_NEAR(sum, want_sum, 1e-6 * want_sum) << n;
    }
  });
}

TEST(ExpShifted, LimitsAreExact) {
  for_each_highway_target([] {
    // Every value in a whole vector and in a tail.
    for (const std::size_t n : {3, 64}) {
      const auto exp_of = [n](float value) {
        std::vector<float> x(n, value);
        exp_shifted(x.data(), n, 0.0F);
        for (const float y : x) EXPECT_TRUE(y == x[0] || std::isnan(y)) << value;
        return x[0];
      };
      EXPECT_EQ(exp_of(0.0F), 1.0F);
      EXPECT_EQ(exp_of(-kInfinity), 0.0F);
      EXPECT_EQ(exp_of(-1e30F), 0.0F);
      EXPECT_EQ(exp_of(-88.0F), 0.0F);
      EXPECT_EQ(exp_of(kInfinity), kInfinity);
      EXPECT_EQ(exp_of(1e30F), kInfinity);
      EXPECT_TRUE(std::isnan(exp_of(NAN)));
    }
  });
}

TEST(Softmax, EqualsTheDefinition) {
  for_each_highway_target([] {
    for (const std::size_t n : {1, 2, 7, 16, 17, 63, 64, 100, 4099}) {
      auto x = normal_numbers(n, 2, 8.0F);
      double max = -HUGE_VAL;
      for (const float value : x) max = std::max(max, double{value});
      double sum = 0;
      for (const float value : x) sum += std::exp(value - max);
      const auto before = x;
      softmax(x.data(), n);
      for (std::size_t i = 0; i < n; ++i) {
        const double want = std::exp(before[i] - max) / sum;
        // Rounding the difference to f32 costs its size times 2^-24.
        ASSERT_NEAR(x[i], want, 1e-6 * (1 + max - before[i]) * want) << i << " of " << n;
      }
    }
  });
}

TEST(Softmax, IgnoresMaskedAndSurvivesLargeScores) {
  for_each_highway_target([] {
    std::vector<float> x(21, -kInfinity);
    x[3] = 1e30F;
    x[20] = 1e30F;
    softmax(x.data(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], i == 3 || i == 20 ? 0.5F : 0.0F) << i;
  });
}

TEST(Softmax, NothingVisibleIsNothingWeighed) {
  std::vector<float> x(19, -kInfinity);
  softmax(x.data(), x.size());
  for (const float value : x) EXPECT_EQ(value, 0.0F);
  softmax(nullptr, 0);
}

TEST(Softmax, ASinkTakesItsShare) {
  for_each_highway_target([] {
    for (const float sink : {-kInfinity, -3.0F, 0.5F, 40.0F}) {
      auto x = normal_numbers(37, 3, 2.0F);
      double total = std::exp(double{sink});
      for (const float y : x) total += std::exp(double{y});
      auto y = x;
      softmax(y.data(), y.size(), sink);
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double want = std::exp(double{x[i]}) / total;
        EXPECT_NEAR(y[i], want, 5e-6 * want);  // x[i] - sink is rounded
      }
      std::vector<float> nothing(5, -kInfinity);
      softmax(nothing.data(), nothing.size(), sink);
      for (const float weight : nothing) EXPECT_EQ(weight, 0.0F);
    }
  });
}

TEST(Softcap, RelativeErrorBelow5e7) {
  for_each_highway_target([] {
    for (const float cap : {1.0F, 30.0F, 50.0F}) {
      std::vector<float> x;
      for (int i = 0; i < 400; ++i) {
        x.push_back(1e-10F * std::pow(1.08F, static_cast<float>(i)));
        x.push_back(-x.back());
      }
      for (int i = -2000; i <= 2000; ++i) x.push_back(static_cast<float>(i) / 1000 * cap);
      auto y = x;
      softcap(y.data(), y.size(), cap);
      double worst = 0;
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double want = cap * std::tanh(double{x[i]} / cap);
        worst = std::max(worst, want == 0 ? std::abs(y[i]) : std::abs(y[i] - want) / std::abs(want));
      }
      EXPECT_LT(worst, 5e-7) << cap;
    }
    std::vector<float> limits = {1e4F, -1e30F, kInfinity, -kInfinity, NAN, 3.0F};
    softcap(limits.data(), limits.size(), 2.0F);
    EXPECT_EQ(limits[0], 2.0F);
    EXPECT_EQ(limits[1], -2.0F);
    EXPECT_EQ(limits[2], 2.0F);
    EXPECT_EQ(limits[3], -2.0F);
    EXPECT_TRUE(std::isnan(limits[4]));
    std::vector<float> untouched = {7.0F};
    softcap(untouched.data(), 1, 0.0F);
    EXPECT_EQ(untouched[0], 7.0F);
  });
}

}  // namespace
}  // namespace thinkey
