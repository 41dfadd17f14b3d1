// One layer of a sequence's cache: a HeadCache per KV head.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "cache/channel_budget.h"
#include "cache/head_cache.h"
#include "cache/sequence_cache.h"

namespace thinkey {

class LayerCache {
 public:
  LayerCache(const AttentionShape& shape, const CacheSpec& spec, std::size_t layer, std::size_t layers,
             AllocationCounter* counter);

  // Accumulates the attention tokens receive (H2O).
  void observe(const QueryRange& queries);
  // `budget` is shared by the layers, which compress in order; only adaptive specs use it.
  void compress_prompt(const PromptView& prompt, ChannelBudget& budget, CompressionTrace* trace);
  void append(std::size_t n, const float* k, const float* v, std::size_t stride);
  // SequenceCache::renew().
  void renew(std::size_t n, std::int64_t first_position, const float* q, bool turn_ended);

  void save(ByteWriter& out) const;
  void restore(ByteReader& in);

  [[nodiscard]] std::int64_t next_position() const noexcept { return next_position_; }
  [[nodiscard]] const std::vector<HeadCache>& heads() const noexcept { return heads_; }
  [[nodiscard]] LayerCacheReport report() const;

 private:
  // Which channels or directions each head keeps.
  [[nodiscard]] std::vector<HeadPlan> plan(const PromptView& prompt,
                                           const std::vector<std::vector<std::int32_t>>& kept,
                                           ChannelBudget& budget, CompressionTrace* trace) const;

  void remember(std::size_t n, std::int64_t first_position, const float* q);
  void grow_queries(std::size_t rows);
  [[nodiscard]] std::size_t query_width() const noexcept { return shape_.query_heads * shape_.head_dim; }
  [[nodiscard]] std::int64_t query_rows() const noexcept {
    return static_cast<std::int64_t>(queries_.size() / query_width());
  }
  void evict_again();  // reeviction.cpp
  [[nodiscard]] std::vector<float> recent_votes(std::size_t kv_head) const;

  AttentionShape shape_;
  CacheSpec spec_;
  std::size_t layer_, layers_;  // this one of so many
  AllocationCounter* counter_;
  std::vector<HeadCache> heads_;
  std::int64_t next_position_ = 0;
  std::vector<float> received_;  // [H, T] during an H2O prefill

  // The latest queries, for evicting again; a ring indexed by position modulo its rows. It grows to
  // the window's size with the queries that come: the spec alone decides no allocation.
  AlignedBuffer<float> queries_;    // [rows <= S, H, D]
  std::int64_t queries_end_ = 0;    // position after the latest one
  std::int64_t queries_count_ = 0;  // how many of the ring are set
  std::int64_t evicted_at_ = 0;     // next_position_ when tokens were last evicted
};

// Attention of queries over a layer (SequenceCache::attend).
void attend_layer(const AttentionShape& shape, const std::vector<HeadCache>& heads, std::size_t n,
                  std::int64_t first_position, const float* q, float* out, float* lse);

}  // namespace thinkey
