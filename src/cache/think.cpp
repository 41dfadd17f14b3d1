#include "cache/think.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cache/block.h"
#include "ops/matmul.h"
#include "ops/softmax.h"

namespace thinkey {
namespace {

TokenRows head_rows(const AttentionShape& shape, const PromptView& prompt, TokenRows x, std::size_t kv_head) {
  return x + kv_head * prompt.capacity * shape.head_dim;
}

// The group's last queries as rows [G * window, D], times `scale`.
std::vector<float> window_rows(const AttentionShape& shape, const PromptView& prompt, std::size_t window,
                               std::size_t kv_head, float scale) {
  const std::size_t group = shape.group();
  std::vector<float> rows;
  rows.reserve(window * group * shape.head_dim);
  for (std::size_t s = prompt.queries - window; s < prompt.queries; ++s) {
    for (std::size_t g = 0; g < group; ++g) {
      const float* q = prompt.q + s * prompt.q_token_stride + (kv_head * group + g) * prompt.q_head_stride;
      for (std::size_t j = 0; j < shape.head_dim; ++j) rows.push_back(q[j] * scale);
    }
  }
  return rows;
}

// Mean of q_j^2 over the window's queries and the group's heads, [D].
std::vector<double> mean_query_energy(const AttentionShape& shape, const PromptView& prompt,
                                      std::size_t window, std::size_t kv_head) {
  const std::vector<float> queries =
      window_rows(shape, prompt, std::min(window, prompt.queries), kv_head, 1.0F);
  std::vector<double> energy(shape.head_dim, 0.0);
  for (std::size_t i = 0; i < queries.size(); ++i) {
    energy[i % shape.head_dim] += static_cast<double>(queries[i]) * queries[i];
  }
  const std::size_t rows = std::max<std::size_t>(1, queries.size() / shape.head_dim);
  for (double& x : energy) x /= static_cast<double>(rows);
  return energy;
}

}  // namespace

std::vector<float> think_key_scores(const AttentionShape& shape, const PromptView& prompt, std::size_t window,
                                    std::size_t kv_head, std::span<const std::int32_t> kept_tokens,
                                    bool centred) {
  const std::size_t dim = shape.head_dim;
  const std::vector<double> query_energy = mean_query_energy(shape, prompt, window, kv_head);
  std::vector<double> energy(dim, 0.0);
  std::vector<double> sum(dim, 0.0);
  const TokenRows keys = head_rows(shape, prompt, prompt.k, kv_head);
  std::vector<float> scratch(dim);
  for (const std::int32_t t : kept_tokens) {
    const float* k = (keys + static_cast<std::size_t>(t) * dim).load(dim, scratch.data());
    for (std::size_t j = 0; j < dim; ++j) {
      energy[j] += static_cast<double>(k[j]) * k[j];
      sum[j] += k[j];
    }
  }
  const auto tokens = static_cast<double>(std::max<std::size_t>(1, kept_tokens.size()));
  std::vector<float> scores(dim);
  for (std::size_t j = 0; j < dim; ++j) {
    const double mean = centred ? sum[j] / tokens : 0.0;
    scores[j] = static_cast<float>(query_energy[j] * std::max(0.0, energy[j] / tokens - mean * mean));
  }
  return scores;
}

std::vector<float> key_noise(const AttentionShape& shape, const PromptView& prompt, std::size_t window,
                             std::size_t kv_head, std::span<const std::int32_t> kept_tokens) {
  const std::size_t dim = shape.head_dim;
  const std::vector<double> query_energy = mean_query_energy(shape, prompt, window, kv_head);
  const TokenRows keys = head_rows(shape, prompt, prompt.k, kv_head);
  std::vector<float> scratch(dim);
  std::vector<double> noise(dim, 0.0);
  std::vector<float> low(dim);
  std::vector<float> high(dim);
  std::size_t blocks = 0;
  for (std::size_t begin = 0; begin < kept_tokens.size(); begin += kBlockTokens, ++blocks) {
    const auto block =
        kept_tokens.subspan(begin, std::min<std::size_t>(kBlockTokens, kept_tokens.size() - begin));
    low.assign(dim, std::numeric_limits<float>::max());
    high.assign(dim, std::numeric_limits<float>::lowest());
    for (const std::int32_t t : block) {
      const float* k = (keys + static_cast<std::size_t>(t) * dim).load(dim, scratch.data());
      for (std::size_t j = 0; j < dim; ++j) {
        low[j] = std::min(low[j], k[j]);
        high[j] = std::max(high[j], k[j]);
      }
    }
    for (std::size_t j = 0; j < dim; ++j) {
      const double range = static_cast<double>(high[j]) - low[j];
      noise[j] += range * range;
    }
  }
  std::vector<float> scores(dim);
  for (std::size_t j = 0; j < dim; ++j) {
    const double mean = noise[j] / static_cast<double>(std::max<std::size_t>(1, blocks));
    scores[j] = static_cast<float>(query_energy[j] * mean / 12.0);
  }
  return scores;
}

std::vector<float> think_value_scores(const AttentionShape& shape, const PromptView& prompt,
                                      std::size_t window, std::size_t kv_head,
                                      std::span<const std::int32_t> kept_tokens) {
  const std::size_t dim = shape.head_dim;
  const std::size_t tokens = kept_tokens.size();
  const std::vector<float> q =
      window_rows(shape, prompt, std::min(window, prompt.queries), kv_head, shape.logit_scale());
  const std::size_t rows = q.size() / dim;
  const std::size_t group = shape.group();

  std::vector<float> keys(tokens * dim);
  std::vector<float> values(tokens * dim);
  std::vector<float> scratch(dim);
  for (std::size_t i = 0; i < tokens; ++i) {
    const std::size_t at = static_cast<std::size_t>(kept_tokens[i]) * dim;
    std::copy_n((head_rows(shape, prompt, prompt.k, kv_head) + at).load(dim, scratch.data()), dim,
                keys.data() + i * dim);
    std::copy_n((head_rows(shape, prompt, prompt.v, kv_head) + at).load(dim, scratch.data()), dim,
                values.data() + i * dim);
  }

  MatmulShape product;
  product.m = static_cast<std::int64_t>(rows);
  product.n = product.ldc = static_cast<std::int64_t>(tokens);
  product.k = product.lda = product.ldb = static_cast<std::int64_t>(dim);
  std::vector<float> weights(rows * tokens);
  matmul(product, q.data(), keys.data(), weights.data());
  const std::size_t first = prompt.tokens - rows / group;  // position of the window's first query
  for (std::size_t r = 0; r < rows; ++r) {
    const auto position = static_cast<std::int32_t>(first + r / group);
    const auto visible =
        std::upper_bound(kept_tokens.begin(), kept_tokens.end(), position) - kept_tokens.begin();
    const auto oldest = static_cast<std::int32_t>(shape.first_seen(first + r / group));
    const auto begin = std::lower_bound(kept_tokens.begin(), kept_tokens.end(), oldest) - kept_tokens.begin();
    float* row = weights.data() + r * tokens;
    std::fill(row, row + std::min(begin, visible), 0.0F);
    std::fill(row + visible, row + tokens, 0.0F);
    if (begin >= visible) continue;
    const auto seen = static_cast<std::size_t>(visible - begin);
    softcap(row + begin, seen, shape.softcap);
    softmax(row + begin, seen, shape.sink(kv_head * group + r % group));
  }

  std::vector<float> outputs(rows * dim);
  product.n = product.ldb = product.ldc = static_cast<std::int64_t>(dim);
  product.k = product.lda = static_cast<std::int64_t>(tokens);
  product.b_transposed = false;
  matmul(product, weights.data(), values.data(), outputs.data());

  std::vector<double> energy(dim, 0.0);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    energy[i % dim] += static_cast<double>(outputs[i]) * outputs[i];
  }
  std::vector<float> scores(dim);
  for (std::size_t j = 0; j < dim; ++j) {
    scores[j] =
        static_cast<float>(std::sqrt(energy[j] / static_cast<double>(std::max<std::size_t>(1, rows))));
  }
  return scores;
}

std::vector<float> mean_key(const AttentionShape& shape, const PromptView& prompt, std::size_t kv_head,
                            std::span<const std::int32_t> tokens) {
  std::vector<double> sum(shape.head_dim, 0.0);
  const TokenRows keys = head_rows(shape, prompt, prompt.k, kv_head);
  std::vector<float> scratch(shape.head_dim);
  for (const std::int32_t t : tokens) {
    const float* k =
        (keys + static_cast<std::size_t>(t) * shape.head_dim).load(shape.head_dim, scratch.data());
    for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += k[j];
  }
  std::vector<float> mean(sum.size());
  for (std::size_t j = 0; j < mean.size(); ++j) {
    mean[j] = static_cast<float>(sum[j] / static_cast<double>(std::max<std::size_t>(1, tokens.size())));
  }
  return mean;
}

}  // namespace thinkey
