// Queries over everything a layer holds: split over KV heads and token ranges, joined at the end
// (flash-decoding).
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <deque>
#include <limits>
#include <utility>
#include <vector>

#include "backend/cpu/store/block_attention.h"
#include "backend/cpu/store/cpu_layer_store.h"
#include "backend/cpu/store/levels.h"
#include "base/parallel.h"

namespace thinkey {
namespace {

// Some query rows of one KV head; row i * G + g is query i, head g of the group.
struct RowTile {
  const HeadStore* head;
  std::size_t kv_head, first_row, rows;
  std::size_t first_task, tasks;
  std::size_t unfinished;  // tasks; the thread that finishes the last one joins them
};

struct Task {
  std::size_t tile;
  std::size_t begin, end;  // blocks of the head, thin ones first
};

// A task of fewer blocks costs more to hand out and join than it brings; one of more keeps a thread that
// was held up from sharing the rest of its work.
constexpr std::size_t kLeastBlocks = 16;
constexpr std::size_t kMostBlocks = 64;

// A tile's queries, scaled, laid out as place_query() does. A thread's next task is often of the same tile.
struct PackedQueries {
  std::uint64_t call = 0;
  std::size_t tile = 0;
  std::vector<float> thin, recent, reduced;
  float bias[kMaxRows];  // added to the thin logits
};

// Buffers that grow to the largest call and stay: no allocation per token.
struct Workspace {
  std::vector<RowTile> tiles;
  std::vector<Task> tasks;
  std::vector<PartialAttention> thin, recent;
};

class Attention {
 public:
  Attention(const AttentionShape& shape, const std::vector<HeadStore>& heads, std::size_t n,
            std::int64_t first_position, const float* q, float* out, float* lse, Workspace& work)
      : shape_(shape),
        group_(shape.group()),
        dim_(shape.head_dim),
        first_position_(first_position),
        q_(q),
        out_(out),
        lse_(lse),
        work_(work) {
    work_.tiles.clear();
    work_.tasks.clear();
    // One query (decode) is split over token ranges so that every thread has work; many queries (a
    // later chat turn) over rows alone. The split depends on shapes only, never on timing.
    const std::size_t shares = 2 * static_cast<std::size_t>(threads()) / heads.size();
    for (std::size_t h = 0; h < heads.size(); ++h) {
      const std::size_t blocks = heads[h].thin().blocks() + heads[h].recent().blocks();
      std::size_t pieces = 1;
      if (n == 1) {
        pieces = std::min(std::max(shares, blocks / kMostBlocks), blocks / kLeastBlocks);
        pieces = std::max<std::size_t>(pieces, 1);
      }
      for (std::size_t row = 0; row < n * group_; row += kMaxRows) {
        const RowTile tile{&heads[h],          h,      row,   std::min(kMaxRows, n * group_ - row),
                           work_.tasks.size(), pieces, pieces};
        for (std::size_t p = 0; p < pieces; ++p) {
          work_.tasks.push_back({work_.tiles.size(), blocks * p / pieces, blocks * (p + 1) / pieces});
        }
        work_.tiles.push_back(tile);
      }
    }
    if (work_.thin.size() < work_.tasks.size()) {
      work_.thin.resize(work_.tasks.size());
      work_.recent.resize(work_.tasks.size());
    }
  }

  [[nodiscard]] std::size_t tasks() const noexcept { return work_.tasks.size(); }

  // A task, and its tile's end where it is the last.
  void run(std::size_t i) {
    attend(i);
    RowTile& tile = work_.tiles[work_.tasks[i].tile];
    if (std::atomic_ref(tile.unfinished).fetch_sub(1, std::memory_order_acq_rel) == 1) join(tile);
  }

 private:
  void attend(std::size_t i) {
    thread_local PackedQueries queries;
    const Task& task = work_.tasks[i];
    const RowTile& tile = work_.tiles[task.tile];
    const Segment& thin = tile.head->thin();
    const Segment& recent = tile.head->recent();
    if (queries.call != call_ || queries.tile != task.tile) {
      pack(tile, queries);
      queries.call = call_;
      queries.tile = task.tile;
    }
    std::int32_t oldest[kMaxRows];
    const std::int32_t* horizon = nullptr;
    if (shape_.sliding_window > 0) {
      for (std::size_t r = 0; r < tile.rows; ++r) {
        const auto position = static_cast<std::size_t>(first_position_) + (tile.first_row + r) / group_;
        oldest[r] = static_cast<std::int32_t>(shape_.first_seen(position));
      }
      horizon = oldest;
    }
    work_.thin[i].reset(tile.rows, thin.layout().value_units());
    work_.recent[i].reset(tile.rows, recent.layout().value_units());
    if (task.begin < thin.blocks()) {
      attend_blocks(thin.layout(), thin.index() + task.begin, std::min(task.end, thin.blocks()) - task.begin,
                    {.q = queries.thin.data(),
                     .bias = tile.head->kept_keys().has_mean() ? queries.bias : nullptr,
                     .oldest = horizon,
                     .softcap = shape_.softcap},
                    work_.thin[i]);
    }
    if (task.end > thin.blocks()) {
      const std::size_t begin = std::max(task.begin, thin.blocks()) - thin.blocks();
      attend_blocks(
          recent.layout(), recent.index() + begin, task.end - thin.blocks() - begin,
          {.q = queries.recent.data(), .bias = nullptr, .oldest = horizon, .softcap = shape_.softcap},
          work_.recent[i]);
    }
  }

  // Reduces and packs a tile's queries.
  void pack(const RowTile& tile, PackedQueries& packed) const {
    const KeptKeys& basis = tile.head->kept_keys();
    const BlockLayout& thin = tile.head->thin().layout();
    const BlockLayout& recent = tile.head->recent().layout();
    const float scale = shape_.logit_scale();
    packed.thin.assign(query_size(thin, tile.rows), 0.0F);
    packed.recent.assign(query_size(recent, tile.rows), 0.0F);
    packed.reduced.resize(basis.size());
    for (std::size_t r = 0; r < tile.rows; ++r) {
      const float* query = q_ + row_of(tile, r) * dim_;
      basis.reduce_query(query, packed.reduced.data());
      place_query(thin, tile.rows, r, packed.reduced.data(), scale, packed.thin.data());
      place_query(recent, tile.rows, r, query, scale, packed.recent.data());
      packed.bias[r] = basis.bias(query) * scale;
    }
  }

  // Joins a tile's tasks, in order.
  void join(const RowTile& tile) const {
    constexpr float kNothing = -std::numeric_limits<float>::infinity();
    const auto value_channels = tile.head->value_channels();
    const BlockLayout& layout = tile.head->thin().layout();
    const bool whole = value_channels.size() == dim_ && layout.value_slots_in_order() && !layout.has_levels();
    for (std::size_t r = 0; r < tile.rows; ++r) {
      const std::size_t row = row_of(tile, r);
      float* to = out_ + row * dim_;
      std::fill_n(to, dim_, 0.0F);
      float peak = kNothing;
      for (std::size_t t = tile.first_task; t < tile.first_task + tile.tasks; ++t) {
        peak = std::max({peak, work_.thin[t].maximum[r], work_.recent[t].maximum[r]});
      }
      float total = 0.0F;
      const auto add = [&](const PartialAttention& part, const auto& add_values) {
        if (part.maximum[r] == kNothing) return;
        const float factor = std::exp(part.maximum[r] - peak);
        total += part.sum[r] * factor;
        add_values(factor, part.weighted.data() + r * part.stride);
      };
      const auto add_whole = [&](float factor, const float* from) {
        for (std::size_t c = 0; c < dim_; ++c) to[c] += factor * from[c];
      };
      float kept[kMaxChannels] = {};
      const auto add_kept = [&](float factor, const float* from) {
        for (std::size_t c = 0; c < value_channels.size(); ++c)
          kept[c] += factor * from[layout.value_slot(c)];
      };
      for (std::size_t t = tile.first_task; t < tile.first_task + tile.tasks; ++t) {
        if (whole) {
          add(work_.thin[t], add_whole);
        } else {
          add(work_.thin[t], add_kept);
        }
        add(work_.recent[t], add_whole);
      }
      if (!whole) {
        if (layout.has_levels()) rotate(kept, value_channels.size());  // is its own inverse
        for (std::size_t c = 0; c < value_channels.size(); ++c) to[value_channels[c]] += kept[c];
      }
      const float inverse = total > 0.0F ? 1.0F / total : 0.0F;
      for (std::size_t c = 0; c < dim_; ++c) to[c] *= inverse;
      if (lse_ != nullptr) lse_[row] = total > 0.0F ? peak + std::log(total) : kNothing;
    }
  }

  // Row of q, out and lse: [n, H].
  [[nodiscard]] std::size_t row_of(const RowTile& tile, std::size_t r) const noexcept {
    const std::size_t row = tile.first_row + r;
    return row / group_ * shape_.query_heads + tile.kv_head * group_ + row % group_;
  }

  // Tells the calls of all threads apart; never 0.
  static std::uint64_t next_call() noexcept {
    static std::atomic<std::uint64_t> calls{0};
    return calls.fetch_add(1, std::memory_order_relaxed) + 1;
  }

  const std::uint64_t call_ = next_call();
  const AttentionShape& shape_;
  std::size_t group_, dim_;
  std::int64_t first_position_;
  const float* q_;
  float* out_;
  float* lse_;
  Workspace& work_;
};

}  // namespace

namespace {

// Handing out fewer multiplications costs more than it brings.
constexpr std::size_t kLeastWork = std::size_t{1} << 16U;

std::size_t work_of(const AttentionShape& shape, const std::vector<HeadStore>& heads,
                    std::size_t n) noexcept {
  return n * shape.query_heads * shape.head_dim * heads[0].tokens();
}

}  // namespace

void attend_layer(const AttentionShape& shape, const std::vector<HeadStore>& heads, std::size_t n,
                  std::int64_t first_position, const float* q, float* out, float* lse) {
  thread_local Workspace workspace;
  if (heads.empty()) return;
  Attention attention(shape, heads, n, first_position, q, out, lse, workspace);
  if (work_of(shape, heads, n) < kLeastWork) {
    for (std::size_t i = 0; i < attention.tasks(); ++i) attention.run(i);
  } else {
    parallel_for(attention.tasks(), [&](std::size_t i) { attention.run(i); });
  }
}

void attend_layers(std::span<const TokenAttention> tokens) {
  thread_local std::deque<Workspace> workspaces;  // of the calling thread, one for each sequence
  while (workspaces.size() < tokens.size()) workspaces.emplace_back();
  std::vector<Attention> attentions;
  attentions.reserve(tokens.size());
  std::vector<std::pair<std::uint32_t, std::uint32_t>> tasks;  // which attention's, and its which
  std::size_t work = 0;
  for (std::size_t t = 0; t < tokens.size(); ++t) {
    const TokenAttention& token = tokens[t];
    const auto& store = static_cast<const CpuLayerStore&>(*token.store);
    if (store.heads().empty()) continue;
    const auto index = static_cast<std::uint32_t>(attentions.size());
    attentions.emplace_back(store.shape(), store.heads(), 1, token.position, token.q, token.out, token.lse,
                            workspaces[t]);
    for (std::uint32_t i = 0; i < attentions.back().tasks(); ++i) tasks.emplace_back(index, i);
    work += work_of(store.shape(), store.heads(), 1);
  }
  const auto run = [&](std::size_t i) { attentions[tasks[i].first].run(tasks[i].second); };
  if (work < kLeastWork) {
    for (std::size_t i = 0; i < tasks.size(); ++i) run(i);
  } else {
    parallel_for(tasks.size(), run);
  }
}

}  // namespace thinkey
