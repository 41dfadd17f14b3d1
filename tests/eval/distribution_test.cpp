#include "eval/text/distribution.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace thinkey::eval::test {
namespace {

TEST(Distribution, ByHand) {
  const std::vector<float> logits = {std::log(1.0F), std::log(2.0F), std::log(5.0F)};
  const std::vector<double> log_p = log_probabilities(logits);
  EXPECT_NEAR(std::exp(log_p[0]), 0.125, 1e-7);
  EXPECT_NEAR(std::exp(log_p[2]), 0.625, 1e-7);
  EXPECT_NEAR(negative_log_likelihood(logits, 1), -std::log(0.25), 1e-7);
  EXPECT_EQ(likeliest(logits), 2);
  const std::vector<double> uniform(3, std::log(1.0 / 3.0));
  const double expected = 0.125 * std::log(0.375) + 0.25 * std::log(0.75) + 0.625 * std::log(1.875);
  EXPECT_NEAR(kl_divergence(log_p, uniform), expected, 1e-7);
  EXPECT_EQ(kl_divergence(log_p, log_p), 0.0);
}

TEST(Distribution, LargeLogitsDoNotOverflow) {
  const std::vector<float> logits = {1e4F, -1e4F, 9999.0F};
  EXPECT_NEAR(negative_log_likelihood(logits, 1), 20000.0 + std::log1p(std::exp(-1.0)), 1e-6);
  EXPECT_TRUE(
      std::isfinite(kl_divergence(log_probabilities(logits), log_probabilities(std::vector<float>(3)))));
}

}  // namespace
}  // namespace thinkey::eval::test
