// The KV cache of one sequence: per layer and KV head, a thin segment of tokens that survived
// eviction with the key channels that survived pruning, and a recent segment of whole tokens. Layers with a
// sliding window hold what it shows (cache/layer_compression.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "backend/layer_store.h"
#include "base/aligned_buffer.h"
#include "cache/cache_shape.h"
#include "cache/layer_cache.h"
#include "thinkey/cache_report.h"
#include "thinkey/cache_spec.h"

namespace thinkey {

class SequenceCache {
 public:
  // All element storage is the backend's, and counted in `counter`, if there is one. Error(Usage) where the
  // shape or the spec is out of range.
  SequenceCache(const CacheShape& shape, const CacheSpec& spec, AllocationCounter* counter = nullptr,
                const LayerStores& stores = default_stores());

  [[nodiscard]] const CacheShape& shape() const noexcept { return shape_; }
  // As it was given; and, once a prompt is compressed, as a budget was resolved for it
  // (cache/level_budget.h).
  [[nodiscard]] const CacheSpec& asked_spec() const noexcept { return asked_; }
  [[nodiscard]] const CacheSpec& spec() const noexcept { return spec_; }

  // Whether the eviction policy looks at every prompt query (H2O): then observe() must be told of each
  // of a layer's queries once, in order, before compress_prompt().
  [[nodiscard]] bool observes_all_queries() const;
  void observe(std::size_t layer, const QueryRange& queries);
  // Whether the eviction policy has the model repeat the prompt (KVzip): then replay() must be told of each
  // of a layer's queries that do, before compress_prompt().
  [[nodiscard]] bool wants_replay() const;
  void replay(std::size_t layer, const ReplayRange& replay);

  // How many of the last queries compress_prompt() needs, or (later turns) renew().
  [[nodiscard]] std::size_t observed_queries(bool later_turn) const;

  // Evicts, prunes and stores layer `layer` of a prompt at positions 0 .. T-1. The layer must be empty;
  // layers come in order.
  void compress_prompt(std::size_t layer, const PromptView& prompt, CompressionTrace* trace = nullptr);

  // Appends tokens at the next positions of a layer, whole, to the recent segment; what leaves the
  // recent segment is pruned with the stored channel lists. k and v: [n, Hkv, D] with `stride`
  // elements between tokens, after RoPE.
  void append(std::size_t layer, std::size_t n, const float* k, const float* v, std::size_t stride);

  // out[i, h] = softmax(q[i, h] . keys) values over everything the layer holds (and the sliding window lets
  // query i see), logits scaled and capped, sinks left to apply_sinks(); query i stands at position
  // first_position + i. q, out: [n, H, D]. lse, if not null: [n, H], log-sum-exp of the logits (-inf and
  // out = 0 where nothing is seen).
  void attend(std::size_t layer, std::size_t n, std::int64_t first_position, const float* q, float* out,
              float* lse = nullptr) const;

  // attend() with n = 1 of several sequences' layers.
  static void attend_together(std::span<const TokenAttention> tokens) {
    if (!tokens.empty()) tokens[0].store->attend_together(tokens);
  }

  // Tells the layer of queries that have just been attended with (after append() of their tokens), so
  // that a spec with `every` evicts again: when so many tokens have come since, or a turn has ended. The
  // budget and the policy are the prompt's, which scores what is still held. Without `every`, nothing.
  void renew(std::size_t layer, std::size_t n, std::int64_t first_position, const float* q, bool turn_ended);

  // After the next token so many more may be appended (one by one, with renew() for the next token alone) and
  // withdrawn again: none of them makes a layer reduce, evict or give up anything. At most kBlockTokens.
  [[nodiscard]] std::size_t withdrawable() const;
  // The latest n of them leave all layers as if they had not come.
  void withdraw(std::size_t n);
  // Whether renew() keeps what it is told.
  [[nodiscard]] bool remembers_queries() const { return observed_queries(true) > 0; }

  // Positions seen by a layer: where the next token goes.
  [[nodiscard]] std::int64_t next_position(std::size_t layer) const noexcept;

  // The cache as it was when it had seen the first `end` tokens; what both hold is stored once. The two must
  // be used by one thread at a time. Only where can_fork(end), and 0 < end.
  [[nodiscard]] SequenceCache fork(std::int64_t end, AllocationCounter* counter) const;
  // At the end of what it has seen always; further back where no layer has dropped a token that it would
  // still have then. Channels stay those that the whole prompt chose.
  [[nodiscard]] bool can_fork(std::int64_t end) const noexcept;

  // Quantizes what is held whole, layer by layer: at most one layer stands twice. Only of a cache whose spec
  // does nothing yet.
  void quantize(const QuantizationSpec& quantization, AllocationCounter* counter,
                const LayerStores& stores = default_stores());

  [[nodiscard]] CacheReport report() const;
  // For load_cache() (cache/cache_file.h), into an empty cache.
  void restore(ByteReader& in);
  [[nodiscard]] const LayerCache& layer(std::size_t i) const noexcept { return layers_[i]; }

 private:
  SequenceCache(const SequenceCache& of, std::vector<LayerCache> layers)
      : shape_(of.shape_),
        asked_(of.asked_),
        spec_(of.spec_),
        layers_(std::move(layers)),
        budget_(of.budget_) {}
  void resolve(std::size_t tokens);  // the spec, for a prompt of so many tokens
  void spend_budget();               // all layers are packed

  CacheShape shape_;
  CacheSpec asked_;
  CacheSpec spec_;
  std::vector<LayerCache> layers_;
  ChannelBudget budget_;
  // Of a budgeted spec, until the prompt is compressed.
  AllocationCounter* counter_ = nullptr;
  const LayerStores* stores_ = nullptr;
  std::size_t packed_ = 0;  // layers
};

// At most so many rows of one layer's latest queries are kept after `queries` of them came, for evicting
// again.
[[nodiscard]] std::size_t query_ring_rows(const CacheSpec& spec, std::size_t queries);

// The report of a cache that has just compressed a prompt of `tokens` tokens, by arithmetic alone.
[[nodiscard]] CacheReport estimate_cache(const CacheShape& shape, const CacheSpec& spec, std::size_t tokens,
                                         const LayerStores& stores = default_stores());

}  // namespace thinkey
