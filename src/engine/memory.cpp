#include "engine/memory.h"

#include <utility>

#include "base/fail.h"
#include "base/half.h"
#include "cache/sequence_cache.h"

namespace thinkey {
namespace {

// 16-bit keys and values of all layers.
std::size_t whole_tokens_bytes(const Network& network, std::size_t tokens) noexcept {
  return 2 * sizeof(f16_bits) * network.layers.size() * network.kv_width() * tokens;
}

// Of the latest queries, which specs that evict again keep in f32.
std::size_t query_ring_bytes(const Network& network, const CacheSpec& spec, std::size_t queries) noexcept {
  return network.layers.size() * network.query_width() * sizeof(float) * query_ring_rows(spec, queries);
}

MemoryEstimate bytes(const Decoder& decoder, const SequenceCache& cache, std::size_t tokens, bool all_logits,
                     std::vector<Replay> replays = {}) {
  const SequenceCache* const caches[] = {&cache};
  PrefillOutputs outputs;
  outputs.replays = std::move(replays);
  if (all_logits) outputs.logits = [](std::size_t, std::span<const float>) {};
  const PassBytes pass =
      decoder.backend.pass_bytes(decoder.network, prefill_request(decoder, tokens, caches, outputs));
  return {
      .hidden_states = pass.hidden_states, .layer_kv = pass.layer_kv, .scratch = pass.scratch, .cache = 0};
}

double mebibytes(std::size_t bytes) { return static_cast<double>(bytes) / (1024.0 * 1024.0); }

}  // namespace

MemoryEstimate estimate_memory(const Decoder& decoder, const CacheShape& shape, const CacheSpec& spec,
                               std::size_t prompt, std::size_t generate, bool all_logits,
                               std::vector<Replay> replays) {
  const SequenceCache cache(shape, spec);  // empty, it knows what it will ask for
  MemoryEstimate out = bytes(decoder, cache, prompt, all_logits, std::move(replays));
  out.cache = estimate_cache(shape, spec, prompt).bytes + whole_tokens_bytes(decoder.network, generate);
  if (generate > 0) out.cache += query_ring_bytes(decoder.network, spec, generate);
  return out;
}

std::size_t decode_bytes(const Decoder& decoder) {
  const PassBytes pass = decoder.backend.pass_bytes(decoder.network, decode_request(decoder, 1));
  return pass.hidden_states + pass.layer_kv + pass.scratch;
}

MemoryEstimate estimate_turn_memory(const Decoder& decoder, const SequenceCache& cache, std::size_t tokens,
                                    bool all_logits) {
  MemoryEstimate out = bytes(decoder, cache, tokens, all_logits);
  out.cache =
      whole_tokens_bytes(decoder.network, tokens) + query_ring_bytes(decoder.network, cache.spec(), tokens);
  return out;
}

void check_memory(const MemoryEstimate& needed, std::size_t available, std::size_t tokens) {
  if (available == 0 || needed.total() <= available) return;
  fail_data(
      "a prompt of {} tokens needs {:.1f} MiB beside the weights (hidden states {:.1f}, one layer's keys and "
      "values {:.1f}, scratch {:.1f}, cache {:.1f}) but {:.1f} MiB are available; shorten the prompt, "
      "compress the cache more, or use a machine with more memory",
      tokens, mebibytes(needed.total()), mebibytes(needed.hidden_states), mebibytes(needed.layer_kv),
      mebibytes(needed.scratch), mebibytes(needed.cache), mebibytes(available));
}

}  // namespace thinkey
