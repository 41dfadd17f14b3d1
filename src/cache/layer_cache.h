// One layer of a sequence's cache: decides what its store holds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "backend/layer_store.h"
#include "cache/channel_budget.h"
#include "cache/layer_compression.h"
#include "cache/level_budget.h"
#include "cache/policy.h"
#include "thinkey/cache_report.h"

namespace thinkey {

// What compression decided in one layer, for those who ask (the `compress` command, tests).
struct CompressionTrace {
  TokenLists kept_tokens;  // [Hkv][B] positions, ascending
  // [Hkv][D] ThinK's key scores; empty when nothing is pruned
  std::vector<std::vector<float>> channel_scores;
};

class LayerCache {
 public:
  LayerCache(const AttentionShape& shape, LayerCompression compression, const LayerStores& stores,
             AllocationCounter* counter);

  // Shows the layer's policy a prompt's queries, if it looks at all of them, and the queries of its replays.
  void observe(const QueryRange& queries);
  void replay(const ReplayRange& replay);
  // `budget` is shared by the layers, which compress in order; only adaptive specs use it.
  void compress_prompt(const PromptView& prompt, ChannelBudget& budget, CompressionTrace* trace);
  // Of a budgeted spec, right after compress_prompt(): what waits for its formats, and takes them.
  [[nodiscard]] std::vector<LevelHead> waiting() const;
  void recode(const std::vector<LevelChoice>& choices);
  void append(std::size_t n, const float* k, const float* v, std::size_t stride);
  // SequenceCache::withdrawable(), withdraw().
  [[nodiscard]] std::size_t withdrawable() const;
  void withdraw(std::size_t n);
  // SequenceCache::renew().
  void renew(std::size_t n, std::int64_t first_position, const float* q, bool turn_ended);

  // SequenceCache::fork().
  [[nodiscard]] LayerCache fork(std::int64_t end, AllocationCounter* counter) const;
  // Whether it holds all that it held when it had seen `end` tokens.
  [[nodiscard]] bool reaches_back_to(std::int64_t end) const noexcept;

  void save(ByteWriter& out) const;
  void restore(ByteReader& in);

  [[nodiscard]] std::int64_t next_position() const noexcept { return next_position_; }
  [[nodiscard]] const LayerStore& store() const noexcept { return *store_; }
  [[nodiscard]] LayerCacheReport report() const;

 private:
  LayerCache(const AttentionShape& shape, LayerCompression compression, std::unique_ptr<LayerStore> store);
  [[nodiscard]] TokenLists choose_tokens(const PromptView& prompt);
  [[nodiscard]] Scorer& scorer();
  // Which channels each head keeps.
  [[nodiscard]] std::vector<HeadPlan> plan(const PromptView& prompt, const TokenLists& kept,
                                           ChannelBudget& budget, CompressionTrace* trace) const;
  void evict_again();  // reeviction.cpp
  // Whether the spec can have left a head of such sizes: what kernels assume of a file's lists.
  [[nodiscard]] bool may_have_planned(const HeadSizes& sizes) const noexcept;

  AttentionShape shape_;
  LayerCompression compression_;
  std::unique_ptr<LayerStore> store_;
  std::int64_t next_position_ = 0;
  std::int64_t evicted_at_ = 0;     // next_position_ when tokens were last evicted
  std::unique_ptr<Scorer> scorer_;  // of the prompt, while it is prefilled
  bool replayed_ = false;
  std::vector<NoiseCosts> costs_;  // of heads that wait for their formats
};

// Its sizes before anything is stored and after a prompt of so many tokens, by arithmetic alone.
[[nodiscard]] LayerCacheReport estimate_layer(const AttentionShape& shape,
                                              const LayerCompression& compression, const LayerStores& stores,
                                              std::size_t tokens);

}  // namespace thinkey
