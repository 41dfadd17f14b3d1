#include "backend/cpu/ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "backend/cpu/ops/each_highway_target.h"
#include "backend/cpu/ops/random_rows.h"

namespace thinkey {
namespace {

std::vector<float> inverse_frequencies(std::size_t pairs, double base = 10000.0) {
  std::vector<float> f(pairs);
  for (std::size_t i = 0; i < pairs; ++i) {
    f[i] = static_cast<float>(std::pow(base, -static_cast<double>(i) / static_cast<double>(pairs)));
  }
  return f;
}

// Rotates by definition, in double precision, with the f32 angle.
std::vector<float> reference(RopePairs layout, const std::vector<float>& frequencies, std::int64_t first,
                             std::size_t tokens, std::size_t heads, std::size_t stride,
                             const std::vector<float>& x) {
  const std::size_t pairs = frequencies.size();
  std::vector<float> out = x;
  for (std::size_t t = 0; t < tokens; ++t) {
    for (std::size_t h = 0; h < heads; ++h) {
      for (std::size_t i = 0; i < pairs; ++i) {
        const std::size_t head = t * stride + h * 2 * pairs;
        const std::size_t a = head + (layout == RopePairs::HalfSplit ? i : 2 * i);
        const std::size_t b = head + (layout == RopePairs::HalfSplit ? i + pairs : 2 * i + 1);
        const float angle = static_cast<float>(first + static_cast<std::int64_t>(t)) * frequencies[i];
        const double c = std::cos(double{angle});
        const double s = std::sin(double{angle});
        out[a] = static_cast<float>(x[a] * c - x[b] * s);
        out[b] = static_cast<float>(x[b] * c + x[a] * s);
      }
    }
  }
  return out;
}

// Of consecutive positions.
RopeAngles angles_of(const std::vector<float>& frequencies, std::int64_t first, std::size_t count) {
  RopeAngles angles;
  angles.resize(count, frequencies.size());
  for (std::size_t t = 0; t < count; ++t) {
    angles.set(t, frequencies, 1.0F, first + static_cast<std::int64_t>(t));
  }
  return angles;
}

TEST(Rope, EqualsTheDefinitionInBothLayouts) {
  for_each_highway_target([] {
    for (const RopePairs layout : {RopePairs::Interleaved, RopePairs::HalfSplit}) {
      for (const std::size_t pairs : {1, 3, 4, 5, 16, 24, 32, 40, 64, 67}) {
        constexpr std::size_t kTokens = 4;
        constexpr std::size_t kHeads = 3;
        constexpr std::int64_t kFirst = 1000;
        const std::size_t stride = kHeads * 2 * pairs + 5;  // a fused QKV row leaves such gaps
        const auto frequencies = inverse_frequencies(pairs);
        auto x = normal_numbers((kTokens - 1) * stride + kHeads * 2 * pairs, 7);
        const auto want = reference(layout, frequencies, kFirst, kTokens, kHeads, stride, x);
        rope(layout, angles_of(frequencies, kFirst, kTokens), 0, kTokens, kHeads, 2 * pairs, stride,
             x.data());
        for (std::size_t i = 0; i < x.size(); ++i) {
          ASSERT_NEAR(x[i], want[i], 2e-6F) << pairs << " pairs, " << i;
        }
      }
    }
  });
}

TEST(Rope, AnglesAreF32Products) {
  const std::vector<float> frequencies{1.0F, 0.1F, 1e-4F};
  const RopeAngles angles = angles_of(frequencies, 131000, 7);
  ASSERT_EQ(angles.pairs(), 3U);
  for (std::size_t t = 0; t < 7; ++t) {
    for (std::size_t i = 0; i < 3; ++i) {
      const float angle = static_cast<float>(131000 + t) * frequencies[i];
      EXPECT_NEAR(angles.cosines(t)[i], std::cos(double{angle}), 1e-7);
      EXPECT_NEAR(angles.sines(t)[i], std::sin(double{angle}), 1e-7);
    }
  }
}

TEST(Rope, PositionZeroChangesNothing) {
  const auto frequencies = inverse_frequencies(32);
  auto x = normal_numbers(64, 8);
  const auto before = x;
  rope(RopePairs::Interleaved, angles_of(frequencies, 0, 1), 0, 1, 1, 64, 64, x.data());
  EXPECT_EQ(x, before);
}

// Part of each head stays as it is; cosines and sines carry YaRN's factor.
TEST(Rope, RotatesTheLeadingChannelsAlone) {
  const auto frequencies = inverse_frequencies(8);
  for (const RopePairs layout : {RopePairs::Interleaved, RopePairs::HalfSplit}) {
    auto x = normal_numbers(2 * 64, 12);
    const auto before = x;
    RopeAngles angles;
    angles.resize(1, 8);
    angles.set(0, frequencies, 1.5F, 9);
    rope(layout, angles, 0, 1, 2, 64, 128, x.data());
    for (std::size_t head = 0; head < 2; ++head) {
      double rotated = 0;
      double was = 0;
      for (std::size_t c = 0; c < 16; ++c) {
        rotated += std::pow(double{x[head * 64 + c]}, 2);
        was += std::pow(double{before[head * 64 + c]}, 2);
      }
      EXPECT_NEAR(rotated, 2.25 * was, 1e-4 * was);
      for (std::size_t c = 16; c < 64; ++c) EXPECT_EQ(x[head * 64 + c], before[head * 64 + c]);
    }
  }
}

// What RoPE is for: the score depends on the distance alone.
TEST(Rope, ScoresDependOnTheDistanceOnly) {
  const auto frequencies = inverse_frequencies(32);
  const auto score = [&](std::int64_t query_position, std::int64_t key_position) {
    auto q = normal_numbers(64, 9);
    auto k = normal_numbers(64, 10);
    rope(RopePairs::HalfSplit, angles_of(frequencies, query_position, 1), 0, 1, 1, 64, 64, q.data());
    rope(RopePairs::HalfSplit, angles_of(frequencies, key_position, 1), 0, 1, 1, 64, 64, k.data());
    double sum = 0;
    for (std::size_t i = 0; i < 64; ++i) sum += double{q[i]} * k[i];
    return sum;
  };
  EXPECT_NEAR(score(300, 250), score(77, 27), 1e-3);
  EXPECT_GT(std::abs(score(300, 250) - score(300, 240)), 1e-2);
}

TEST(Rope, ManyTokensEqualTokenByToken) {
  constexpr std::size_t kTokens = 300;
  const auto frequencies = inverse_frequencies(16);
  auto all = normal_numbers(kTokens * 64, 11);
  auto single = all;
  rope(RopePairs::Interleaved, angles_of(frequencies, 5, kTokens), 0, kTokens, 2, 32, 64, all.data());
  for (std::size_t t = 0; t < kTokens; ++t) {
    const RopeAngles angles = angles_of(frequencies, static_cast<std::int64_t>(5 + t), 1);
    rope(RopePairs::Interleaved, angles, 0, 1, 2, 32, 64, single.data() + t * 64);
  }
  EXPECT_EQ(all, single);
}

}  // namespace
}  // namespace thinkey
