// The forward pass of a Llama-family decoder: pre-norm attention with rotary positions and grouped
// KV heads, then SwiGLU. Prefill runs layer by layer over a whole prompt (prefill.cpp), decode token
// by token over all layers (decode.cpp). Both read and write the caches of src/cache.
//
// Errors are not checked here: ids must be inside the vocabulary, and the caller has made sure that
// the context and the memory suffice (src/engine/session.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "base/aligned_buffer.h"
#include "cache/sequence_cache.h"
#include "model/run_state.h"
#include "model/weights.h"
#include "ops/matmul.h"
#include "ops/matvec.h"

namespace thinkey {

// A model as the forward pass sees it; refers to what its owner keeps alive.
struct Decoder {
  const Config& config;
  const Weights& weights;
  Precision precision = Precision::F32;  // of prefill's attention, and of its products with weights
  std::size_t chunk = 512;               // prompt tokens per product
  // Of decode's and of prefill's products with quantized weights (weight_form.h).
  ActivationPrecision decode_activations = ActivationPrecision::F32;
  ActivationPrecision prefill_activations = ActivationPrecision::F32;
  bool check_finite = false;  // NonFiniteError as soon as a layer's hidden states are not finite
};

[[nodiscard]] CacheShape cache_shape(const Config& config) noexcept;

// A chunk of what one layer's attention works on, either queries or keys and values (the others are null);
// valid during the call.
struct AttentionInputs {
  std::size_t layer = 0;
  std::size_t first = 0, tokens = 0;  // the chunk's first token in the prompt, and n
  bool rotated = false;               // after RoPE
  const float* q = nullptr;           // [n, H, D]
  const float* k = nullptr;           // [n, Hkv, D]
  const float* v = nullptr;           // [n, Hkv, D]
};

// Watches a prefill into empty caches, for analyses. All queries of all layers are then computed.
class PrefillObserver {
 public:
  virtual ~PrefillObserver() = default;
  // Every chunk of a layer: keys and values before RoPE, then after, then queries likewise; in order.
  virtual void attention_inputs(const AttentionInputs& inputs) = 0;
  // Every cache has compressed the layer; the view holds at least the last `last_queries()` queries.
  virtual void compressed(std::size_t layer, const PromptView& prompt) = 0;
  [[nodiscard]] virtual std::size_t last_queries() const = 0;
};

struct PrefillOutputs {
  std::span<float> last_logits = {};                             // [V], of the last token
  std::function<void(double done, double total)> progress = {};  // may be empty; unit: multiply-adds
  std::function<void(std::int64_t, std::span<const float>)>
      logits;                            // may be empty; [V] for every token in order
  AllocationCounter* counter = nullptr;  // counts the run state
  PrefillObserver* observer = nullptr;   // empty caches only
};

// Runs `tokens` through the model, layer by layer, at the positions that follow those in the cache.
//
// Empty cache: every layer's keys and values are computed whole, attended to, and compressed by
// cache.compress_prompt() before the next layer starts, so one layer's are whole at a time.
// Otherwise (a later chat turn): queries attend to the cached past and to the turn's own keys, the
// two merged by their log-sum-exp, and the turn is appended to the cache layer by layer.
//
// The last layer computes queries and the FFN only for tokens whose results are asked for.
// An exception (from a callback, or of memory) leaves the cache with layers of unequal length.
//
// Several caches, all empty: the prompt runs once and each cache compresses it in its own way.
void prefill(const Decoder& decoder, std::span<const std::int32_t> tokens,
             std::span<SequenceCache* const> caches, const PrefillOutputs& outputs);
inline void prefill(const Decoder& decoder, std::span<const std::int32_t> tokens, SequenceCache& cache,
                    const PrefillOutputs& outputs) {
  SequenceCache* const one[] = {&cache};
  prefill(decoder, tokens, one, outputs);
}

// The next token of one sequence.
struct DecodeInput {
  std::int32_t token = 0;
  SequenceCache* cache = nullptr;
};

// Appends one token to each of B sequences, reading every weight once for all of them.
// state: made for at least B sequences; its logits [B, V] are the result.
void decode(const Decoder& decoder, std::span<const DecodeInput> batch, DecodeState& state);

}  // namespace thinkey
