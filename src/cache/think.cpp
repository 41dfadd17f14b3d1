#include "cache/think.h"

#include <algorithm>

namespace thinkey {

std::vector<float> think_key_scores(const CacheShape& shape, const PromptView& prompt, std::size_t window,
                                    std::size_t kv_head, std::span<const std::int32_t> kept_tokens) {
  const std::size_t dim = shape.head_dim;
  const std::size_t group = shape.query_heads / shape.kv_heads;
  window = std::min(window, prompt.queries);

  std::vector<double> query_energy(dim, 0.0);
  for (std::size_t s = prompt.queries - window; s < prompt.queries; ++s) {
    for (std::size_t g = 0; g < group; ++g) {
      const float* q = prompt.q + s * prompt.q_token_stride + (kv_head * group + g) * prompt.q_head_stride;
      for (std::size_t j = 0; j < dim; ++j) query_energy[j] += static_cast<double>(q[j]) * q[j];
    }
  }
  std::vector<double> key_energy(dim, 0.0);
  const float* keys = prompt.k + kv_head * prompt.capacity * dim;
  for (const std::int32_t t : kept_tokens) {
    const float* k = keys + static_cast<std::size_t>(t) * dim;
    for (std::size_t j = 0; j < dim; ++j) key_energy[j] += static_cast<double>(k[j]) * k[j];
  }

  const double scale = 1.0 / (static_cast<double>(std::max<std::size_t>(1, window * group)) *
                              static_cast<double>(std::max<std::size_t>(1, kept_tokens.size())));
  std::vector<float> scores(dim);
  for (std::size_t j = 0; j < dim; ++j)
    scores[j] = static_cast<float>(query_energy[j] * key_energy[j] * scale);
  return scores;
}

}  // namespace thinkey
