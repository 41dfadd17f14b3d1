// What keys and values are like, token by token: how they resemble each other, stand out, spread, and weigh.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backend/cpu/ops/dequantize.h"
#include "backend/cpu/ops/matmul.h"
#include "backend/cpu/store/cpu_layer_store.h"
#include "backend/cpu/store/unrotation.h"
#include "base/fail.h"
#include "base/matrix_view.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

constexpr std::size_t kTokenTile = 512;
constexpr std::size_t kRowTile = 64;      // keys that meet all others at a time
constexpr std::size_t kOutputTile = 256;  // rows of W_o widened at a time

// body(first, n) for tiles of [0, tokens).
template <typename Body>
void for_tiles(std::size_t tokens, std::size_t tile, const Body& body) {
  for (std::size_t first = 0; first < tokens; first += tile) body(first, std::min(tile, tokens - first));
}

double norm(const float* x, std::size_t dim) {
  double sum = 0.0;
  for (std::size_t j = 0; j < dim; ++j) sum += static_cast<double>(x[j]) * x[j];
  return std::sqrt(sum);
}

// 1 / |x|; of no direction, 0.
double inverse_norm(const float* x, std::size_t dim) {
  const double length = norm(x, dim);
  return length > 0.0 ? 1.0 / length : 0.0;
}

std::vector<float> similarity_to_mean(const HeadRows& rows, std::size_t dim) {
  std::vector<float> scratch;
  std::vector<double> anchor(dim, 0.0);
  for_tiles(rows.tokens(), kTokenTile, [&](std::size_t first, std::size_t n) {
    const float* keys = rows.keys(first, n, scratch);
    for (std::size_t t = 0; t < n; ++t) {
      const double scale = inverse_norm(keys + t * dim, dim);
      for (std::size_t j = 0; j < dim; ++j) anchor[j] += scale * keys[t * dim + j];
    }
  });
  double length = 0.0;
  for (const double x : anchor) length += x * x;
  length = std::sqrt(length);
  std::vector<float> cosines(rows.tokens(), 0.0F);
  for_tiles(rows.tokens(), kTokenTile, [&](std::size_t first, std::size_t n) {
    const float* keys = rows.keys(first, n, scratch);
    for (std::size_t t = 0; t < n; ++t) {
      double dot = 0.0;
      for (std::size_t j = 0; j < dim; ++j) dot += anchor[j] * keys[t * dim + j];
      const double scale = length > 0.0 ? inverse_norm(keys + t * dim, dim) / length : 0.0;
      cosines[first + t] = static_cast<float>(dot * scale);
    }
  });
  return cosines;
}

std::vector<float> redundancy(const HeadRows& rows, std::size_t dim, double similarity) {
  const std::size_t tokens = rows.tokens();
  std::vector<float> units(tokens * dim);
  std::vector<float> scratch;
  for_tiles(tokens, kTokenTile, [&](std::size_t first, std::size_t n) {
    const float* keys = rows.keys(first, n, scratch);
    for (std::size_t t = 0; t < n; ++t) {
      const auto scale = static_cast<float>(inverse_norm(keys + t * dim, dim));
      for (std::size_t j = 0; j < dim; ++j) units[(first + t) * dim + j] = keys[t * dim + j] * scale;
    }
  });
  std::vector<double> sums(tokens, 0.0);
  std::vector<float> cosines(std::min(kRowTile, tokens) * tokens);
  for_tiles(tokens, kRowTile, [&](std::size_t first, std::size_t n) {
    MatmulShape product;
    product.m = n;
    product.n = product.ldc = tokens;
    product.k = product.lda = product.ldb = dim;
    matmul(product, units.data() + first * dim, units.data(), cosines.data());
    for (std::size_t i = 0; i < n; ++i) {
      float* row = cosines.data() + i * tokens;
      row[first + i] = 0.0F;
      for (std::size_t t = tokens; t-- > 0;) {
        if (row[t] > similarity) {
          row[t] = 0.0F;
          break;
        }
      }
      for (std::size_t t = 0; t < tokens; ++t) sums[t] += row[t];
    }
  });
  std::vector<float> means(tokens);
  for (std::size_t t = 0; t < tokens; ++t)
    means[t] = static_cast<float>(sums[t] / static_cast<double>(tokens));
  return means;
}

// Lower triangle L of a = L L^T, in place; a [n, n] is positive definite.
void cholesky(std::vector<double>& a, std::size_t n) {
  for (std::size_t j = 0; j < n; ++j) {
    for (std::size_t i = j; i < n; ++i) {
      double sum = a[i * n + j];
      for (std::size_t k = 0; k < j; ++k) sum -= a[i * n + k] * a[j * n + k];
      a[i * n + j] =
          i == j ? std::sqrt(std::max(sum, std::numeric_limits<double>::min())) : sum / a[j * n + j];
    }
  }
}

// L^-1 of a lower triangle, [n, n].
std::vector<float> inverse_of_lower(const std::vector<double>& lower, std::size_t n) {
  std::vector<double> inverse(n * n, 0.0);
  for (std::size_t c = 0; c < n; ++c) {
    for (std::size_t i = c; i < n; ++i) {
      double sum = i == c ? 1.0 : 0.0;
      for (std::size_t k = c; k < i; ++k) sum -= lower[i * n + k] * inverse[k * n + c];
      inverse[i * n + c] = sum / lower[i * n + i];
    }
  }
  return {inverse.begin(), inverse.end()};
}

// Keys [begin, end) before RoPE and without their mean, as rows; |L^-1 x|^2 of each.
std::vector<float> leverage(const AttentionShape& shape, const HeadRows& rows, std::size_t begin,
                            std::size_t end, std::size_t length) {
  const std::size_t dim = shape.head_dim;
  std::vector<float> scratch;
  std::vector<float> centred(kTokenTile * dim);
  const auto for_unrotated = [&](const auto& body) {
    for_tiles(end - begin, kTokenTile, [&](std::size_t first, std::size_t n) {
      std::copy_n(rows.keys(begin + first, n, scratch), n * dim, centred.data());
      const Unrotation rotation(shape.rope, static_cast<std::int64_t>(begin + first), n, length);
      for (std::size_t t = 0; t < n; ++t) rotation.undo(t, centred.data() + t * dim);
      body(first, n);
    });
  };
  std::vector<double> mean(dim, 0.0);
  std::vector<double> products(dim * dim, 0.0);
  std::vector<float> transposed(dim * kTokenTile);
  std::vector<float> tile(dim * dim);
  for_unrotated([&](std::size_t, std::size_t n) {
    for (std::size_t t = 0; t < n; ++t) {
      for (std::size_t j = 0; j < dim; ++j) mean[j] += centred[t * dim + j];
    }
  });
  for (double& x : mean) x /= static_cast<double>(end - begin);
  const auto remove_mean = [&](std::size_t n) {
    for (std::size_t i = 0; i < n * dim; ++i) centred[i] -= static_cast<float>(mean[i % dim]);
  };
  MatmulShape product;
  product.m = product.n = product.ldb = product.ldc = dim;
  product.b_transposed = false;
  for_unrotated([&](std::size_t, std::size_t n) {
    remove_mean(n);
    for (std::size_t t = 0; t < n; ++t) {
      for (std::size_t j = 0; j < dim; ++j) transposed[j * n + t] = centred[t * dim + j];
    }
    product.k = product.lda = n;
    matmul(product, transposed.data(), centred.data(), tile.data());
    for (std::size_t i = 0; i < tile.size(); ++i) products[i] += tile[i];
  });
  // Directions in which the keys do not differ at all have no leverage: a little is added to each.
  double trace = 0.0;
  for (std::size_t j = 0; j < dim; ++j) trace += products[j * dim + j];
  const double ridge = std::max(1e-6 * trace / static_cast<double>(dim), 1e-30);
  for (std::size_t j = 0; j < dim; ++j) products[j * dim + j] += ridge;
  cholesky(products, dim);
  const std::vector<float> inverse = inverse_of_lower(products, dim);

  std::vector<float> scores(end - begin);
  std::vector<float> whitened(kTokenTile * dim);
  product.n = product.k = product.lda = product.ldb = dim;
  product.b_transposed = true;
  for_unrotated([&](std::size_t first, std::size_t n) {
    remove_mean(n);
    product.m = n;
    matmul(product, centred.data(), inverse.data(), whitened.data());
    for (std::size_t t = 0; t < n; ++t) {
      const double length_of = norm(whitened.data() + t * dim, dim);
      scores[first + t] = static_cast<float>(length_of * length_of);
    }
  });
  return scores;
}

// LayerStore::lag_spread() of rows [n, D] of one kind.
std::vector<float> spread(const float* rows, std::size_t tokens, std::size_t dim, std::size_t lag) {
  const std::size_t partitions = tokens / lag;
  std::vector<float> out(partitions < 2 ? 0 : (partitions - 1) * lag);
  std::vector<float> low(dim);
  std::vector<float> high(dim);
  for (std::size_t p = 0; p + 1 < partitions; ++p) {
    const float* after = rows + (p + 1) * lag * dim;
    std::copy_n(after, dim, low.data());
    std::copy_n(after, dim, high.data());
    for (std::size_t i = dim; i < lag * dim; ++i) {
      low[i % dim] = std::min(low[i % dim], after[i]);
      high[i % dim] = std::max(high[i % dim], after[i]);
    }
    for (std::size_t t = p * lag; t < (p + 1) * lag; ++t) {
      double sum = 0.0;
      double squares = 0.0;
      std::vector<double> x(dim);
      for (std::size_t j = 0; j < dim; ++j) {
        const double range = static_cast<double>(high[j]) - low[j];
        x[j] = range > 0.0 ? (static_cast<double>(rows[t * dim + j]) - low[j]) / range : 0.0;
        sum += x[j];
      }
      const double mean = sum / static_cast<double>(dim);
      for (const double e : x) squares += (e - mean) * (e - mean);
      out[t] = static_cast<float>(std::sqrt(squares / static_cast<double>(dim - 1)));
    }
  }
  return out;
}

}  // namespace

HeadRows CpuLayerStore::rows(const PromptView* prompt, std::size_t kv_head) const {
  if (prompt == nullptr) return {read(kv_head), shape_.head_dim};
  const std::size_t at = kv_head * prompt->capacity * shape_.head_dim;
  return {prompt->tokens, shape_.head_dim, prompt->k + at, prompt->v + at};
}

TokenNumbers CpuLayerStore::key_similarity(const PromptView* prompt) const {
  TokenNumbers out(shape_.kv_heads);
  parallel_for(out.size(),
               [&](std::size_t h) { out[h] = similarity_to_mean(rows(prompt, h), shape_.head_dim); });
  return out;
}

TokenNumbers CpuLayerStore::key_redundancy(const PromptView* prompt, double similarity) const {
  TokenNumbers out(shape_.kv_heads);
  parallel_for(out.size(),
               [&](std::size_t h) { out[h] = redundancy(rows(prompt, h), shape_.head_dim, similarity); });
  return out;
}

TokenNumbers CpuLayerStore::key_leverage(const PromptView& prompt, std::size_t begin, std::size_t end) const {
  if (begin >= end || end > prompt.tokens) {
    fail_usage("cache: keys {} to {} of {} have no leverage", begin, end, prompt.tokens);
  }
  TokenNumbers out(shape_.kv_heads);
  parallel_for(out.size(), [&](std::size_t h) {
    out[h] = leverage(shape_, rows(&prompt, h), begin, end, prompt.tokens);
  });
  return out;
}

TokenNumbers CpuLayerStore::value_norms(const PromptView* prompt, ValueNorm kind) const {
  const std::size_t dim = shape_.head_dim;
  TokenNumbers out(shape_.kv_heads);
  std::vector<HeadRows> heads;
  heads.reserve(out.size());
  for (std::size_t h = 0; h < out.size(); ++h) heads.push_back(rows(prompt, h));
  if (kind == ValueNorm::Value) {
    parallel_for(out.size(), [&](std::size_t h) {
      std::vector<float> scratch;
      for_tiles(heads[h].tokens(), kTokenTile, [&](std::size_t first, std::size_t n) {
        const float* values = heads[h].values(first, n, scratch);
        for (std::size_t t = 0; t < n; ++t) out[h].push_back(static_cast<float>(norm(values + t * dim, dim)));
      });
    });
    return out;
  }
  if (shape_.output == nullptr) {
    fail_usage("cache: W_o v is asked for, but these tensors come without a model");
  }
  const MatrixView& output = *shape_.output;
  const std::size_t width = shape_.query_heads * dim;
  const auto rows_of_output = static_cast<std::size_t>(output.rows);
  std::vector<float> wide(kOutputTile * width);
  for (std::size_t h = 0; h < out.size(); ++h) out[h].assign(shape_.group() * heads[h].tokens(), 0.0F);
  for_tiles(rows_of_output, kOutputTile, [&](std::size_t row, std::size_t count) {
    widen(output.some_rows(row, count), wide.data());
    parallel_for(out.size(), [&](std::size_t h) {
      std::vector<float> scratch;
      std::vector<float> products(kTokenTile * count);
      const std::size_t tokens = heads[h].tokens();
      MatmulShape product;
      product.n = product.ldc = count;
      product.k = product.lda = dim;
      product.ldb = width;
      for_tiles(tokens, kTokenTile, [&](std::size_t first, std::size_t n) {
        const float* values = heads[h].values(first, n, scratch);
        product.m = n;
        for (std::size_t g = 0; g < shape_.group(); ++g) {
          matmul(product, values, wide.data() + (h * shape_.group() + g) * dim, products.data());
          for (std::size_t t = 0; t < n; ++t) {
            double sum = 0.0;
            for (std::size_t i = t * count; i < (t + 1) * count; ++i) {
              sum += kind == ValueNorm::OutputL1 ? std::abs(static_cast<double>(products[i]))
                                                 : static_cast<double>(products[i]) * products[i];
            }
            out[h][g * tokens + first + t] += static_cast<float>(sum);
          }
        }
      });
    });
  });
  if (kind == ValueNorm::OutputL2) {
    for (auto& head : out) {
      for (float& x : head) x = std::sqrt(x);
    }
  }
  return out;
}

LagSpread CpuLayerStore::lag_spread(const PromptView* prompt, std::size_t first, std::size_t lag) const {
  LagSpread out{TokenNumbers(shape_.kv_heads), TokenNumbers(shape_.kv_heads)};
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    const HeadRows head = rows(prompt, h);
    if (head.tokens() <= first) return;
    const std::size_t n = head.tokens() - first;
    std::vector<float> scratch;
    out.keys[h] = spread(head.keys(first, n, scratch), n, shape_.head_dim, lag);
    out.values[h] = spread(head.values(first, n, scratch), n, shape_.head_dim, lag);
  });
  return out;
}

}  // namespace thinkey
