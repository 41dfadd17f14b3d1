#include "eval/text/distribution.h"

#include <algorithm>
#include <cmath>

namespace thinkey::eval {
namespace {

// log of the sum of exp(logits), and the largest logit it is relative to.
struct Normalizer {
  double peak, log_sum;
};

Normalizer normalizer(std::span<const float> logits) {
  const double peak = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const float x : logits) sum += std::exp(x - peak);
  return {peak, std::log(sum)};
}

}  // namespace

std::vector<double> log_probabilities(std::span<const float> logits) {
  const auto [peak, log_sum] = normalizer(logits);
  std::vector<double> out(logits.begin(), logits.end());
  for (double& x : out) x -= peak + log_sum;
  return out;
}

double negative_log_likelihood(std::span<const float> logits, std::int32_t token) {
  const auto [peak, log_sum] = normalizer(logits);
  return log_sum - (static_cast<double>(logits[static_cast<std::size_t>(token)]) - peak);
}

double kl_divergence(std::span<const double> p, std::span<const double> q) {
  double sum = 0.0;
  for (std::size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return std::max(0.0, sum);  // rounding may leave it just below
}

std::int32_t likeliest(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace thinkey::eval
