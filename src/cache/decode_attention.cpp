// Queries over everything a layer holds: split over KV heads and token ranges, joined at the end
// (flash-decoding).
#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "cache/block_attention.h"
#include "cache/layer_cache.h"

namespace thinkey {
namespace {

// Some query rows of one KV head; row i * G + g is query i, head g of the group.
struct RowTile {
  const HeadCache* head;
  std::size_t kv_head, first_row, rows;
  std::size_t first_task, tasks;
  const float* thin_query;    // scaled; laid out as place_query() does it
  const float* recent_query;  // likewise, whole
  float bias[kMaxRows];       // added to the thin logits
};

struct Task {
  std::size_t tile;
  std::size_t begin, end;  // blocks of the head, thin ones first
};

constexpr std::size_t kBlocksPerTask = 16;  // 512 tokens: enough work to be worth a task of its own

// Buffers that grow to the largest call and stay: no allocation per token.
struct Workspace {
  std::vector<RowTile> tiles;
  std::vector<Task> tasks;
  std::vector<PartialAttention> thin, recent;
  std::vector<float> queries;
};

class Attention {
 public:
  Attention(const CacheShape& shape, const std::vector<HeadCache>& heads, std::size_t n,
            std::int64_t first_position, const float* q, Workspace& work)
      : shape_(shape),
        group_(shape.query_heads / shape.kv_heads),
        dim_(shape.head_dim),
        first_position_(first_position),
        q_(q),
        work_(work) {
    work_.tiles.clear();
    work_.tasks.clear();
    // One query (decode) is split over token ranges so that every thread has work; many queries (a
    // later chat turn) over rows alone. The split depends on shapes only, never on timing.
    for (std::size_t h = 0; h < heads.size(); ++h) {
      const std::size_t blocks = heads[h].thin().blocks() + heads[h].recent().blocks();
      const std::size_t pieces = n == 1 ? std::clamp<std::size_t>(blocks / kBlocksPerTask, 1,
                                                                  4 * static_cast<std::size_t>(threads()))
                                        : 1;
      for (std::size_t row = 0; row < n * group_; row += kMaxRows) {
        RowTile tile{
            &heads[h], h,       row, std::min(kMaxRows, n * group_ - row), work_.tasks.size(), pieces,
            nullptr,   nullptr, {}};
        for (std::size_t p = 0; p < pieces; ++p) {
          work_.tasks.push_back({work_.tiles.size(), blocks * p / pieces, blocks * (p + 1) / pieces});
        }
        work_.tiles.push_back(tile);
      }
    }
    work_.queries.assign(work_.tiles.size() * 2 * query_room(), 0.0F);
    if (work_.thin.size() < work_.tasks.size()) {
      work_.thin.resize(work_.tasks.size());
      work_.recent.resize(work_.tasks.size());
    }
  }

  [[nodiscard]] std::size_t tiles() const noexcept { return work_.tiles.size(); }
  [[nodiscard]] std::size_t tasks() const noexcept { return work_.tasks.size(); }

  // Reduces and packs a tile's queries.
  void pack(std::size_t i) {
    RowTile& tile = work_.tiles[i];
    const KeyBasis& basis = tile.head->basis();
    float* thin = work_.queries.data() + i * 2 * query_room();
    float* recent = thin + query_room();
    const float scale = 1.0F / std::sqrt(static_cast<float>(dim_));
    thread_local std::vector<float> reduced;
    reduced.resize(basis.size());
    for (std::size_t r = 0; r < tile.rows; ++r) {
      const float* query = q_ + row_of(tile, r) * dim_;
      basis.reduce_query(query, reduced.data());
      place_query(tile.head->thin().layout(), tile.rows, r, reduced, scale, thin);
      place_query(tile.head->recent().layout(), tile.rows, r, {query, dim_}, scale, recent);
      tile.bias[r] = basis.bias(query) * scale;
    }
    tile.thin_query = thin;
    tile.recent_query = recent;
  }

  void run(std::size_t i) {
    const Task& task = work_.tasks[i];
    const RowTile& tile = work_.tiles[task.tile];
    const Segment& thin = tile.head->thin();
    const Segment& recent = tile.head->recent();
    std::int32_t oldest[kMaxRows];
    const std::int32_t* horizon = nullptr;
    if (shape_.sliding_window > 0) {
      for (std::size_t r = 0; r < tile.rows; ++r) {
        const std::int64_t position =
            first_position_ + static_cast<std::int64_t>((tile.first_row + r) / group_);
        oldest[r] = static_cast<std::int32_t>(
            std::max<std::int64_t>(0, position + 1 - static_cast<std::int64_t>(shape_.sliding_window)));
      }
      horizon = oldest;
    }
    work_.thin[i].reset(tile.rows, thin.layout().value_units());
    work_.recent[i].reset(tile.rows, recent.layout().value_units());
    if (task.begin < thin.blocks()) {
      attend_blocks(thin.layout(), thin.index() + task.begin, std::min(task.end, thin.blocks()) - task.begin,
                    tile.thin_query, tile.head->basis().has_mean() ? tile.bias : nullptr, horizon,
                    work_.thin[i]);
    }
    if (task.end > thin.blocks()) {
      const std::size_t begin = std::max(task.begin, thin.blocks()) - thin.blocks();
      attend_blocks(recent.layout(), recent.index() + begin, task.end - thin.blocks() - begin,
                    tile.recent_query, nullptr, horizon, work_.recent[i]);
    }
  }

  // Joins a tile's tasks, in order.
  void join(std::size_t i, float* out, float* lse) const {
    const RowTile& tile = work_.tiles[i];
    constexpr float kNothing = -std::numeric_limits<float>::infinity();
    const auto value_channels = tile.head->value_channels();
    const BlockLayout& layout = tile.head->thin().layout();
    for (std::size_t r = 0; r < tile.rows; ++r) {
      const std::size_t row = row_of(tile, r);
      float* to = out + row * dim_;
      std::fill_n(to, dim_, 0.0F);
      float peak = kNothing;
      for (std::size_t t = tile.first_task; t < tile.first_task + tile.tasks; ++t) {
        peak = std::max({peak, work_.thin[t].maximum[r], work_.recent[t].maximum[r]});
      }
      float total = 0.0F;
      for (std::size_t t = tile.first_task; t < tile.first_task + tile.tasks && peak > kNothing; ++t) {
        const PartialAttention& thin = work_.thin[t];
        if (thin.maximum[r] > kNothing) {
          const float factor = std::exp(thin.maximum[r] - peak);
          const float* from = thin.weighted.data() + r * thin.stride;
          total += thin.sum[r] * factor;
          for (std::size_t c = 0; c < value_channels.size(); ++c) {
            to[value_channels[c]] += factor * from[layout.value_slot(c)];
          }
        }
        const PartialAttention& recent = work_.recent[t];
        if (recent.maximum[r] > kNothing) {
          const float factor = std::exp(recent.maximum[r] - peak);
          const float* from = recent.weighted.data() + r * recent.stride;
          total += recent.sum[r] * factor;
          for (std::size_t c = 0; c < dim_; ++c) to[c] += factor * from[c];
        }
      }
      const float inverse = total > 0.0F ? 1.0F / total : 0.0F;
      for (std::size_t c = 0; c < dim_; ++c) to[c] *= inverse;
      if (lse != nullptr) lse[row] = total > 0.0F ? peak + std::log(total) : kNothing;
    }
  }

 private:
  // Of a tile's queries; an odd number of channels of a run of pairs is rounded up.
  [[nodiscard]] std::size_t query_room() const noexcept { return kMaxRows * (dim_ + 2); }

  // Row of q, out and lse: [n, H].
  [[nodiscard]] std::size_t row_of(const RowTile& tile, std::size_t r) const noexcept {
    const std::size_t row = tile.first_row + r;
    return row / group_ * shape_.query_heads + tile.kv_head * group_ + row % group_;
  }

  const CacheShape& shape_;
  std::size_t group_, dim_;
  std::int64_t first_position_;
  const float* q_;
  Workspace& work_;
};

}  // namespace

void attend_layer(const CacheShape& shape, const std::vector<HeadCache>& heads, std::size_t n,
                  std::int64_t first_position, const float* q, float* out, float* lse) {
  thread_local Workspace workspace;
  Attention attention(shape, heads, n, first_position, q, workspace);
  // Handing out less than some 64k multiplications costs more than it brings.
  const std::size_t work = n * shape.query_heads * shape.head_dim * (heads.empty() ? 0 : heads[0].tokens());
  const auto each = [&](std::size_t count, const auto& body) {
    if (work < (std::size_t{1} << 16U)) {
      for (std::size_t i = 0; i < count; ++i) body(i);
    } else {
      parallel_for(count, body);
    }
  };
  for (std::size_t i = 0; i < attention.tiles(); ++i) attention.pack(i);
  each(attention.tasks(), [&](std::size_t i) { attention.run(i); });
  each(attention.tiles(), [&](std::size_t i) { attention.join(i, out, lse); });
}

}  // namespace thinkey
