#include "cache/window_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/matmul.h"
#include "ops/softmax.h"

namespace thinkey {
namespace {

constexpr std::size_t kTile = 1024;  // keys at a time

}  // namespace

void window_attention_sums(const CacheShape& shape, const PromptView& prompt, std::size_t window,
                           std::size_t kv_head, float* sums) {
  const std::size_t group = shape.query_heads / shape.kv_heads;
  const std::size_t dim = shape.head_dim;
  const std::size_t tokens = prompt.tokens;
  const std::size_t first = tokens - window;  // position of the window's first query
  const std::size_t rows = group * window;    // row g * window + s
  const float scale = 1.0F / std::sqrt(static_cast<float>(dim));
  const float* keys = prompt.k + kv_head * prompt.capacity * dim;

  std::vector<float> q(rows * dim);
  for (std::size_t g = 0; g < group; ++g) {
    for (std::size_t s = 0; s < window; ++s) {
      const float* from = prompt.q + (prompt.queries - window + s) * prompt.q_token_stride +
                          (kv_head * group + g) * prompt.q_head_stride;
      float* to = q.data() + (g * window + s) * dim;
      for (std::size_t i = 0; i < dim; ++i) to[i] = from[i] * scale;
    }
  }

  std::vector<float> logits(rows * std::min(kTile, tokens));
  std::vector<float> row_max(rows, -std::numeric_limits<float>::infinity());
  std::vector<float> row_sum(rows, 0.0F);

  // Logits of keys [begin, begin + n), row by row; what a query may not see is left out by `visible`.
  const auto tile_logits = [&](std::size_t begin, std::size_t n) {
    MatmulShape product;
    product.m = static_cast<std::int64_t>(rows);
    product.n = static_cast<std::int64_t>(n);
    product.k = product.lda = product.ldb = static_cast<std::int64_t>(dim);
    product.ldc = static_cast<std::int64_t>(n);
    matmul(product, q.data(), keys + begin * dim, logits.data());
  };
  // Keys of the tile that query s sees: causality, and the model's sliding window.
  const auto visible = [&](std::size_t s, std::size_t begin, std::size_t n) {
    const std::size_t position = first + s;
    const std::size_t oldest = shape.sliding_window > 0 && position + 1 > shape.sliding_window
                                   ? position + 1 - shape.sliding_window
                                   : 0;
    const std::size_t from = std::clamp(oldest, begin, begin + n) - begin;
    const std::size_t to = std::clamp(position + 1, begin, begin + n) - begin;
    return std::pair(from, std::max(from, to));
  };

  for (std::size_t begin = 0; begin < tokens; begin += kTile) {
    const std::size_t n = std::min(kTile, tokens - begin);
    tile_logits(begin, n);
    for (std::size_t r = 0; r < rows; ++r) {
      const auto [from, to] = visible(r % window, begin, n);
      if (from == to) continue;
      float* row = logits.data() + r * n;
      const float peak = std::max(row_max[r], *std::max_element(row + from, row + to));
      row_sum[r] *= std::exp(row_max[r] - peak);
      row_sum[r] += exp_shifted(row + from, to - from, peak);
      row_max[r] = peak;
    }
  }

  std::fill_n(sums, group * tokens, 0.0F);
  for (std::size_t begin = 0; begin < tokens; begin += kTile) {
    const std::size_t n = std::min(kTile, tokens - begin);
    tile_logits(begin, n);
    for (std::size_t r = 0; r < rows; ++r) {
      const auto [from, to] = visible(r % window, begin, n);
      if (from == to) continue;
      float* row = logits.data() + r * n;
      (void)exp_shifted(row + from, to - from, row_max[r]);
      const float inverse = 1.0F / row_sum[r];
      float* out = sums + (r / window) * tokens + begin;
      for (std::size_t t = from; t < to; ++t) out[t] += row[t] * inverse;
    }
  }
}

}  // namespace thinkey
