#include "cache/layer_cache.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/parallel.h"
#include "cache/block_attention.h"
#include "cache/eviction.h"
#include "cache/think.h"

namespace thinkey {
namespace {

std::vector<std::int32_t> all_channels(std::size_t dim) {
  std::vector<std::int32_t> channels(dim);
  std::iota(channels.begin(), channels.end(), 0);
  return channels;
}

}  // namespace

LayerCache::LayerCache(const CacheShape& shape, const CacheSpec& spec, AllocationCounter* counter)
    : shape_(shape), spec_(spec), counter_(counter), heads_(shape.kv_heads) {}

void LayerCache::prepare_head(HeadCache& head, std::vector<std::int32_t> channels) const {
  head.channels = AlignedBuffer<std::uint16_t>(channels.size(), counter_);
  std::copy(channels.begin(), channels.end(), head.channels.data());
  head.thin = Segment(BlockLayout(channels.size(), shape_.head_dim), counter_);
  head.recent = Segment(BlockLayout(shape_.head_dim, shape_.head_dim), counter_);
}

void LayerCache::compress_prompt(const PromptView& prompt, CompressionTrace* trace) {
  std::vector<std::vector<std::int32_t>> kept = evict(shape_, spec_.eviction, prompt);
  std::vector<std::vector<float>> scores(shape_.kv_heads);

  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    std::vector<std::int32_t> channels = all_channels(shape_.head_dim);
    if (spec_.channels.active()) {
      scores[h] =
          think_key_scores(shape_, prompt, static_cast<std::size_t>(spec_.channels.window), h, kept[h]);
      channels = top_indices(
          scores[h],
          static_cast<std::size_t>(spec_.channels.kept_keys(static_cast<std::int64_t>(shape_.head_dim))));
    }
    prepare_head(heads_[h], std::move(channels));
    fill_head(heads_[h], h, prompt, kept[h]);
  });
  next_position_ = static_cast<std::int64_t>(prompt.tokens);

  if (trace != nullptr) {
    trace->kept_tokens = std::move(kept);
    trace->channel_scores = std::move(scores);
    if (!spec_.channels.active()) trace->channel_scores.clear();
  }
}

void LayerCache::fill_head(HeadCache& head, std::size_t kv_head, const PromptView& prompt,
                           const std::vector<std::int32_t>& kept) const {
  const std::size_t dim = shape_.head_dim;
  const float* keys = prompt.k + kv_head * prompt.capacity * dim;
  const float* values = prompt.v + kv_head * prompt.capacity * dim;
  const auto recent_limit = spec_.channels.active() ? static_cast<std::size_t>(spec_.channels.recent) : 0;
  const std::size_t recent = std::min(kept.size(), recent_limit);
  const std::size_t thin = kept.size() - recent;

  head.thin.reserve(Segment::blocks_for(thin));
  std::vector<float> row(head.channels.size());
  for (std::size_t i = 0; i < thin; ++i) {
    const float* key = keys + static_cast<std::size_t>(kept[i]) * dim;
    for (std::size_t c = 0; c < row.size(); ++c) row[c] = key[head.channels[c]];
    head.thin.push_token(kept[i], row.data(), values + static_cast<std::size_t>(kept[i]) * dim);
  }
  head.recent.reserve(Segment::blocks_for(recent));
  for (std::size_t i = thin; i < kept.size(); ++i) {
    const std::size_t t = static_cast<std::size_t>(kept[i]) * dim;
    head.recent.push_token(kept[i], keys + t, values + t);
  }
}

void LayerCache::append(std::size_t n, const float* k, const float* v, std::size_t stride) {
  const std::size_t dim = shape_.head_dim;
  const auto append_head = [&](std::size_t h) {
    HeadCache& head = heads_[h];
    // A cache that never saw a prompt keeps every channel until one is compressed.
    if (head.channels.size() == 0) prepare_head(head, all_channels(dim));
    for (std::size_t i = 0; i < n; ++i) {
      append_token(head, static_cast<std::int32_t>(next_position_ + static_cast<std::int64_t>(i)),
                   k + i * stride + h * dim, v + i * stride + h * dim);
    }
  };
  if (n == 1) {
    for (std::size_t h = 0; h < heads_.size(); ++h) append_head(h);
  } else {
    parallel_for(heads_.size(), append_head);
  }
  next_position_ += static_cast<std::int64_t>(n);
}

void LayerCache::append_token(HeadCache& head, std::int32_t position, const float* k, const float* v) const {
  if (!spec_.channels.active()) {
    head.thin.push_token(position, k, v);
    return;
  }
  head.recent.push_token(position, k, v);
  if (head.recent.tokens() < static_cast<std::size_t>(spec_.channels.recent) + kBlockTokens) return;
  // The oldest block leaves whole; pruning it is copying the kept rows.
  const BlockLayout& from_layout = head.recent.layout();
  const BlockLayout& to_layout = head.thin.layout();
  const std::byte* from = head.recent.block(0);
  std::byte* to = head.thin.push_block();
  for (std::size_t c = 0; c < head.channels.size(); ++c) {
    std::memcpy(to_layout.keys(to, c), from_layout.keys(from, head.channels[c]),
                kBlockTokens * sizeof(f16_bits));
  }
  std::memcpy(to_layout.values(to, 0), from_layout.values(from, 0),
              kBlockTokens * to_layout.value_channels * sizeof(f16_bits));
  std::memcpy(to_layout.positions(to), from_layout.positions(from), kBlockTokens * sizeof(std::int32_t));
  head.thin.note_tokens(from_layout.count(from));
  head.recent.pop_front();
}

namespace {

// A share of one head's work: some of its query rows over some of its blocks.
struct Task {
  std::size_t kv_head;
  std::size_t first_row, rows;  // among the n * G rows of the head; row i * G + g
  std::size_t begin, end;       // blocks, thin ones first
};

constexpr std::size_t kBlocksPerTask = 16;  // 512 tokens: enough work to be worth a task of its own

}  // namespace

void LayerCache::attend(std::size_t n, std::int64_t first_position, const float* q, float* out,
                        float* lse) const {
  const std::size_t dim = shape_.head_dim;
  const std::size_t group = shape_.query_heads / shape_.kv_heads;
  const std::size_t head_rows = n * group;
  const float scale = 1.0F / std::sqrt(static_cast<float>(dim));

  // One query (decode) is split over token ranges so that every thread has work; many queries
  // (a later chat turn) are split over rows alone. The split depends on shapes only, so results do
  // not depend on timing.
  std::vector<Task> tasks;
  for (std::size_t h = 0; h < heads_.size(); ++h) {
    const std::size_t blocks = heads_[h].thin.blocks() + heads_[h].recent.blocks();
    const std::size_t pieces =
        n == 1 ? std::clamp<std::size_t>(blocks / kBlocksPerTask, 1, 4 * static_cast<std::size_t>(threads()))
               : 1;
    for (std::size_t row = 0; row < head_rows; row += kMaxRows) {
      for (std::size_t p = 0; p < pieces; ++p) {
        tasks.push_back(
            {h, row, std::min(kMaxRows, head_rows - row), blocks * p / pieces, blocks * (p + 1) / pieces});
      }
    }
  }

  thread_local std::vector<PartialAttention> states;
  if (states.size() < tasks.size()) states.resize(tasks.size());
  PartialAttention* const partial = states.data();  // thread_local: the workers must use the caller's

  const auto run = [&](std::size_t i) {
    const Task& task = tasks[i];
    const HeadCache& head = heads_[task.kv_head];
    PartialAttention& state = partial[i];
    state.reset(task.rows, dim);

    std::int32_t oldest[kMaxRows];
    for (std::size_t r = 0; r < task.rows; ++r) {
      const std::int64_t position = first_position + static_cast<std::int64_t>((task.first_row + r) / group);
      oldest[r] = static_cast<std::int32_t>(
          std::max<std::int64_t>(0, position + 1 - static_cast<std::int64_t>(shape_.sliding_window)));
    }
    const std::int32_t* horizon = shape_.sliding_window > 0 ? oldest : nullptr;

    thread_local std::vector<float> packed;
    packed.resize(dim * task.rows);
    const auto query = [&](std::size_t r, std::size_t c) {
      const std::size_t row = task.first_row + r;
      return q[((row / group) * shape_.query_heads + task.kv_head * group + row % group) * dim + c] * scale;
    };
    const std::size_t thin_blocks = head.thin.blocks();
    if (task.begin < thin_blocks) {
      for (std::size_t c = 0; c < head.channels.size(); ++c) {
        for (std::size_t r = 0; r < task.rows; ++r) packed[c * task.rows + r] = query(r, head.channels[c]);
      }
      attend_blocks(head.thin.layout(), head.thin.index() + task.begin,
                    std::min(task.end, thin_blocks) - task.begin, packed.data(), horizon, state);
    }
    if (task.end > thin_blocks) {
      for (std::size_t c = 0; c < dim; ++c) {
        for (std::size_t r = 0; r < task.rows; ++r) packed[c * task.rows + r] = query(r, c);
      }
      const std::size_t begin = std::max(task.begin, thin_blocks) - thin_blocks;
      attend_blocks(head.recent.layout(), head.recent.index() + begin, task.end - thin_blocks - begin,
                    packed.data(), horizon, state);
    }
  };
  const std::size_t work = tasks.size() * dim * (heads_.empty() ? 0 : heads_[0].tokens());
  if (tasks.size() == 1 || (n == 1 && work < (std::size_t{1} << 16U))) {
    for (std::size_t i = 0; i < tasks.size(); ++i) run(i);
  } else {
    parallel_for(tasks.size(), run);
  }

  // Tasks of the same rows stand next to each other: join them in order.
  for (std::size_t i = 0; i < tasks.size();) {
    std::size_t end = i + 1;
    while (end < tasks.size() && tasks[end].kv_head == tasks[i].kv_head &&
           tasks[end].first_row == tasks[i].first_row) {
      ++end;
    }
    for (std::size_t r = 0; r < tasks[i].rows; ++r) {
      const std::size_t row = tasks[i].first_row + r;
      const std::size_t at = (row / group) * shape_.query_heads + tasks[i].kv_head * group + row % group;
      float peak = -std::numeric_limits<float>::infinity();
      for (std::size_t j = i; j < end; ++j) peak = std::max(peak, partial[j].maximum[r]);
      float* to = out + at * dim;
      std::fill_n(to, dim, 0.0F);
      float total = 0.0F;
      for (std::size_t j = i; j < end && peak > -std::numeric_limits<float>::infinity(); ++j) {
        const float factor = std::exp(partial[j].maximum[r] - peak);
        total += partial[j].sum[r] * factor;
        const float* from = partial[j].weighted.data() + r * partial[j].stride;
        for (std::size_t c = 0; c < dim; ++c) to[c] += factor * from[c];
      }
      const float inverse = total > 0.0F ? 1.0F / total : 0.0F;
      for (std::size_t c = 0; c < dim; ++c) to[c] *= inverse;
      if (lse != nullptr)
        lse[at] = total > 0.0F ? peak + std::log(total) : -std::numeric_limits<float>::infinity();
    }
    i = end;
  }
}

LayerCacheReport LayerCache::report() const {
  LayerCacheReport report;
  for (const HeadCache& head : heads_) {
    report.tokens_kept += static_cast<double>(head.tokens());
    report.channels_kept +=
        static_cast<double>(head.channels.size() == 0 ? shape_.head_dim : head.channels.size());
    report.bytes += head.bytes();
  }
  report.tokens_kept /= static_cast<double>(heads_.size());
  report.channels_kept /= static_cast<double>(heads_.size());
  return report;
}

}  // namespace thinkey
