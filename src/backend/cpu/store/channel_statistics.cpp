// What queries and keys have in each channel, and attention in each channel of its output: what ThinK decides
// on.
#include <algorithm>
#include <limits>
#include <vector>

#include "backend/cpu/ops/matmul.h"
#include "backend/cpu/ops/softmax.h"
#include "backend/cpu/store/cpu_layer_store.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

TokenRows head_rows(const AttentionShape& shape, const PromptView& prompt, TokenRows x, std::size_t kv_head) {
  return x + kv_head * prompt.capacity * shape.head_dim;
}

// The group's last queries as rows [window * G, D], times `scale`.
std::vector<float> window_rows(const AttentionShape& shape, const PromptView& prompt, std::size_t window,
                               std::size_t kv_head, float scale) {
  std::vector<float> rows;
  rows.reserve(window * shape.group() * shape.head_dim);
  for (std::size_t s = prompt.queries - window; s < prompt.queries; ++s) {
    for (std::size_t g = 0; g < shape.group(); ++g) {
      const float* q =
          prompt.q + s * prompt.q_token_stride + (kv_head * shape.group() + g) * prompt.q_head_stride;
      for (std::size_t j = 0; j < shape.head_dim; ++j) rows.push_back(q[j] * scale);
    }
  }
  return rows;
}

// Mean of the squares of each column of rows [n, D].
std::vector<double> mean_energy(const std::vector<float>& rows, std::size_t dim) {
  std::vector<double> energy(dim, 0.0);
  for (std::size_t i = 0; i < rows.size(); ++i) energy[i % dim] += static_cast<double>(rows[i]) * rows[i];
  const std::size_t n = std::max<std::size_t>(1, rows.size() / dim);
  for (double& x : energy) x /= static_cast<double>(n);
  return energy;
}

// Squared ranges of the channels within blocks of 32 tokens.
class Ranges {
 public:
  explicit Ranges(std::size_t dim) : sum_(dim, 0.0), low_(dim), high_(dim) {}

  void add(const float* k) {
    for (std::size_t j = 0; j < sum_.size(); ++j) {
      low_[j] = tokens_ == 0 ? k[j] : std::min(low_[j], k[j]);
      high_[j] = tokens_ == 0 ? k[j] : std::max(high_[j], k[j]);
    }
    if (++tokens_ == kBlockTokens) finish_block();
  }
  [[nodiscard]] std::vector<double> mean() {
    if (tokens_ > 0) finish_block();
    std::vector<double> mean = sum_;
    for (double& x : mean) x /= static_cast<double>(std::max<std::size_t>(1, blocks_));
    return mean;
  }

 private:
  void finish_block() {
    for (std::size_t j = 0; j < sum_.size(); ++j) {
      const double range = static_cast<double>(high_[j]) - low_[j];
      sum_[j] += range * range;
    }
    tokens_ = 0;
    ++blocks_;
  }

  std::vector<double> sum_;
  std::vector<float> low_, high_;
  std::size_t tokens_ = 0, blocks_ = 0;
};

KeyStatistics head_statistics(const AttentionShape& shape, const PromptView& prompt, std::size_t window,
                              std::size_t kv_head, std::span<const std::int32_t> tokens, bool ranges) {
  const std::size_t dim = shape.head_dim;
  KeyStatistics s{.query_energy = mean_energy(
                      window_rows(shape, prompt, std::min(window, prompt.queries), kv_head, 1.0F), dim),
                  .energy = std::vector<double>(dim, 0.0),
                  .mean = std::vector<double>(dim, 0.0),
                  .range_energy = {}};
  const TokenRows keys = head_rows(shape, prompt, prompt.k, kv_head);
  Ranges range(dim);
  std::vector<float> scratch(dim);
  for (const std::int32_t t : tokens) {
    const float* k = (keys + static_cast<std::size_t>(t) * dim).load(dim, scratch.data());
    for (std::size_t j = 0; j < dim; ++j) {
      s.energy[j] += static_cast<double>(k[j]) * k[j];
      s.mean[j] += k[j];
    }
    if (ranges) range.add(k);
  }
  const auto n = static_cast<double>(std::max<std::size_t>(1, tokens.size()));
  for (double& x : s.energy) x /= n;
  for (double& x : s.mean) x /= n;
  if (ranges) s.range_energy = range.mean();
  return s;
}

std::vector<double> head_output_energy(const AttentionShape& shape, const PromptView& prompt,
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
  product.m = rows;
  product.n = product.ldc = tokens;
  product.k = product.lda = product.ldb = dim;
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
  product.n = product.ldb = product.ldc = dim;
  product.k = product.lda = tokens;
  product.b_transposed = false;
  matmul(product, weights.data(), values.data(), outputs.data());

  return mean_energy(outputs, dim);
}

}  // namespace

std::vector<KeyStatistics> CpuLayerStore::key_statistics(const PromptView& prompt, std::size_t window,
                                                         const TokenLists& tokens, bool ranges) const {
  std::vector<KeyStatistics> statistics(shape_.kv_heads);
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    statistics[h] = head_statistics(shape_, prompt, window, h, tokens[h], ranges);
  });
  return statistics;
}

std::vector<std::vector<double>> CpuLayerStore::output_energy(const PromptView& prompt, std::size_t window,
                                                              const TokenLists& tokens) const {
  std::vector<std::vector<double>> energy(shape_.kv_heads);
  parallel_for(shape_.kv_heads,
               [&](std::size_t h) { energy[h] = head_output_energy(shape_, prompt, window, h, tokens[h]); });
  return energy;
}

}  // namespace thinkey
