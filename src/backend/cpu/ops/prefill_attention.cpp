#include "backend/cpu/ops/prefill_attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>
#include <type_traits>

#include "backend/cpu/ops/attention_rows_bf16.h"
#include "backend/cpu/ops/convert.h"
#include "backend/cpu/ops/highway_targets.h"
#include "backend/cpu/ops/matmul.h"
#include "backend/cpu/ops/score_tile.h"
#include "base/aligned_buffer.h"
#include "base/fail.h"
#include "base/parallel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/ops/prefill_attention-inl.h"
#include <hwy/foreach_target.h>

#include "backend/cpu/ops/prefill_attention-inl.h"

namespace thinkey {
namespace {

HWY_EXPORT(online_softmax_f32);
HWY_EXPORT(online_softmax_bf16);

// A tile's scores and weights (256 x 512 x 6 bytes) stay in a 1 MiB second-level cache; measured.
constexpr std::size_t kRows = 256;        // queries times the heads of a group
constexpr std::size_t kMaxQueries = 128;  // more would waste too much on the diagonal
constexpr std::size_t kKeys = kPrefillAttentionKeys;
constexpr std::size_t kMinKeys = 64;
constexpr std::size_t kStride = kKeys + 32;  // not a power of two: rows spread over the cache's sets

constexpr std::size_t round_up(std::size_t n, std::size_t to) { return (n + to - 1) / to * to; }
constexpr std::size_t round_down(std::size_t n, std::size_t to) { return n / to * to; }

template <typename T>
struct Arrays {
  const float* q;
  const T* k;
  const T* v;
  float* out;
  float* lse;
};

// The tokens of one KV head that can be read: token t's key lies at keys + (t - first) * D.
template <typename T>
struct HeadTokens {
  const T* keys;
  const T* values;
  std::size_t first, end;
};

// Whether six query rows at a time go through a tile (attention_rows_bf16.h), instead of all of them
// through two matrix products.
template <typename T>
bool by_rows() {
  return !std::is_same_v<T, float> && cpu_multiplies_attention_rows() &&
         (hwy::SupportedTargets() & HWY_AVX3) != 0;
}

// Buffers of one thread, kept between calls. About 1 MiB at D = 128.
template <typename T>
class Scratch {
 public:
  void prepare(std::size_t rows, std::size_t head_dim, bool few) {
    rows = round_up(rows, kAttentionRows);
    if (queries.size() >= rows * head_dim && max.size() >= rows && few == few_) return;
    few_ = few;
    const std::size_t score_rows = few ? kAttentionRows : rows;
    queries = AlignedBuffer<T>(rows * head_dim);
    output = AlignedBuffer<float>(rows * head_dim);
    scores = AlignedBuffer<float>(score_rows * kStride);
    if constexpr (!std::is_same_v<T, float>) {
      scaled = AlignedBuffer<float>(rows * head_dim);
      weights = AlignedBuffer<T>(score_rows * kStride);
    }
    if (few) {
      packed_keys = AlignedBuffer<T>(kKeys * head_dim);
      packed_values = AlignedBuffer<T>(kKeys * packed_value_channels(head_dim));
    }
    max = AlignedBuffer<float>(rows);
    sum = AlignedBuffer<float>(rows);
    // Rows that pad a short tile are multiplied, never read: any numbers will do, but no NaNs.
    scores.fill(0);
    weights.fill(T{});
  }
  void prepare_edge(std::size_t head_dim) {
    if (edge_keys.size() >= kKeys * head_dim) return;
    edge_keys = AlignedBuffer<T>(kKeys * head_dim);
    edge_values = AlignedBuffer<T>(kKeys * head_dim);
  }

  AlignedBuffer<float> scaled;  // queries before rounding; f32 needs none
  AlignedBuffer<T> queries, weights;
  AlignedBuffer<float> output, scores, max, sum;
  AlignedBuffer<T> edge_keys, edge_values;
  AlignedBuffer<T> packed_keys, packed_values;  // only where rows are multiplied by few
  VisibleKeys visible[kMaxQueries];

 private:
  bool few_ = false;
};

// The last tile may reach past the last token; what lies there must not be multiplied (0 * NaN).
template <typename T>
HeadTokens<T> padded_edge(const HeadTokens<T>& tokens, std::size_t begin, std::size_t width,
                          std::size_t head_dim, Scratch<T>& scratch) {
  scratch.prepare_edge(head_dim);
  const std::size_t present = (tokens.end - begin) * head_dim;
  const std::size_t offset = (begin - tokens.first) * head_dim;
  const auto copy = [&](const T* from, AlignedBuffer<T>& to) {
    std::copy_n(from + offset, present, to.data());
    std::fill_n(to.data() + present, width * head_dim - present, T{});
  };
  copy(tokens.keys, scratch.edge_keys);
  copy(tokens.values, scratch.edge_values);
  return {scratch.edge_keys.data(), scratch.edge_values.data(), begin, begin + width};
}

template <typename T>
class Chunk {
 public:
  Chunk(const PrefillAttention& chunk, const Arrays<T>& arrays)
      : chunk_(chunk), shape_(chunk.shape), arrays_(arrays) {
    shape_.check();
    if (chunk.queries > chunk.keys || chunk.keys > chunk.key_capacity) {
      fail_usage("attention: {} queries, {} keys and room for {} do not fit together", chunk.queries,
                 chunk.keys, chunk.key_capacity);
    }
    if (chunk.state != nullptr && (chunk.queries > prefill_attention_tile(shape_) || chunk.steps == 0)) {
      fail_usage("attention in parts: {} queries are more than a tile, or {} steps are none", chunk.queries,
                 chunk.steps);
    }
    group_ = shape_.group();
    tile_queries_ = prefill_attention_tile(shape_);
    tiles_ = (chunk.queries + tile_queries_ - 1) / tile_queries_;
  }

  // Whether a part is left.
  [[nodiscard]] bool run() const {
    const std::size_t head_stride = chunk_.key_capacity * shape_.head_dim;
    const std::size_t heads = shape_.kv_heads;
    // Rows that go through a tile a few at a time can be shared out where there is little else.
    const std::size_t tasks = heads * tiles_;
    const std::size_t shares =
        few_ ? std::max<std::size_t>(1, static_cast<std::size_t>(threads()) / tasks) : 1;
    bool left = false;  // the same for all of one tile
    // The last queries see the most keys and go first.
    parallel_for(tasks * shares, [&](std::size_t task) {
      const std::size_t head = task / shares % heads;
      const bool more =
          attend(head, tiles_ - 1 - task / shares / heads, {task % shares, shares},
                 {arrays_.k + head * head_stride, arrays_.v + head * head_stride, 0, chunk_.keys});
      if (task == 0) left = more;
    });
    return left;
  }

 private:
  // Logits are in units of ln 2 where the softmax uses powers of 2.
  static constexpr float kLogitUnit = std::is_same_v<T, float> ? 1.0F : std::numbers::log2e_v<float>;

  [[nodiscard]] std::size_t position(std::size_t query) const { return chunk_.keys - chunk_.queries + query; }
  [[nodiscard]] std::size_t first_visible(std::size_t query) const {
    return shape_.first_seen(position(query));
  }

  // Which of how many shares of a tile's rows.
  struct Share {
    std::size_t index, count;
  };
  // Of a tile.
  struct RowRange {
    std::size_t begin, end;
  };

  // Whether keys are left, where a part is asked for.
  bool attend(std::size_t head, std::size_t tile, Share share, const HeadTokens<T>& tokens) const {
    thread_local Scratch<T> scratch;
    const std::size_t dim = shape_.head_dim;
    const std::size_t query0 = tile * tile_queries_;
    const std::size_t queries = std::min(tile_queries_, chunk_.queries - query0);
    const std::size_t rows = queries * group_;
    // Few different heights, so that a prompt's last tile seldom asks for new primitives.
    const std::size_t full_rows = tile_queries_ * group_;
    const std::size_t padded_rows = few_ ? round_up(rows, kAttentionRows)
                                         : std::min(full_rows, std::bit_ceil(std::max<std::size_t>(rows, 8)));
    scratch.prepare(full_rows, dim, few_);
    const std::size_t few_rows = (rows + kAttentionRows - 1) / kAttentionRows;
    const RowRange mine{few_rows * share.index / share.count * kAttentionRows,
                        std::min(rows, few_rows * (share.index + 1) / share.count * kAttentionRows)};
    load_queries(head, query0, queries, padded_rows, scratch);
    std::fill_n(scratch.max.data(), rows, -std::numeric_limits<float>::infinity());
    std::fill_n(scratch.sum.data(), rows, 0.0F);
    std::fill_n(scratch.output.data(), padded_rows * dim, 0.0F);
    if (chunk_.state != nullptr && chunk_.begin > 0) resume(head, query0, mine, scratch);

    ScoreTile scores{.rows = rows,
                     .width = 0,
                     .group = group_,
                     .head_dim = dim,
                     .stride = kStride,
                     .first_row = 0,
                     .softcap = shape_.softcap * kLogitUnit,
                     .visible = scratch.visible,
                     .scores = scratch.scores.data(),
                     .weights = nullptr,
                     .max = scratch.max.data(),
                     .sum = scratch.sum.data(),
                     .output = scratch.output.data()};
    const std::size_t end = position(query0 + queries - 1) + 1;
    std::size_t step = 0;
    for (std::size_t key0 = round_down(first_visible(query0), kMinKeys); key0 < end; key0 += scores.width) {
      // Widths 512, 256, 128 and 64: few primitives, little beyond the diagonal.
      scores.width = std::min(kKeys, std::bit_floor(round_up(end - key0, kMinKeys)));
      if (chunk_.state != nullptr) {
        if (step++ < chunk_.begin) continue;
        if (step > chunk_.begin + chunk_.steps) {
          interrupt(head, query0, mine, scores);
          return true;
        }
      }
      for (std::size_t i = 0; i < queries; ++i) {
        const std::size_t visible_end = std::clamp(position(query0 + i) + 1, key0, key0 + scores.width);
        const std::size_t visible_begin = std::clamp(first_visible(query0 + i), key0, visible_end);
        scratch.visible[i] = {visible_begin - key0, visible_end - key0};
      }
      HeadTokens<T> readable = tokens;
      if (key0 + scores.width > tokens.end) readable = padded_edge(tokens, key0, scores.width, dim, scratch);
      const std::size_t offset = (key0 - readable.first) * dim;
      if (few_) {
        multiply_rows(scores, mine, readable.keys + offset, readable.values + offset, scratch);
      } else {
        multiply_tile(scores, padded_rows, readable.keys + offset, readable.values + offset, scratch);
      }
    }
    store_output(head, query0, mine, scores);
    return false;
  }

  // A row's place in [n, H].
  [[nodiscard]] std::size_t place(std::size_t head, std::size_t query0, std::size_t row) const {
    return (query0 + row / group_) * shape_.query_heads + head * group_ + row % group_;
  }

  void interrupt(std::size_t head, std::size_t query0, RowRange rows, const ScoreTile& scores) const {
    const std::size_t dim = shape_.head_dim;
    for (std::size_t r = rows.begin; r < rows.end; ++r) {
      const std::size_t at = place(head, query0, r);
      std::copy_n(scores.output + r * dim, dim, arrays_.out + at * dim);
      chunk_.state[2 * at] = scores.max[r];
      chunk_.state[2 * at + 1] = scores.sum[r];
    }
  }
  void resume(std::size_t head, std::size_t query0, RowRange rows, Scratch<T>& scratch) const {
    const std::size_t dim = shape_.head_dim;
    for (std::size_t r = rows.begin; r < rows.end; ++r) {
      const std::size_t at = place(head, query0, r);
      std::copy_n(arrays_.out + at * dim, dim, scratch.output.data() + r * dim);
      scratch.max.data()[r] = chunk_.state[2 * at];
      scratch.sum.data()[r] = chunk_.state[2 * at + 1];
    }
  }

  // Scores, softmax, weighted values of one tile.
  void multiply_tile(ScoreTile& scores, std::size_t padded_rows, const T* keys, const T* values,
                     Scratch<T>& scratch) const {
    const std::size_t width = scores.width;
    const std::size_t dim = scores.head_dim;
    matmul({.m = padded_rows, .n = width, .k = dim, .lda = dim, .ldb = dim, .ldc = kStride},
           scratch.queries.data(), keys, scores.scores);
    const T* weights;
    if constexpr (std::is_same_v<T, float>) {
      HWY_DYNAMIC_DISPATCH(online_softmax_f32)(scores);
      weights = scores.scores;
    } else {
      scores.weights = scratch.weights.data();
      HWY_DYNAMIC_DISPATCH(online_softmax_bf16)(scores);
      weights = scores.weights;
    }
    matmul({.m = padded_rows,
            .n = dim,
            .k = width,
            .lda = kStride,
            .ldb = dim,
            .ldc = dim,
            .b_transposed = false,
            .accumulate = true},
           weights, values, scores.output);
  }

  // The same, few rows at a time, and of each only as far as they see.
  void multiply_rows(const ScoreTile& tile, RowRange rows, const T* keys, const T* values,
                     Scratch<T>& scratch) const {
    if constexpr (!std::is_same_v<T, float>) {
      pack_attention_keys(keys, tile.width, tile.head_dim, scratch.packed_keys.data());
      pack_attention_values(values, tile.width, tile.head_dim, scratch.packed_values.data());
      for (std::size_t row = rows.begin; row < rows.end; row += kAttentionRows) {
        ScoreTile some = tile;
        some.rows = std::min(kAttentionRows, rows.end - row);
        some.first_row = row;
        some.weights = scratch.weights.data();
        some.max += row;
        some.sum += row;
        some.output += row * tile.head_dim;
        // Later queries see more, and their windows start later.
        const VisibleKeys& first = tile.visible[row / tile.group];
        const VisibleKeys& last = tile.visible[(row + some.rows - 1) / tile.group];
        const std::size_t begin = round_down(first.begin, kAttentionKeys);
        const std::size_t end = round_up(last.end, kAttentionKeys);
        if (begin >= end) continue;
        some.width = end;
        score_attention_rows(scratch.queries.data() + row * tile.head_dim, scratch.packed_keys.data(), begin,
                             end, tile.head_dim, kStride, some.scores);
        HWY_DYNAMIC_DISPATCH(online_softmax_bf16)(some);
        weigh_attention_rows(some.weights, kStride, scratch.packed_values.data(), begin, end, tile.head_dim,
                             some.output);
      }
    }
  }

  // The group's heads of each query become consecutive rows, which is how q stores them.
  void load_queries(std::size_t head, std::size_t query0, std::size_t queries, std::size_t padded_rows,
                    Scratch<T>& scratch) const {
    const std::size_t row_size = group_ * shape_.head_dim;
    const float scale = shape_.logit_scale() * kLogitUnit;
    float* scaled;
    if constexpr (std::is_same_v<T, float>) {
      scaled = scratch.queries.data();
    } else {
      scaled = scratch.scaled.data();
    }
    for (std::size_t i = 0; i < queries; ++i) {
      const float* from = arrays_.q + ((query0 + i) * shape_.kv_heads + head) * row_size;
      for (std::size_t j = 0; j < row_size; ++j) scaled[i * row_size + j] = from[j] * scale;
    }
    const std::size_t used = queries * row_size;
    std::fill_n(scaled + used, padded_rows * shape_.head_dim - used, 0.0F);
    if constexpr (!std::is_same_v<T, float>) {
      f32_to_bf16(scaled, padded_rows * shape_.head_dim, scratch.queries.data());
    }
  }

  void store_output(std::size_t head, std::size_t query0, RowRange rows, const ScoreTile& scores) const {
    const std::size_t dim = shape_.head_dim;
    for (std::size_t r = rows.begin; r < rows.end; ++r) {
      const std::size_t to = place(head, query0, r);
      const float inverse = 1.0F / scores.sum[r];
      for (std::size_t j = 0; j < dim; ++j) arrays_.out[to * dim + j] = scores.output[r * dim + j] * inverse;
      if (arrays_.lse == nullptr) continue;
      arrays_.lse[to] = scores.max[r] / kLogitUnit + std::log(scores.sum[r]);
    }
  }

  const PrefillAttention& chunk_;
  const AttentionShape& shape_;
  const Arrays<T>& arrays_;
  bool few_ = by_rows<T>();
  std::size_t group_ = 0;
  std::size_t tile_queries_ = 0;
  std::size_t tiles_ = 0;
};

template <typename T>
bool attend_chunk(const PrefillAttention& chunk, const Arrays<T>& arrays) {
  const Chunk<T> work(chunk, arrays);
  return chunk.queries > 0 && work.run();
}

}  // namespace

std::size_t prefill_attention_tile(const AttentionShape& shape) noexcept {
  return std::clamp<std::size_t>(kRows / shape.group(), 1, kMaxQueries);
}

bool prefill_attention(const PrefillAttention& chunk, const float* q, const float* k, const float* v,
                       float* out, float* lse) {
  return attend_chunk<float>(chunk, {q, k, v, out, lse});
}

bool prefill_attention(const PrefillAttention& chunk, const float* q, const bf16_bits* k, const bf16_bits* v,
                       float* out, float* lse) {
  return attend_chunk<bf16_bits>(chunk, {q, k, v, out, lse});
}

}  // namespace thinkey
