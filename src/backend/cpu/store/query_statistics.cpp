// What queries are like, and what they would look at: the statistics behind policies that do not wait for the
// question.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backend/cpu/ops/matmul.h"
#include "backend/cpu/ops/softmax.h"
#include "backend/cpu/store/cpu_layer_store.h"
#include "backend/cpu/store/unrotation.h"
#include "base/fail.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

constexpr std::size_t kTokenTile = 512;
constexpr std::size_t kQueryTile = 64;

// Adds rows [n, D] to the moments.
void add_rows(const std::vector<float>& rows, std::size_t n, std::size_t dim, QueryMoments& m) {
  m.sum.resize(dim, 0.0);
  m.count += n;
  for (std::size_t i = 0; i < n * dim; ++i) m.sum[i % dim] += rows[i];
  if (m.products.empty()) return;
  std::vector<float> transposed(dim * n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < dim; ++j) transposed[j * n + i] = rows[i * dim + j];
  }
  std::vector<float> products(dim * dim);
  MatmulShape product;
  product.m = product.n = product.ldb = product.ldc = dim;
  product.k = product.lda = n;
  product.b_transposed = false;
  matmul(product, transposed.data(), rows.data(), products.data());
  for (std::size_t i = 0; i < products.size(); ++i) m.products[i] += products[i];
}

// The group's queries i < n as rows g * n + i, times the scale of logits.
std::vector<float> group_rows(const AttentionShape& shape, const QueryRange& queries, std::size_t begin,
                              std::size_t n, std::size_t kv_head) {
  const std::size_t dim = shape.head_dim;
  const float scale = shape.logit_scale();
  std::vector<float> rows(shape.group() * n * dim);
  for (std::size_t r = 0; r < shape.group() * n; ++r) {
    const float* from = queries.q + (begin + r % n) * queries.token_stride +
                        (kv_head * shape.group() + r / n) * queries.head_stride;
    for (std::size_t j = 0; j < dim; ++j) rows[r * dim + j] = from[j] * scale;
  }
  return rows;
}

// logits[r * pitch + at + t] = rows[r] . keys[t], capped.
void add_logits(const AttentionShape& shape, const std::vector<float>& rows, TokenRows keys,
                std::size_t first, std::size_t n, std::size_t pitch, std::size_t at,
                std::vector<float>& scratch, std::vector<float>& logits) {
  if (n == 0) return;
  const std::size_t dim = shape.head_dim;
  const std::size_t count = rows.size() / dim;
  scratch.resize(std::max(scratch.size(), n * dim));
  MatmulShape product;
  product.m = count;
  product.n = n;
  product.k = product.lda = product.ldb = dim;
  product.ldc = pitch;
  matmul(product, rows.data(), (keys + first * dim).load(n * dim, scratch.data()), logits.data() + at);
  for (std::size_t r = 0; r < count; ++r) softcap(logits.data() + r * pitch + at, n, shape.softcap);
}

}  // namespace

void CpuLayerStore::add_query_moments(const QueryRange& queries, std::size_t from, std::size_t length,
                                      std::span<QueryMoments> moments) const {
  if (moments.size() != shape_.query_heads) {
    fail_usage("cache: moments of {} query heads, there are {}", moments.size(), shape_.query_heads);
  }
  const std::size_t begin = std::min(queries.n, from - std::min(from, queries.first));
  const std::size_t n = queries.n - begin;
  if (n == 0) return;
  const std::size_t dim = shape_.head_dim;
  const Unrotation rotation(shape_.rope, static_cast<std::int64_t>(queries.first + begin), n, length);
  parallel_for(shape_.query_heads, [&](std::size_t h) {
    std::vector<float> rows(n * dim);
    for (std::size_t i = 0; i < n; ++i) {
      std::copy_n(queries.q + (begin + i) * queries.token_stride + h * queries.head_stride, dim,
                  rows.data() + i * dim);
      rotation.undo(i, rows.data() + i * dim);
    }
    add_rows(rows, n, dim, moments[h]);
  });
}

std::vector<QueryMoments> CpuLayerStore::remembered_moments(bool products, std::size_t length) const {
  const std::size_t dim = shape_.head_dim;
  const auto n = static_cast<std::size_t>(queries_count_);
  const std::int64_t first = queries_end_ - queries_count_;
  std::vector<QueryMoments> moments(shape_.query_heads);
  const Unrotation rotation(shape_.rope, first, n, length);
  parallel_for(shape_.query_heads, [&](std::size_t h) {
    std::vector<float> rows(n * dim);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t slot = (static_cast<std::size_t>(first) + i) % query_rows();
      std::copy_n(queries_.data() + slot * query_width() + h * dim, dim, rows.data() + i * dim);
      rotation.undo(i, rows.data() + i * dim);
    }
    if (products) moments[h].products.assign(dim * dim, 0.0);
    add_rows(rows, n, dim, moments[h]);
  });
  return moments;
}

TokenNumbers CpuLayerStore::expected_logits(const PromptView* prompt, std::span<const QueryMoments> moments,
                                            std::int64_t next, std::size_t future) const {
  const std::size_t dim = shape_.head_dim;
  const double scale = shape_.logit_scale();
  const MeanRotation rotation(shape_.rope, next, future, next);
  TokenNumbers out(shape_.kv_heads);
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    const HeadRows head = rows(prompt, h);
    out[h].resize(shape_.group() * head.tokens());
    std::vector<float> scratch;
    std::vector<float> turned(kTokenTile * dim);
    for (std::size_t g = 0; g < shape_.group(); ++g) {
      const QueryMoments& m = moments[h * shape_.group() + g];
      const auto count = static_cast<double>(std::max<std::size_t>(1, m.count));
      std::vector<double> mean = m.sum;
      mean.resize(dim, 0.0);
      for (double& x : mean) x /= count;
      std::vector<double> covariance = m.products;
      for (std::size_t i = 0; i < covariance.size(); ++i) {
        covariance[i] = covariance[i] / count - mean[i / dim] * mean[i % dim];
      }
      rotation.apply(mean.data(), 1);
      if (!covariance.empty()) {
        for (std::size_t i = 0; i < dim; ++i) rotation.apply(covariance.data() + i * dim, 1);
        for (std::size_t i = 0; i < dim; ++i) rotation.apply(covariance.data() + i, dim);
      }
      const std::vector<float> sigma(covariance.begin(), covariance.end());
      MatmulShape product;
      product.n = product.k = product.lda = product.ldb = product.ldc = dim;
      product.b_transposed = false;
      for (std::size_t first = 0; first < head.tokens(); first += kTokenTile) {
        const std::size_t n = std::min(kTokenTile, head.tokens() - first);
        const float* keys = head.keys(first, n, scratch);
        product.m = n;
        if (!sigma.empty()) matmul(product, keys, sigma.data(), turned.data());
        for (std::size_t t = 0; t < n; ++t) {
          double linear = 0.0;
          double square = 0.0;
          for (std::size_t j = 0; j < dim; ++j) {
            linear += mean[j] * keys[t * dim + j];
            if (!sigma.empty()) square += static_cast<double>(turned[t * dim + j]) * keys[t * dim + j];
          }
          out[h][g * head.tokens() + first + t] =
              static_cast<float>(scale * linear + 0.5 * scale * scale * square);
        }
      }
    }
  });
  return out;
}

void CpuLayerStore::add_local_attention(const QueryRange& queries, std::size_t first, std::size_t block,
                                        std::size_t pitch, std::span<float> sums) const {
  const std::size_t end = queries.first + queries.n;
  if (block == 0 || sums.size() < shape_.query_heads * pitch || end > pitch) {
    fail_usage("cache: {} sums have no room for {} heads of {} tokens", sums.size(), shape_.query_heads, end);
  }
  const std::size_t group = shape_.group();
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    const TokenRows keys = queries.k + h * queries.capacity * shape_.head_dim;
    std::vector<float> scratch;
    std::vector<float> logits;
    for (std::size_t at = std::max(queries.first, first); at < end;) {
      const std::size_t from = std::max(first, at / block * block);
      const std::size_t to = std::min(end, at / block * block + block);
      const std::size_t width = to - from;
      const std::vector<float> rows = group_rows(shape_, queries, at - queries.first, to - at, h);
      const std::size_t count = rows.size() / shape_.head_dim;
      logits.resize(count * width);
      add_logits(shape_, rows, keys, from, width, width, 0, scratch, logits);
      for (std::size_t r = 0; r < count; ++r) {
        const std::size_t head = h * group + r / (to - at);
        softmax(logits.data() + r * width, width, shape_.sink(head));
        for (std::size_t t = 0; t < width; ++t) sums[head * pitch + from + t] += logits[r * width + t];
      }
      at = to;
    }
  });
}

void CpuLayerStore::raise_replay_peaks(const ReplayRange& replay, std::size_t sinks, std::size_t pitch,
                                       std::span<float> peaks) const {
  const QueryRange& queries = replay.queries;
  if (replay.begin > replay.end || replay.end > pitch || peaks.size() < shape_.query_heads * pitch ||
      queries.first < replay.own_first || replay.own_first < replay.end ||
      queries.first + queries.n > queries.capacity) {
    fail_usage("cache: a replay of tokens {} to {} does not fit {} places", replay.begin, replay.end, pitch);
  }
  constexpr float kHidden = -std::numeric_limits<float>::infinity();
  const std::size_t group = shape_.group();
  const std::size_t first_keys = std::min(sinks, replay.begin);
  const std::size_t repeated = replay.end - replay.begin;
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    const TokenRows keys = queries.k + h * queries.capacity * shape_.head_dim;
    std::vector<float> scratch;
    std::vector<float> logits;
    for (std::size_t begin = 0; begin < queries.n; begin += kQueryTile) {
      const std::size_t n = std::min(kQueryTile, queries.n - begin);
      const std::size_t own = queries.first + begin + n - replay.own_first;
      const std::size_t width = first_keys + repeated + own;
      const std::vector<float> rows = group_rows(shape_, queries, begin, n, h);
      logits.resize(group * n * width);
      add_logits(shape_, rows, keys, 0, first_keys, width, 0, scratch, logits);
      add_logits(shape_, rows, keys, replay.begin, repeated, width, first_keys, scratch, logits);
      add_logits(shape_, rows, keys, replay.own_first, own, width, first_keys + repeated, scratch, logits);
      const auto place = [&](std::size_t i) {  // of the row's i-th key
        if (i < first_keys) return i;
        i -= first_keys;
        return i < repeated ? replay.begin + i : replay.own_first + (i - repeated);
      };
      for (std::size_t r = 0; r < group * n; ++r) {
        float* row = logits.data() + r * width;
        const std::size_t now = queries.first + begin + r % n;
        const std::size_t causal = shape_.sliding_window > 0 ? 0 : first_keys + repeated;
        for (std::size_t i = causal; i < width; ++i) {
          if (!shape_.sees(now, place(i))) row[i] = kHidden;
        }
        const std::size_t head = h * group + r / n;
        softmax(row, width, shape_.sink(head));
        const float weight = replay.input_norms == nullptr ? 1.0F : 1.0F / replay.input_norms[begin + r % n];
        float* out = peaks.data() + head * pitch + replay.begin;
        for (std::size_t t = 0; t < repeated; ++t) out[t] = std::max(out[t], weight * row[first_keys + t]);
      }
    }
  });
}

}  // namespace thinkey
