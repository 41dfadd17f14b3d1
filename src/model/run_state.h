// Everything the forward pass writes to beside the caches, each buffer with its shape, and how many
// bytes that takes. In the shapes: T tokens of this call, C = min(T, chunk), S the observation
// window; the rest as in weights.h.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "model/weights.h"
#include "ops/matmul.h"
#include "ops/rope.h"
#include "thinkey/model.h"

namespace thinkey {

// At most this many rows are multiplied straight from the file's type (matvec.h); more are worth
// widening the weights for.
inline constexpr std::size_t kFewRows = 8;

// Number of elements of each buffer of PrefillState, known before anything is allocated.
struct PrefillSizes {
  std::size_t hidden = 0, key = 0, value = 0;
  std::size_t normed = 0, query = 0, attended = 0, key_rows = 0, value_rows = 0, observed = 0;
  std::size_t past = 0, lse = 0, past_lse = 0;
  std::size_t gate = 0, up = 0, projected = 0;
  std::size_t half_rows = 0, widened_f32 = 0, widened_bf16 = 0;
  std::size_t logits = 0;
  std::size_t angles = 0;

  std::size_t output_rows = 0;   // tokens per chunk of all-position logits
  std::size_t output_block = 0;  // vocabulary entries widened at a time for them
};

struct PrefillRequest {
  std::size_t tokens = 0;       // T
  std::size_t chunk = 512;      // tokens per product
  std::size_t observation = 0;  // SequenceCache::observed_queries()
  bool has_past = false;        // the cache is not empty
  bool observes_all = false;    // SequenceCache::observes_all_queries()
  bool all_logits = false;      // logits of every token, not only of the last
  Precision precision = Precision::F32;
};

[[nodiscard]] PrefillSizes prefill_sizes(const Config& config, const Weights& weights,
                                         const PrefillRequest& request);

// Bytes of a PrefillState of these sizes (cache = 0).
[[nodiscard]] MemoryEstimate prefill_bytes(const PrefillSizes& sizes) noexcept;

// True when products of this precision must copy the matrix to another type first.
[[nodiscard]] bool needs_widening(const MatrixView& matrix, Precision precision, std::size_t rows) noexcept;

// First token of the prompt whose query (whose attention, FFN and logits) a layer has to compute.
struct LayerExtent {
  std::size_t first_query = 0;
  std::size_t first_output = 0;
};
[[nodiscard]] LayerExtent layer_extent(const Config& config, const PrefillRequest& request,
                                       std::size_t layer) noexcept;

struct PrefillState {
  PrefillState(const Config& config, const PrefillRequest& request, const PrefillSizes& sizes,
               std::size_t past, AllocationCounter* counter);

  AlignedBuffer<float> hidden;  // [T, d], the residual stream

  // One layer's whole keys and values, after RoPE.
  AlignedBuffer<float> key;    // [Hkv, T, D]
  AlignedBuffer<float> value;  // [Hkv, T, D]

  // Attention of a chunk.
  AlignedBuffer<float> normed;      // [C, d]
  AlignedBuffer<float> query;       // [C, H, D]
  AlignedBuffer<float> attended;    // [C, H, D]
  AlignedBuffer<float> key_rows;    // [C, Hkv, D], on their way to `key` or to the cache
  AlignedBuffer<float> value_rows;  // [C, Hkv, D]
  AlignedBuffer<float> observed;    // [min(T, S), H, D], the last queries of the layer

  AlignedBuffer<float> lse;  // [C, H], log-sum-exp of the chunk's logits; later turns and H2O only

  // Attention of a later turn's chunk to the cache.
  AlignedBuffer<float> past;      // [C, H, D]
  AlignedBuffer<float> past_lse;  // [C, H]

  // FFN of a chunk.
  AlignedBuffer<float> gate;  // [C, F]
  AlignedBuffer<float> up;    // [C, F]

  // Operands of the matrix products.
  AlignedBuffer<float> projected;         // [kFewRows, d], before it is added to `hidden`
  AlignedBuffer<bf16_bits> half_rows;     // [C, max(d, H*D, F)], a chunk's activations; bf16 products only
  AlignedBuffer<float> widened_f32;       // one phase's weights (attention or FFN); f32 products only
  AlignedBuffer<bf16_bits> widened_bf16;  // the same; bf16 products only

  AlignedBuffer<float> logits;  // [output_rows, V], all-position logits only

  std::vector<RopeAngles> angles;  // per chunk: its positions' cosines and sines, [D/2] each
};

// Buffers of decode for up to B sequences, allocated once.
struct DecodeState {
  DecodeState(const Config& config, std::size_t batch, AllocationCounter* counter = nullptr);
  [[nodiscard]] static std::size_t bytes(const Config& config, std::size_t batch) noexcept;

  AlignedBuffer<float> hidden;     // [B, d]
  AlignedBuffer<float> normed;     // [B, d]
  AlignedBuffer<float> query;      // [B, H, D]
  AlignedBuffer<float> key;        // [B, Hkv, D]
  AlignedBuffer<float> value;      // [B, Hkv, D]
  AlignedBuffer<float> attended;   // [B, H, D]
  AlignedBuffer<float> projected;  // [B, d]
  AlignedBuffer<float> gate;       // [B, F]
  AlignedBuffer<float> up;         // [B, F]
  AlignedBuffer<float> logits;     // [B, V]
  std::vector<RopeAngles> angles;  // [B]
};

}  // namespace thinkey
