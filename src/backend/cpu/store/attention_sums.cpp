// What prompt queries look at: the statistic behind SnapKV, PyramidKV and H2O.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "backend/cpu/ops/matmul.h"
#include "backend/cpu/ops/softmax.h"
#include "backend/cpu/store/cpu_layer_store.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

constexpr std::size_t kKeyTile = 1024;
constexpr std::size_t kQueryTile = 64;

// A few queries of one KV head's group against tiles of keys.
class Tile {
 public:
  Tile(const AttentionShape& shape, const QueryRange& queries, std::size_t begin, std::size_t n,
       std::size_t kv_head)
      : shape_(shape),
        group_(shape.group()),
        first_(queries.first + begin),
        n_(n),
        keys_(queries.k + kv_head * queries.capacity * shape.head_dim),
        q_(rows() * shape.head_dim),
        logits_(rows() * kKeyTile),
        widened_(kKeyTile * shape.head_dim) {
    const float scale = shape.logit_scale();
    for (std::size_t r = 0; r < rows(); ++r) {
      const float* from = queries.q + (begin + r % n_) * queries.token_stride +
                          (kv_head * group_ + r / n_) * queries.head_stride;
      for (std::size_t i = 0; i < shape.head_dim; ++i) q_[r * shape.head_dim + i] = from[i] * scale;
    }
  }

  [[nodiscard]] std::size_t rows() const noexcept { return group_ * n_; }  // row g * n + i
  [[nodiscard]] std::size_t keys() const noexcept { return first_ + n_; }

  // body(row, logits of the visible keys, first visible key, their number) for keys of one tile.
  template <typename Body>
  void for_visible(std::size_t begin, const Body& body) {
    const std::size_t width = std::min(kKeyTile, keys() - begin);
    MatmulShape product;
    product.m = rows();
    product.n = product.ldc = width;
    product.k = product.lda = product.ldb = shape_.head_dim;
    matmul(product, q_.data(),
           (keys_ + begin * shape_.head_dim).load(width * shape_.head_dim, widened_.data()), logits_.data());
    for (std::size_t r = 0; r < rows(); ++r) {
      const std::size_t position = first_ + r % n_;
      const std::size_t from = std::clamp(shape_.first_seen(position), begin, begin + width);
      const std::size_t to = std::clamp(position + 1, begin, begin + width);
      if (from >= to) continue;
      float* logits = logits_.data() + r * width + (from - begin);
      softcap(logits, to - from, shape_.softcap);
      body(r, logits, from, to - from);
    }
  }

 private:
  const AttentionShape& shape_;
  std::size_t group_, first_, n_;
  TokenRows keys_;
  std::vector<float> q_, logits_, widened_;
};

// Of one KV head; sums [G, pitch].
void add_head_sums(const AttentionShape& shape, const QueryRange& queries, std::size_t kv_head,
                   std::size_t pitch, float* sums) {
  const std::size_t group = shape.group();
  for (std::size_t begin = 0; begin < queries.n; begin += kQueryTile) {
    const std::size_t n = std::min(kQueryTile, queries.n - begin);
    Tile tile(shape, queries, begin, n, kv_head);

    // exp(logit - shift) is a weight once shift is the row's log-sum-exp.
    std::vector<float> shift(tile.rows());
    if (queries.lse != nullptr) {
      for (std::size_t r = 0; r < tile.rows(); ++r) {
        shift[r] = queries.lse[(begin + r % n) * shape.query_heads + kv_head * group + r / n];
      }
    } else {
      std::vector<float> peak(tile.rows(), -std::numeric_limits<float>::infinity());
      std::vector<float> total(tile.rows(), 0.0F);
      for (std::size_t at = 0; at < tile.keys(); at += kKeyTile) {
        tile.for_visible(at, [&](std::size_t r, float* logits, std::size_t, std::size_t count) {
          const float high = std::max(peak[r], *std::max_element(logits, logits + count));
          total[r] = total[r] * std::exp(peak[r] - high) + exp_shifted(logits, count, high);
          peak[r] = high;
        });
      }
      for (std::size_t r = 0; r < tile.rows(); ++r) {
        const float sink = shape.sink(kv_head * group + r / n);
        if (sink != -std::numeric_limits<float>::infinity()) {
          const float high = std::max(peak[r], sink);
          total[r] = total[r] * std::exp(peak[r] - high) + std::exp(sink - high);
          peak[r] = high;
        }
        shift[r] = peak[r] + std::log(total[r]);
      }
    }
    for (std::size_t at = 0; at < tile.keys(); at += kKeyTile) {
      tile.for_visible(at, [&](std::size_t r, float* logits, std::size_t first, std::size_t count) {
        (void)exp_shifted(logits, count, shift[r]);
        float* out = sums + (r / n) * pitch + first;
        for (std::size_t t = 0; t < count; ++t) out[t] += logits[t];
      });
    }
  }
}

}  // namespace

void CpuLayerStore::add_attention_sums(const QueryRange& queries, std::size_t pitch,
                                       std::span<float> sums) const {
  if (sums.size() < shape_.query_heads * pitch || queries.first + queries.n > pitch) {
    fail_usage("cache: {} sums have no room for {} heads of {} tokens", sums.size(), shape_.query_heads,
               queries.first + queries.n);
  }
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    add_head_sums(shape_, queries, h, pitch, sums.data() + h * shape_.group() * pitch);
  });
}

}  // namespace thinkey
