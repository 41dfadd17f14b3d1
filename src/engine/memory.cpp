#include "engine/memory.h"

#include "base/fail.h"
#include "cache/sequence_cache.h"

namespace thinkey {
namespace {

// 16-bit keys and values of all layers.
std::size_t whole_tokens_bytes(const Config& config, std::int64_t tokens) noexcept {
  const std::int64_t elements = 2 * config.layers * config.kv_heads * config.head_dim;
  return static_cast<std::size_t>(elements * tokens) * sizeof(f16_bits);
}

// Of the latest queries, which specs that evict again keep in f32.
std::size_t query_ring_bytes(const Config& config, const CacheSpec& spec, std::int64_t queries) noexcept {
  return static_cast<std::size_t>(config.layers * config.query_heads * config.head_dim) * sizeof(float) *
         query_ring_rows(spec, static_cast<std::size_t>(queries));
}

PrefillRequest request(const Decoder& decoder, std::int64_t tokens, bool all_logits) {
  return {.tokens = static_cast<std::size_t>(tokens),
          .chunk = decoder.chunk,
          .observation = 0,
          .has_past = false,
          .all_logits = all_logits,
          .precision = decoder.precision,
          .activations = decoder.prefill_activations};
}

MemoryEstimate bytes(const Decoder& decoder, const PrefillRequest& request) {
  return prefill_bytes(prefill_sizes(decoder.config, decoder.weights, request));
}

double mebibytes(std::size_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

}  // namespace

MemoryEstimate estimate_memory(const Decoder& decoder, const CacheSpec& spec, std::int64_t prompt,
                               std::int64_t generate, bool all_logits) {
  PrefillRequest r = request(decoder, prompt, all_logits);
  const CacheShape shape = cache_shape(decoder.config);
  const SequenceCache cache(shape, spec);  // empty, it knows what it will ask for
  r.observation = cache.observed_queries(false);
  r.observes_all = cache.observes_all_queries();
  MemoryEstimate out = bytes(decoder, r);
  out.cache = estimate_cache(shape, spec, prompt).bytes + whole_tokens_bytes(decoder.config, generate);
  if (generate > 0) out.cache += query_ring_bytes(decoder.config, spec, generate);
  return out;
}

MemoryEstimate estimate_turn_memory(const Decoder& decoder, const SequenceCache& cache, std::int64_t tokens,
                                    bool all_logits) {
  PrefillRequest r = request(decoder, tokens, all_logits);
  r.has_past = true;
  r.observation = cache.observed_queries(true);
  MemoryEstimate out = bytes(decoder, r);
  out.cache =
      whole_tokens_bytes(decoder.config, tokens) + query_ring_bytes(decoder.config, cache.spec(), tokens);
  return out;
}

void check_memory(const MemoryEstimate& needed, std::size_t available, std::int64_t tokens) {
  if (available == 0 || needed.total() <= available) return;
  fail_data(
      "a prompt of {} tokens needs {:.1f} MiB beside the weights (hidden states {:.1f}, one layer's keys and "
      "values {:.1f}, scratch {:.1f}, cache {:.1f}) but {:.1f} MiB are available; shorten the prompt, "
      "compress the cache more, or use a machine with more memory",
      tokens, mebibytes(needed.total()), mebibytes(needed.hidden_states), mebibytes(needed.layer_kv),
      mebibytes(needed.scratch), mebibytes(needed.cache), mebibytes(available));
}

}  // namespace thinkey
