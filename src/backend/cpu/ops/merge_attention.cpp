#include "backend/cpu/ops/merge_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace thinkey {

void merge_attention(std::size_t rows, std::size_t head_dim, float* out_a, float* lse_a, const float* out_b,
                     const float* lse_b) {
  for (std::size_t r = 0; r < rows; ++r) {
    const float peak = std::max(lse_a[r], lse_b[r]);
    if (peak == -std::numeric_limits<float>::infinity()) continue;
    const float a = std::exp(lse_a[r] - peak);
    const float b = std::exp(lse_b[r] - peak);
    const float inverse = 1.0F / (a + b);
    float* to = out_a + r * head_dim;
    const float* from = out_b + r * head_dim;
    for (std::size_t i = 0; i < head_dim; ++i) to[i] = (a * to[i] + b * from[i]) * inverse;
    lse_a[r] = peak + std::log(a + b);
  }
}

void apply_sinks(const AttentionShape& shape, std::size_t n, float* out, float* lse) {
  if (shape.sinks == nullptr) return;
  for (std::size_t r = 0; r < n * shape.query_heads; ++r) {
    const float sink = shape.sinks[r % shape.query_heads];
    const float peak = std::max(lse[r], sink);
    if (peak == -std::numeric_limits<float>::infinity()) continue;
    const float seen = std::exp(lse[r] - peak);
    const float total = seen + std::exp(sink - peak);
    const float share = seen / total;
    for (std::size_t i = 0; i < shape.head_dim; ++i) out[r * shape.head_dim + i] *= share;
    lse[r] = peak + std::log(total);
  }
}

}  // namespace thinkey
