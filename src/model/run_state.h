// Everything the forward pass writes to beside the caches, and how many bytes that takes. In the
// shapes: T tokens of this call, C = min(T, chunk), S the observation window; the rest as in weights.h.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "cache/token_rows.h"
#include "model/hidden_states.h"
#include "model/weight_form.h"
#include "model/weights.h"
#include "ops/matmul.h"
#include "ops/rope.h"
#include "thinkey/model.h"

namespace thinkey {

struct PrefillRequest {
  std::size_t tokens = 0;       // T
  std::size_t chunk = 512;      // tokens per product
  std::size_t observation = 0;  // SequenceCache::observed_queries()
  bool has_past = false;        // the cache is not empty
  bool observes_all = false;    // SequenceCache::observes_all_queries()
  bool all_queries = false;     // a PrefillObserver wants every query of every layer
  bool all_logits = false;      // logits of every token, not only of the last
  Precision precision = Precision::F32;
  ActivationPrecision activations = ActivationPrecision::F32;  // where the weights are quantized
};

// What a phase's products need beside their results; see chunk_products.h.
struct ProductSizes {
  std::size_t weight_bytes = 0;     // of the weights brought into another form at the same time
  bool bf16 = false, int8 = false;  // forms that activations are brought into
};

// How a prefill's work is cut, and what it takes; known before anything is allocated.
struct PrefillSizes {
  std::size_t chunk = 0;  // C
  // The FFN runs for this many tokens through this many of its F inner channels at a time: few enough
  // weights are wide at once, and they are widened once for many tokens.
  std::size_t ffn_rows = 0, ffn_block = 0;
  std::size_t output_rows = 0;   // tokens per chunk of all-position logits
  std::size_t output_block = 0;  // vocabulary entries widened at a time for them

  ProductSizes attention, feed_forward, output;
  bool normed_bf16 = false;  // the FFN's normed rows are kept in bf16

  std::size_t hidden_bytes = 0;   // of the hidden states
  std::size_t kv = 0;             // elements of one layer's keys, and of its values
  std::size_t kv_bytes = 0;       // of one element
  std::size_t scratch_bytes = 0;  // of the phases, which take turns in it
  std::size_t angles = 0;         // elements, f32
};

[[nodiscard]] PrefillSizes prefill_sizes(const Config& config, const Weights& weights,
                                         const PrefillRequest& request);

// Bytes of a PrefillState of these sizes (cache = 0).
[[nodiscard]] MemoryEstimate prefill_bytes(const PrefillSizes& sizes) noexcept;

// First token of the prompt whose query (whose attention, FFN and logits) a layer has to compute.
struct LayerExtent {
  std::size_t first_query = 0;
  std::size_t first_output = 0;
};
[[nodiscard]] LayerExtent layer_extent(const Config& config, const PrefillRequest& request,
                                       std::size_t layer) noexcept;

// Where the products of a phase put their operands; see chunk_products.h.
struct ProductScratch {
  std::byte* weights = nullptr;  // [weight_bytes]
  std::size_t weight_bytes = 0;
  bf16_bits* bf16_rows = nullptr;  // [C, width], a chunk's activations
  std::byte* int8_rows = nullptr;  // the same as Int8Activations
};

struct AttentionScratch {
  float* normed = nullptr;                           // [C, d]
  float* attended = nullptr;                         // [C, H, D], where `normed` was
  float* query = nullptr;                            // [C, H, D]
  float *key_rows = nullptr, *value_rows = nullptr;  // [C, Hkv, D], where the queries will be
  float* projected = nullptr;                        // [C, d], where they were
  float* observed = nullptr;                         // [min(T, S), H, D], the layer's last queries
  float* lse = nullptr;                              // [C, H]; later turns and H2O only
  float *past = nullptr, *past_lse = nullptr;        // [C, H, D], [C, H]; later turns only
  ProductScratch products;
};

struct FeedForwardScratch {
  float* normed = nullptr;               // [ffn_rows, d]; [kFewRows, d] when kept in bf16
  bf16_bits* half_normed = nullptr;      // [ffn_rows, d], when kept in bf16
  float *gate = nullptr, *up = nullptr;  // [C, ffn_block]
  float* rows = nullptr;                 // [C, d], where `up` is: hidden states before it, `down` after it
  ProductScratch products;
};

struct LogitsScratch {
  float* normed = nullptr;  // [output_rows, d]
  float* logits = nullptr;  // [output_rows, V], all-position logits only
  ProductScratch products;
};

// Memory of one prefill. The three scratches lie over each other: a phase overwrites the others'.
class PrefillState {
 public:
  PrefillState(const Config& config, const PrefillRequest& request, const PrefillSizes& sizes,
               AllocationCounter* counter);

  HiddenStates hidden;  // [T, d]

  // One layer's whole keys and values [Hkv, T, D], after RoPE, in the type of the products.
  AlignedBuffer<float> key_f32, value_f32;
  AlignedBuffer<bf16_bits> key_bf16, value_bf16;

  AttentionScratch attention;
  FeedForwardScratch feed_forward;
  LogitsScratch logits;

  RopeAngles angles;  // of a chunk's positions

  [[nodiscard]] TokenRows key() const noexcept { return rows(key_f32, key_bf16); }
  [[nodiscard]] TokenRows value() const noexcept { return rows(value_f32, value_bf16); }

 private:
  static TokenRows rows(const AlignedBuffer<float>& f32, const AlignedBuffer<bf16_bits>& bf16) noexcept {
    return f32.size() > 0 ? TokenRows(f32.data()) : TokenRows(bf16.data());
  }

  AlignedBuffer<std::byte> scratch_;
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
