#include "thinkey/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "thinkey/error.h"

namespace thinkey {
namespace {

const SamplerOptions kPlain{
    .temperature = 1.0F, .top_k = 0, .top_p = 1.0F, .min_p = 0.0F, .repeat_penalty = 1.0F};

std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

std::map<std::int32_t, int> draw(const SamplerOptions& options, const std::vector<float>& logits, int times) {
  Sampler sampler(options);
  std::map<std::int32_t, int> counts;
  for (int i = 0; i < times; ++i) ++counts[sampler.sample(logits)];
  return counts;
}

std::set<std::int32_t> drawn(const SamplerOptions& options, const std::vector<float>& logits) {
  std::set<std::int32_t> ids;
  for (const auto& [id, count] : draw(options, logits, 20000)) ids.insert(id);
  return ids;
}

// Pearson's statistic of the draws against the probabilities.
double chi_square(const std::map<std::int32_t, int>& counts, const std::vector<double>& probabilities,
                  int times) {
  double sum = 0;
  for (std::size_t i = 0; i < probabilities.size(); ++i) {
    const double wanted = probabilities[i] * times;
    const auto found = counts.find(static_cast<std::int32_t>(i));
    const double got = found == counts.end() ? 0 : found->second;
    sum += (got - wanted) * (got - wanted) / wanted;
  }
  return sum;
}

using Ids = std::set<std::int32_t>;

const std::vector<double> kProbabilities = {0.05, 0.3, 0.02, 0.25, 0.1, 0.2, 0.08};

TEST(Sampler, DrawsWithTheProbabilitiesOfSoftmax) {
  constexpr int kTimes = 100000;
  const auto counts = draw(kPlain, logits_of(kProbabilities), kTimes);
  EXPECT_LT(chi_square(counts, kProbabilities, kTimes), 22.46);  // 6 degrees of freedom, p = 0.001
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  constexpr int kTimes = 100000;
  for (const float temperature : {0.5F, 2.0F}) {
    std::vector<double> wanted;
    for (const double p : kProbabilities) {
      wanted.push_back(std::pow(p, 1.0 / static_cast<double>(temperature)));
    }
    const double sum = std::accumulate(wanted.begin(), wanted.end(), 0.0);
    for (double& p : wanted) p /= sum;
    SamplerOptions options = kPlain;
    options.temperature = temperature;
    const auto counts = draw(options, logits_of(kProbabilities), kTimes);
    EXPECT_LT(chi_square(counts, wanted, kTimes), 22.46) << temperature;
    EXPECT_GT(chi_square(counts, kProbabilities, kTimes), 1000) << temperature;
  }
}

TEST(Sampler, ZeroTemperatureTakesTheLikeliest) {
  SamplerOptions options = kPlain;
  options.temperature = 0.0F;
  EXPECT_EQ(drawn(options, logits_of(kProbabilities)), Ids({1}));
  EXPECT_EQ(drawn(options, {1.0F, 3.0F, 3.0F, 3.0F}), Ids({1}));  // ties: the lowest id
  EXPECT_EQ(drawn({.temperature = 0.0F}, {-5.0F, -2.0F, -3.0F}), Ids({1}));
}

TEST(Sampler, TopKKeepsExactlyK) {
  SamplerOptions options = kPlain;
  options.top_k = 3;
  EXPECT_EQ(drawn(options, logits_of(kProbabilities)), Ids({1, 3, 5}));
  options.top_k = 1;
  EXPECT_EQ(drawn(options, {2.0F, 2.0F, 1.0F}), Ids({0}));
  options.top_k = 100;
  EXPECT_EQ(drawn(options, logits_of(kProbabilities)).size(), kProbabilities.size());
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  SamplerOptions options = kPlain;
  const auto kept = [&](float top_p) {
    options.top_p = top_p;
    return drawn(options, logits_of(kProbabilities));
  };
  // In order: 0.3 (id 1), 0.25 (3), 0.2 (5), 0.1 (4), 0.08 (6), 0.05 (0), 0.02 (2).
  EXPECT_EQ(kept(0.01F), Ids({1}));
  EXPECT_EQ(kept(0.29F), Ids({1}));
  EXPECT_EQ(kept(0.31F), Ids({1, 3}));
  EXPECT_EQ(kept(0.74F), Ids({1, 3, 5}));
  EXPECT_EQ(kept(0.76F), Ids({1, 3, 4, 5}));
  EXPECT_EQ(kept(0.97F), Ids({0, 1, 3, 4, 5, 6}));
  EXPECT_EQ(kept(1.0F).size(), 7U);
}

TEST(Sampler, MinPComparesWithTheLikeliest) {
  SamplerOptions options = kPlain;
  const auto kept = [&](float min_p) {
    options.min_p = min_p;
    return drawn(options, logits_of(kProbabilities));
  };
  EXPECT_EQ(kept(1.0F), Ids({1}));
  EXPECT_EQ(kept(0.65F), Ids({1, 3, 5}));          // 0.195 and more
  EXPECT_EQ(kept(0.3F), Ids({1, 3, 4, 5}));        // 0.09
  EXPECT_EQ(kept(0.1F), Ids({0, 1, 3, 4, 5, 6}));  // 0.03
  EXPECT_EQ(kept(0.0F).size(), 7U);
}

// top-k goes before top-p (the probabilities are those of the k), top-p before the temperature.
TEST(Sampler, AppliesTheFiltersInOrder) {
  SamplerOptions options = kPlain;
  options.top_k = 3;     // 0.3, 0.25, 0.2 become 0.4, 0.333, 0.267
  options.top_p = 0.7F;  // reached by the first two; of the unfiltered probabilities three would be needed
  EXPECT_EQ(drawn(options, logits_of(kProbabilities)), Ids({1, 3}));
  options.temperature = 5.0F;
  EXPECT_EQ(drawn(options, logits_of(kProbabilities)), Ids({1, 3}));
}

TEST(Sampler, RepeatPenaltyDividesPositiveAndMultipliesNegativeLogits) {
  SamplerOptions options{.temperature = 0.0F, .repeat_penalty = 2.0F};
  Sampler sampler(options);
  const std::vector<float> positive = {4.0F, 3.0F, 1.0F};
  EXPECT_EQ(sampler.sample(positive), 0);
  sampler.accept(0);
  sampler.accept(0);                       // once is enough: 4 / 2, not 4 / 4
  EXPECT_EQ(sampler.sample(positive), 1);  // 2, 3, 1
  sampler.accept(1);
  EXPECT_EQ(sampler.sample(positive), 0);  // 2, 1.5, 1

  Sampler other(options);
  const std::vector<float> negative = {-1.0F, -1.5F, -4.0F};
  other.accept(0);
  EXPECT_EQ(other.sample(negative), 1);  // -2, -1.5, -4
}

TEST(Sampler, RepeatPenaltyForgets) {
  const std::vector<float> logits = {4.0F, 3.0F, 1.0F};
  for (const std::int32_t last_n : {0, 1, 2, -1}) {
    Sampler sampler({.temperature = 0.0F, .repeat_penalty = 2.0F, .repeat_last_n = last_n});
    sampler.accept(0);
    sampler.accept(2);
    const bool remembers = last_n == 2 || last_n == -1;
    EXPECT_EQ(sampler.sample(logits), remembers ? 1 : 0) << last_n;
  }
}

TEST(Sampler, TheSeedDecidesEverything) {
  const auto logits = logits_of(kProbabilities);
  const auto sequence = [&](std::uint64_t seed) {
    SamplerOptions options = kPlain;
    options.seed = seed;
    Sampler sampler(options);
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 50; ++i) {
      ids.push_back(sampler.sample(logits));
      sampler.accept(ids.back());
    }
    return ids;
  };
  EXPECT_EQ(sequence(7), sequence(7));
  EXPECT_NE(sequence(7), sequence(8));
  // The standard fixes mt19937_64, and the mapping is ours: the same on every machine.
  const std::vector<std::int32_t> first(10, 0);
  Sampler sampler(kPlain);
  std::vector<std::int32_t> ids;
  const std::vector<float> even(10, 0.0F);
  for (int i = 0; i < 10; ++i) ids.push_back(sampler.sample(even));
  std::mt19937_64 random(0);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(ids[static_cast<std::size_t>(i)],
              static_cast<std::int32_t>(static_cast<double>(random() >> 11U) * 0x1p-53 * 10));
  }
}

TEST(Sampler, SurvivesInfinitiesAndNaN) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(drawn({}, {nan, -kInfinity, 2.0F, nan}), Ids({2}));
  EXPECT_EQ(drawn({}, {1.0F, kInfinity, 2.0F}), Ids({1}));
  EXPECT_EQ(drawn({.temperature = 0.0F}, {nan, nan}), Ids({0}));
  EXPECT_EQ(drawn(kPlain, {-kInfinity, -kInfinity}), Ids({0, 1}));
  Sampler sampler({.repeat_penalty = 3.0F});
  sampler.accept(0);
  sampler.accept(1);
  sampler.accept(99);
  sampler.accept(-1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-kInfinity, -kInfinity, -kInfinity}), 2);
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  const auto refused = [](const SamplerOptions& options) {
    try {
      Sampler sampler(options);
    } catch (const Error& error) {
      return error.kind() == ErrorKind::Usage;
    }
    return false;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(refused({}));
  for (const float bad : {-0.1F, nan, std::numeric_limits<float>::infinity()}) {
    EXPECT_TRUE(refused({.temperature = bad}));
  }
  EXPECT_TRUE(refused({.top_k = -1}));
  for (const float bad : {0.0F, -1.0F, 1.01F, nan}) EXPECT_TRUE(refused({.top_p = bad}));
  for (const float bad : {-0.01F, 1.01F, nan}) EXPECT_TRUE(refused({.min_p = bad}));
  for (const float bad : {0.0F, -1.0F, nan}) EXPECT_TRUE(refused({.repeat_penalty = bad}));
  EXPECT_TRUE(refused({.repeat_last_n = -2}));
  EXPECT_THROW((void)Sampler({}).sample({}), Error);
}

}  // namespace
}  // namespace thinkey
