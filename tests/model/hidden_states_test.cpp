#include "backend/cpu/hidden_states.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/parallel.h"

namespace thinkey {
namespace {

constexpr std::size_t kTokens = 300;
constexpr std::size_t kWidth = 131;  // odd: rows start anywhere

// A different number for every token and channel, exact in 24 bits.
float number(std::size_t token, std::size_t channel) {
  return static_cast<float>(token) - static_cast<float>(channel) / 16;
}

std::vector<float> numbers(std::size_t first, std::size_t n) {
  std::vector<float> rows;
  for (std::size_t t = first; t < first + n; ++t) {
    for (std::size_t i = 0; i < kWidth; ++i) rows.push_back(number(t, i));
  }
  return rows;
}

class HiddenStatesTest : public ::testing::TestWithParam<HiddenPrecision> {};

TEST_P(HiddenStatesTest, RunsOfRowsAreStoredAddedAndLoaded) {
  for (const int n : {1, 3}) {
    set_threads(n);
    HiddenStates hidden(kTokens, kWidth, GetParam());
    for (std::size_t first = 0; first < kTokens; first += 150) {
      hidden.store(first, 150, numbers(first, 150).data());
    }
    hidden.add(7, 290, numbers(0, 290).data());
    std::vector<float> loaded(kTokens * kWidth);
    hidden.load(0, 1, loaded.data());
    hidden.load(1, kTokens - 1, loaded.data() + kWidth);
    for (std::size_t t = 0; t < kTokens; ++t) {
      for (std::size_t i = 0; i < kWidth; ++i) {
        const float added = t >= 7 && t < 297 ? number(t - 7, i) : 0.0F;
        ASSERT_EQ(loaded[t * kWidth + i], number(t, i) + added) << t << ' ' << i;
      }
    }
  }
  set_threads(available_cores());
}

TEST_P(HiddenStatesTest, TakeWhatTheySay) {
  AllocationCounter counter;
  const HiddenStates hidden(kTokens, kWidth, GetParam(), &counter);
  EXPECT_EQ(counter.live(), HiddenStates::bytes(kTokens, kWidth, GetParam()));
  EXPECT_EQ(counter.live(), kTokens * kWidth * (GetParam() == HiddenPrecision::F32 ? 4 : 3));
}

INSTANTIATE_TEST_SUITE_P(Precisions, HiddenStatesTest,
                         ::testing::Values(HiddenPrecision::F24, HiddenPrecision::F32), [](const auto& p) {
                           return std::string(p.param == HiddenPrecision::F24 ? "f24" : "f32");
                         });

// A thousand small sums into a large number: errors stay those of single roundings, of both signs.
TEST(HiddenStates, RoundingErrorsDoNotPileUp) {
  HiddenStates f24(1, kWidth, HiddenPrecision::F24);
  std::vector<float> x(kWidth, 100.0F);
  std::vector<double> exact(kWidth, 100.0);
  f24.store(0, 1, x.data());
  for (int sum = 0; sum < 1000; ++sum) {
    for (std::size_t i = 0; i < kWidth; ++i) {
      x[i] = 0.1F * static_cast<float>(std::sin(static_cast<double>(i + 1) * (sum + 1)));
      exact[i] += static_cast<double>(x[i]);
    }
    f24.add(0, 1, x.data());
  }
  f24.load(0, 1, x.data());
  double squares = 0;
  for (std::size_t i = 0; i < kWidth; ++i) squares += std::pow(static_cast<double>(x[i]) - exact[i], 2);
  // Half a unit is 2^-10 at 100; sqrt(1000 / 3) of them as a random walk.
  EXPECT_LT(std::sqrt(squares / kWidth), 1.3 * std::sqrt(1000.0 / 3) * 0x1p-10);
  EXPECT_GT(squares, 0);
}

}  // namespace
}  // namespace thinkey
