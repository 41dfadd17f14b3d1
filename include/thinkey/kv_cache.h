// The KV cache by itself, for programs that compute queries, keys and values themselves: a Session's cache
// without its model. One KvCache is one sequence.
//
// In the shapes: L layers, H query heads, Hkv KV heads (Hkv divides H), D head dimension, n tokens of a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "thinkey/cache_report.h"
#include "thinkey/cache_spec.h"

namespace thinkey {

struct KvLayer {
  std::optional<std::size_t> sliding_window;  // a query sees so many latest positions, its own included
  float scale = 0.0F;                         // of the logits q . k; 0: 1 / sqrt(D)
  float softcap = 0.0F;                       // logits x become cap * tanh(x / cap); 0: they do not
  bool sinks = false;  // a logit per query head joins the softmax; KvCache::set_sinks()
};

struct KvShape {
  std::size_t query_heads = 0;  // H
  std::size_t kv_heads = 0;     // Hkv
  std::size_t head_dim = 0;     // D, a multiple of 8 up to 512
  std::vector<KvLayer> layers;  // [L]
  // How keys and queries were rotated, which some policies undo (expected, compactor): the inverse
  // frequencies of the first R channels, [R/2]. Empty: they have no positions in them.
  std::vector<float> inverse_frequencies = {};
  bool interleaved = false;  // channel 2i turns with 2i + 1; else i with i + R/2
};

// One layer's n tokens, after RoPE, contiguous. Numbers must be finite.
struct KvTokens {
  std::size_t n = 0;
  const float* q = nullptr;  // [n, H, D]
  const float* k = nullptr;  // [Hkv, n, D]
  const float* v = nullptr;  // [Hkv, n, D]
};

class KvCache {
 public:
  // Error(Usage) for a shape or a spec that cannot be, and for policies that need the model itself (kvzip's
  // repetition, critical's W_o).
  KvCache(const KvShape& shape, const CacheSpec& spec);
  ~KvCache();
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;

  // [H]; before the layer's first tokens. Of all forks.
  void set_sinks(std::size_t layer, std::span<const float> sinks);

  // A layer sees n more tokens: each attends to what the cache holds and, causally, to those of the call;
  // out [n, H, D], or null where it is not wanted. A layer's first tokens are its prompt, which is compressed
  // by the spec; later ones are appended. For every call the layers come in order, 0 .. L-1.
  // Error(Usage) for a layer out of order, and for no tokens.
  void forward(std::size_t layer, const KvTokens& tokens, float* out);

  // One token of each of several sequences of one shape, whose layers all hold tokens: forward() with n = 1,
  // as one stage. q, out [B, H, D], k and v [B, Hkv, D].
  static void forward_together(std::span<KvCache* const> sequences, std::size_t layer, const float* q,
                               const float* k, const float* v, float* out);

  // Attention of n queries [n, H, D] that all stand at the position after the last, over what a layer holds;
  // nothing is stored.
  void attend(std::size_t layer, std::size_t n, const float* q, float* out) const;

  // The cache as it was after its first `tokens` tokens; what both hold is stored once, and they must be used
  // by one thread at a time. Always possible at the end, further back where nothing has been dropped since;
  // Error(Usage) elsewhere.
  [[nodiscard]] KvCache fork(std::size_t tokens) const;

  [[nodiscard]] std::size_t tokens_seen() const noexcept;  // by all layers
  // Of one KV head: positions held, ascending, and the key channels of its thin segment.
  [[nodiscard]] std::vector<std::int32_t> kept_tokens(std::size_t layer, std::size_t kv_head) const;
  [[nodiscard]] std::vector<std::int32_t> kept_channels(std::size_t layer, std::size_t kv_head) const;
  [[nodiscard]] CacheReport report() const;
  [[nodiscard]] std::size_t bytes_allocated() const noexcept;  // the allocator's count; of all forks together
  [[nodiscard]] const CacheSpec& spec() const noexcept;

 private:
  struct Impl;
  explicit KvCache(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace thinkey
