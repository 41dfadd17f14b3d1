// A layer's cache in this machine's memory: a HeadStore per KV head.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/cpu/store/head_rows.h"
#include "backend/cpu/store/head_store.h"
#include "backend/layer_store.h"

namespace thinkey {

class CpuLayerStore : public LayerStore {
 public:
  CpuLayerStore(const AttentionShape& shape, const StoreFormat& format, AllocationCounter* counter);

  // statistics.cpp
  void add_attention_sums(const QueryRange& queries, std::size_t pitch, std::span<float> sums) const override;
  [[nodiscard]] std::vector<KeyStatistics> key_statistics(const PromptView& prompt, std::size_t window,
                                                          const TokenLists& tokens,
                                                          bool ranges) const override;
  [[nodiscard]] std::vector<std::vector<double>> output_energy(const PromptView& prompt, std::size_t window,
                                                               const TokenLists& tokens) const override;
  [[nodiscard]] std::vector<NoiseCosts> noise_costs(const PromptView& prompt, std::size_t window,
                                                    const TokenLists& tokens) const override;

  // token_statistics.cpp
  [[nodiscard]] TokenNumbers key_similarity(const PromptView* prompt) const override;
  [[nodiscard]] TokenNumbers key_redundancy(const PromptView* prompt, double similarity) const override;
  [[nodiscard]] TokenNumbers key_leverage(const PromptView& prompt, std::size_t begin,
                                          std::size_t end) const override;
  [[nodiscard]] TokenNumbers value_norms(const PromptView* prompt, ValueNorm norm) const override;
  [[nodiscard]] LagSpread lag_spread(const PromptView* prompt, std::size_t first,
                                     std::size_t lag) const override;

  // query_statistics.cpp
  void add_query_moments(const QueryRange& queries, std::size_t from, std::size_t length,
                         std::span<QueryMoments> moments) const override;
  [[nodiscard]] std::vector<QueryMoments> remembered_moments(bool products,
                                                             std::size_t length) const override;
  [[nodiscard]] TokenNumbers expected_logits(const PromptView* prompt, std::span<const QueryMoments> moments,
                                             std::int64_t next, std::size_t future) const override;
  void add_local_attention(const QueryRange& queries, std::size_t from, std::size_t block, std::size_t pitch,
                           std::span<float> sums) const override;
  void raise_replay_peaks(const ReplayRange& replay, std::size_t sinks, std::size_t pitch,
                          std::span<float> peaks) const override;

  void pack(const PromptView& prompt, const TokenLists& tokens, std::vector<HeadPlan> plans) override;
  void recode(std::size_t kv_head, ElementFormat keys, ElementFormat values) override {
    heads_[kv_head].recode(keys, values);
  }
  void append(std::size_t n, std::int64_t first, const float* k, const float* v, std::size_t stride) override;
  void forget_before(std::int64_t position) override;
  [[nodiscard]] std::size_t withdrawable(std::int64_t next) const override;
  void withdraw(std::size_t n) override;
  void attend(std::size_t n, std::int64_t first, const float* q, float* out, float* lse) const override;
  void attend_together(std::span<const TokenAttention> tokens) const override;

  // votes.cpp
  void remember(std::size_t n, std::int64_t first, const float* q) override;
  [[nodiscard]] std::vector<std::vector<float>> votes() const override;
  void keep_thin(std::span<const std::optional<std::vector<std::int32_t>>> indices) override;

  [[nodiscard]] HeadSizes sizes(std::size_t kv_head) const override;
  [[nodiscard]] HeadPlan plan(std::size_t kv_head) const override { return heads_[kv_head].plan(); }
  [[nodiscard]] HeldTokens read(std::size_t kv_head) const override;
  [[nodiscard]] std::vector<std::int32_t> positions(std::size_t kv_head) const override;
  [[nodiscard]] std::size_t bytes() const noexcept override;
  [[nodiscard]] std::unique_ptr<LayerStore> fork(std::int64_t end, AllocationCounter* counter) const override;
  void save(ByteWriter& out) const override;
  void restore(ByteReader& in, std::int64_t next_position) override;

  [[nodiscard]] const std::vector<HeadStore>& heads() const noexcept { return heads_; }
  [[nodiscard]] const AttentionShape& shape() const noexcept { return shape_; }

 private:
  [[nodiscard]] std::vector<float> votes(std::size_t kv_head) const;
  // Keys and values of a head, of a prompt or (null) as held.
  [[nodiscard]] HeadRows rows(const PromptView* prompt, std::size_t kv_head) const;
  void grow_queries(std::size_t rows);
  [[nodiscard]] std::size_t query_width() const noexcept { return shape_.query_heads * shape_.head_dim; }
  [[nodiscard]] std::size_t query_rows() const noexcept { return queries_.size() / query_width(); }

  AttentionShape shape_;
  StoreFormat format_;
  AllocationCounter* counter_;
  std::vector<HeadStore> heads_;

  // The latest queries; a ring indexed by position modulo its rows. It grows with the queries that come: a
  // spec alone decides no allocation.
  AlignedBuffer<float> queries_;    // [rows <= format_.remembered, H, D]
  std::int64_t queries_end_ = 0;    // position after the latest one
  std::int64_t queries_count_ = 0;  // how many of the ring are set
};

class CpuLayerStores : public LayerStores {
 public:
  [[nodiscard]] std::unique_ptr<LayerStore> make(const AttentionShape& shape, const StoreFormat& format,
                                                 AllocationCounter* counter) const override;
  [[nodiscard]] std::size_t head_bytes(const AttentionShape& shape, const StoreFormat& format,
                                       const HeadSizes& sizes) const override;
  void attend_prompt(const AttentionShape& shape, const PromptAttention& chunk, float* out,
                     float* lse) const override;
  void join(const AttentionShape& shape, std::size_t n, float* out, float* lse, const float* past,
            const float* past_lse) const override;
  void join_sinks(const AttentionShape& shape, std::size_t n, float* out, float* lse) const override;
};

// Attention of queries over a layer's heads (LayerStore::attend).
void attend_layer(const AttentionShape& shape, const std::vector<HeadStore>& heads, std::size_t n,
                  std::int64_t first_position, const float* q, float* out, float* lse);
// LayerStore::attend_together() of CpuLayerStores.
void attend_layers(std::span<const TokenAttention> tokens);

}  // namespace thinkey
