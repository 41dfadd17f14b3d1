// Mixed precision: blocks no larger than ThinK's, and less error for them.
#include "cache/bit_allocation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "cache/random_prompt.h"

namespace thinkey {
namespace {

using test::RandomPrompt;

double error_in(double dropped, double noise, int bits) {
  if (bits == 0) return dropped;
  return bits == 16 ? 0.0 : noise / std::pow((1 << bits) - 1, 2);
}

// Bytes of a block's keys.
std::size_t bytes_of(const std::vector<int>& bits) {
  std::size_t bytes = 0;
  for (const int b : {16, 8, 4, 2}) {
    const auto channels = static_cast<std::size_t>(std::count(bits.begin(), bits.end(), b));
    const std::size_t exponents = channels > 0 ? 32 : 0;
    bytes += channels * static_cast<std::size_t>(4 * b) + (b == 16 ? exponents : 4 * channels);
  }
  return bytes;
}

// Bits of every channel as a plan says.
std::vector<int> bits_of(const KeyPlan& plan, std::size_t dim) {
  std::vector<int> bits(dim, 0);
  std::size_t at = 0;
  for (std::size_t f = 0; f < kElementFormats; ++f) {
    for (std::size_t i = 0; i < plan.formats[f]; ++i, ++at) {
      EXPECT_TRUE(i == 0 || plan.channels[at] > plan.channels[at - 1]);
      int& of = bits[static_cast<std::size_t>(plan.channels[at])];
      EXPECT_EQ(of, 0);
      of = static_cast<int>(element_bits(static_cast<ElementFormat>(f)));
    }
  }
  EXPECT_EQ(at, plan.channels.size());
  return bits;
}

TEST(BitAllocation, NeverMoreBytesAndNearTheOptimum) {
  std::mt19937_64 random(1);
  std::lognormal_distribution<float> size(0.0F, 2.0F);
  std::uniform_real_distribution<float> range(0.5F, 2.0F);  // mean squared range / 12, of the variance
  for (int i = 0; i < 300; ++i) {
    constexpr std::size_t kDim = 6;
    std::vector<float> dropped(kDim);
    std::vector<float> noise(kDim);
    for (std::size_t j = 0; j < kDim; ++j) noise[j] = range(random) * (dropped[j] = size(random));
    const std::size_t rows = 1 + random() % kDim;
    const KeyPlan plan = allocate_bits(dropped, noise, rows, ElementFormat::I16);
    const std::vector<int> bits = bits_of(plan, kDim);
    double error = 0.0;
    for (std::size_t j = 0; j < kDim; ++j) {
      error += error_in(dropped[j], noise[j], bits[j]);
    }
    EXPECT_LE(bytes_of(bits), 64 * rows + 32);
    EXPECT_GE(plan.channels.size(), 1U);

    // Every assignment there is.
    constexpr int kBits[] = {0, 2, 4, 8, 16};
    double best = 1e30;
    for (int code = 0; code < 15625; ++code) {
      double total = 0.0;
      std::vector<int> tried(kDim);
      for (std::size_t j = 0, rest = static_cast<std::size_t>(code); j < kDim; ++j, rest /= 5) {
        const int b = kBits[rest % 5];
        total += error_in(dropped[j], noise[j], b);
        tried[j] = b;
      }
      if (total < best && bytes_of(tried) <= 64 * rows + 32) best = total;
    }
    std::vector<float> sorted = dropped;
    std::sort(sorted.begin(), sorted.end());
    double think = 0.0;  // error of the best `rows` channels in 16 bits
    for (std::size_t j = 0; j + rows < kDim; ++j) think += sorted[j];
    EXPECT_LE(error, 3.0 * best + 1e-3 * think + 1e-9);  // pairs make few channels coarse
    EXPECT_LE(error, think + 1e-9);
  }
}

TEST(BitAllocation, BrokenScoresKeepAChannel) {
  const std::vector<float> nan(16, std::numeric_limits<float>::quiet_NaN());
  const std::vector<float> infinite(16, std::numeric_limits<float>::infinity());
  for (const auto& scores : {nan, infinite, std::vector<float>(16, 0.0F)}) {
    const KeyPlan plan = allocate_bits(scores, scores, 1, ElementFormat::Q2);
    EXPECT_GE(plan.channels.size(), 1U);
    (void)bits_of(plan, 16);
  }
}

// Keys whose channels differ in size, as real ones do, and queries that look alike.
TEST(BitAllocation, HalvesTheLossOfThinkAtItsBytes) {
  const CacheShape shape = CacheShape::uniform(1, {4, 2, 64});
  RandomPrompt prompt(shape.layers[0], 1000, 5);
  for (std::size_t i = 0; i < prompt.k.size(); ++i) {
    prompt.k[i] *= 2.0F / static_cast<float>(1 + i % 64 / 8);
  }
  const auto run = [&](const std::string& text, std::size_t& bytes) {
    AllocationCounter counter;
    SequenceCache cache(shape, CacheSpec::parse(text), &counter);
    cache.compress_prompt(0, prompt.view());
    bytes = counter.live();
    std::vector<float> out(4 * 64);
    cache.attend(0, 1, 1000, prompt.q.data() + 990 * 256, out.data());
    return out;
  };
  const auto loss = [&](const std::vector<float>& a, const std::vector<float>& b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
    return std::sqrt(sum);
  };
  std::size_t bytes = 0;
  const std::vector<float> full = run("full", bytes);
  for (const std::string ratio : {"0.6", "0.8", "0.9"}) {
    std::size_t think_bytes = 0;
    const double think = loss(run("think:" + ratio + ",form=paper", think_bytes), full);
    const double mixed = loss(run("think:" + ratio, bytes), full);
    EXPECT_LE(bytes, think_bytes + 2 * 64 * sizeof(std::uint16_t)) << ratio;  // the lists are longer
    EXPECT_LE(mixed, 0.5 * think) << ratio;
  }
}

}  // namespace
}  // namespace thinkey
