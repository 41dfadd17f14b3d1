// Next-token distributions: log-softmax of logits, and how far two of them are apart. In double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace thinkey::eval {

// Of logits [V].
[[nodiscard]] std::vector<double> log_probabilities(std::span<const float> logits);

// -log p(token), nats, without the other tokens' probabilities.
[[nodiscard]] double negative_log_likelihood(std::span<const float> logits, std::int32_t token);

// KL(p || q) in nats for log-probabilities [V]; at least 0.
[[nodiscard]] double kl_divergence(std::span<const double> p, std::span<const double> q);

// Index of the largest logit; the first of equals.
[[nodiscard]] std::int32_t likeliest(std::span<const float> logits);

}  // namespace thinkey::eval
