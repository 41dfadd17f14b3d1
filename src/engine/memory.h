// What a call will allocate, reckoned before it starts, and the refusal when that is too much.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "model/forward.h"
#include "thinkey/cache_spec.h"
#include "thinkey/model.h"

namespace thinkey {

// Prefill of `prompt` tokens into an empty cache and `generate` tokens after it. The first three
// items are exactly the forward pass's own buffers; the cache is an estimate. `replays`: those of the
// prefill.
[[nodiscard]] MemoryEstimate estimate_memory(const Decoder& decoder, const CacheShape& shape,
                                             const CacheSpec& spec, std::size_t prompt, std::size_t generate,
                                             bool all_logits = false, std::vector<Replay> replays = {});

// The buffers of decode for one sequence.
[[nodiscard]] std::size_t decode_bytes(const Decoder& decoder);

// A later turn of `tokens` tokens: they are appended whole.
[[nodiscard]] MemoryEstimate estimate_turn_memory(const Decoder& decoder, const SequenceCache& cache,
                                                  std::size_t tokens, bool all_logits);

// Error(Data) naming both numbers and the remedy when `needed` exceeds `available` bytes; 0 available
// means unknown and passes.
void check_memory(const MemoryEstimate& needed, std::size_t available, std::size_t tokens);

}  // namespace thinkey
