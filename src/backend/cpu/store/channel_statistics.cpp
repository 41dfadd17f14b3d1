// What queries and keys have in each channel, and attention in each channel of its output: what ThinK decides
// on.
#include <algorithm>
#include <limits>
#include <vector>

#include "backend/cpu/ops/dequantize.h"
#include "backend/cpu/ops/matmul.h"
#include "backend/cpu/ops/softmax.h"
#include "backend/cpu/store/cpu_layer_store.h"
#include "base/matrix_view.h"
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

// Attention of the group's last queries to some tokens of the prompt.
struct WindowAttention {
  std::size_t rows = 0;             // window * G, row w * G + g
  std::vector<float> q;             // [rows, D], scaled
  std::vector<float> keys, values;  // [tokens, D]
  std::vector<float> weights;       // [rows, tokens]
  std::vector<float> outputs;       // [rows, D]
};

WindowAttention attend_window(const AttentionShape& shape, const PromptView& prompt, std::size_t window,
                              std::size_t kv_head, std::span<const std::int32_t> kept_tokens) {
  const std::size_t dim = shape.head_dim;
  const std::size_t tokens = kept_tokens.size();
  WindowAttention a;
  a.q = window_rows(shape, prompt, std::min(window, prompt.queries), kv_head, shape.logit_scale());
  const std::size_t rows = a.rows = a.q.size() / dim;
  const std::size_t group = shape.group();

  a.keys.resize(tokens * dim);
  a.values.resize(tokens * dim);
  std::vector<float> scratch(dim);
  for (std::size_t i = 0; i < tokens; ++i) {
    const std::size_t at = static_cast<std::size_t>(kept_tokens[i]) * dim;
    std::copy_n((head_rows(shape, prompt, prompt.k, kv_head) + at).load(dim, scratch.data()), dim,
                a.keys.data() + i * dim);
    std::copy_n((head_rows(shape, prompt, prompt.v, kv_head) + at).load(dim, scratch.data()), dim,
                a.values.data() + i * dim);
  }

  MatmulShape product;
  product.m = rows;
  product.n = product.ldc = tokens;
  product.k = product.lda = product.ldb = dim;
  a.weights.resize(rows * tokens);
  matmul(product, a.q.data(), a.keys.data(), a.weights.data());
  const std::size_t first = prompt.tokens - rows / group;  // position of the window's first query
  for (std::size_t r = 0; r < rows; ++r) {
    const auto position = static_cast<std::int32_t>(first + r / group);
    const auto visible =
        std::upper_bound(kept_tokens.begin(), kept_tokens.end(), position) - kept_tokens.begin();
    const auto oldest = static_cast<std::int32_t>(shape.first_seen(first + r / group));
    const auto begin = std::lower_bound(kept_tokens.begin(), kept_tokens.end(), oldest) - kept_tokens.begin();
    float* row = a.weights.data() + r * tokens;
    std::fill(row, row + std::min(begin, visible), 0.0F);
    std::fill(row + visible, row + tokens, 0.0F);
    if (begin >= visible) continue;
    const auto seen = static_cast<std::size_t>(visible - begin);
    softcap(row + begin, seen, shape.softcap);
    softmax(row + begin, seen, shape.sink(kv_head * group + r % group));
  }

  a.outputs.resize(rows * dim);
  product.n = product.ldb = product.ldc = dim;
  product.k = product.lda = tokens;
  product.b_transposed = false;
  matmul(product, a.weights.data(), a.values.data(), a.outputs.data());
  return a;
}

double dot(const float* a, const float* b, std::size_t n) {
  double sum = 0.0;
  for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

// To first order in the noise of values, and of weights w' = w exp(e), e being normal of variance s r:
// the square of the output's error is r sum w^2 |v|^2 and sum w^2 (exp(s r) - 1) |v - o|^2 for each query;
// W_o multiplies the square of what has no direction of its own by |W_o|_F^2 / D.
NoiseCosts head_noise_costs(const WindowAttention& a, std::size_t dim, std::size_t thin_begin,
                            std::size_t thin_end, std::span<const double> gains) {
  NoiseCosts costs;
  const std::size_t tokens = a.keys.size() / dim;
  const auto d = static_cast<double>(dim);
  std::vector<double> mean(dim, 0.0);
  for (std::size_t t = thin_begin; t < thin_end; ++t) {
    for (std::size_t c = 0; c < dim; ++c) mean[c] += a.keys[t * dim + c];
  }
  for (double& x : mean) x /= static_cast<double>(std::max<std::size_t>(1, thin_end - thin_begin));
  std::vector<double> key_energy(tokens, 0.0);    // |k - mean|^2 / D
  std::vector<double> value_energy(tokens, 0.0);  // |v|^2
  for (std::size_t t = thin_begin; t < thin_end; ++t) {
    for (std::size_t c = 0; c < dim; ++c) {
      const double k = a.keys[t * dim + c] - mean[c];
      key_energy[t] += k * k / d;
    }
    value_energy[t] = dot(a.values.data() + t * dim, a.values.data() + t * dim, dim);
  }
  // v . o of every row and token.
  std::vector<float> products(a.rows * tokens);
  MatmulShape product;
  product.m = a.rows;
  product.n = product.ldc = tokens;
  product.k = product.lda = product.ldb = dim;
  matmul(product, a.outputs.data(), a.values.data(), products.data());
  for (std::size_t r = 0; r < a.rows; ++r) {
    const float* q = a.q.data() + r * dim;
    const float* o = a.outputs.data() + r * dim;
    const double query = dot(q, q, dim);
    const double output = dot(o, o, dim);
    NoiseCosts row;
    for (std::size_t t = thin_begin; t < thin_end; ++t) {
      const double weight = a.weights[r * tokens + t];
      const double square = weight * weight;
      const double variance = query * key_energy[t];
      const double distance =
          std::max(0.0, value_energy[t] - 2.0 * products[r * tokens + t] + output) * square;
      row.values += square * value_energy[t];
      row.keys[0] += distance * variance;
      row.keys[1] += distance * variance * variance / 2.0;
      row.keys[2] += distance * variance * variance * variance / 6.0;
    }
    const double gain =
        gains[r % gains.size()] / static_cast<double>(std::max<std::size_t>(1, a.rows / gains.size()));
    costs.values += gain * row.values;
    costs.output += gain * output;
    for (std::size_t i = 0; i < 3; ++i) costs.keys[i] += gain * row.keys[i];
  }
  return costs;
}

// |W_o|_F^2 / D of each query head's columns; 1 without a model. [H]
std::vector<double> output_gains(const AttentionShape& shape) {
  std::vector<double> gains(shape.query_heads, 1.0);
  if (shape.output == nullptr) return gains;
  const std::size_t width = shape.query_heads * shape.head_dim;
  const std::size_t rows = shape.output->rows;
  constexpr std::size_t kRows = 64;
  std::vector<float> wide(std::min(kRows, rows) * width);
  std::fill(gains.begin(), gains.end(), 0.0);
  for (std::size_t row = 0; row < rows; row += kRows) {
    const std::size_t n = std::min(kRows, rows - row);
    widen(shape.output->some_rows(row, n), wide.data());
    parallel_for(shape.query_heads, [&](std::size_t h) {
      for (std::size_t r = 0; r < n; ++r) {
        const float* columns = wide.data() + r * width + h * shape.head_dim;
        gains[h] += dot(columns, columns, shape.head_dim) / static_cast<double>(shape.head_dim);
      }
    });
  }
  return gains;
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
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    energy[h] = mean_energy(attend_window(shape_, prompt, window, h, tokens[h]).outputs, shape_.head_dim);
  });
  return energy;
}

std::vector<NoiseCosts> CpuLayerStore::noise_costs(const PromptView& prompt, std::size_t window,
                                                   const TokenLists& tokens) const {
  const std::vector<double> gains = output_gains(shape_);
  std::vector<NoiseCosts> costs(shape_.kv_heads);
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    const std::size_t kept = tokens[h].size();
    const std::size_t sinks = format_.sink_share(kept);
    costs[h] = head_noise_costs(attend_window(shape_, prompt, window, h, tokens[h]), shape_.head_dim, sinks,
                                kept - format_.recent_share(kept - sinks),
                                std::span(gains).subspan(h * shape_.group(), shape_.group()));
  });
  return costs;
}

}  // namespace thinkey
