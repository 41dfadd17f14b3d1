// Causal attention of a chunk of prompt queries over one layer's whole keys and values:
// tiles with online softmax (FlashAttention, 2205.14135), products through matmul.h.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/attention_shape.h"
#include "base/half.h"

namespace thinkey {

struct PrefillAttention {
  AttentionShape shape;
  std::size_t queries = 0;       // n, the chunk's tokens
  std::size_t keys = 0;          // T so far, the chunk included: query i sees keys 0 .. T - n + i
  std::size_t key_capacity = 0;  // tokens between two heads in k and v
  // A part of the work, for who must not wait long: of a chunk of one tile, at most `steps` steps of 512 keys
  // after the first `begin`. Between two parts `state` [n, H, 2] and out are kept as they are; what comes out
  // of the last part is bit by bit what one call gives. null: all of it.
  float* state = nullptr;
  std::size_t begin = 0, steps = 0;
};

// q [n, H, D] and out [n, H, D] f32, k and v [Hkv, key_capacity, D] (first `keys` tokens read); logits are
// scaled and capped inside, sinks are left to apply_sinks(). The type of k and v is that of the products
// (accumulation is f32 in both). lse, if not null, receives [n, H]: log of the sum of exp(logits), for
// merging with attention over other keys (flash-decoding's merge). Parallel over KV heads and query tiles;
// tiles entirely in the future or outside the window are skipped. The result is the same from run to run at a
// given number of threads. Memory: some 1.3 MiB per thread, kept (D = 128). True when a part was asked for
// and another is left. Error(Usage) when the sizes do not fit together.
bool prefill_attention(const PrefillAttention& chunk, const float* q, const float* k, const float* v,
                       float* out, float* lse = nullptr);
// Queries of a tile: a chunk that is cut at multiples of it gives, bit by bit, what it gives whole.
[[nodiscard]] std::size_t prefill_attention_tile(const AttentionShape& shape) noexcept;
inline constexpr std::size_t kPrefillAttentionKeys = 512;  // of a step
bool prefill_attention(const PrefillAttention& chunk, const float* q, const bf16_bits* k, const bf16_bits* v,
                       float* out, float* lse = nullptr);

}  // namespace thinkey
