// What a cache spec means for each layer. A layer with a sliding window holds what its window shows and no
// more; where others see everything, budgets and pruned channels are theirs alone, and windowed layers are
// only quantized. Where every layer has a window they are evicted and pruned like others.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/layer_store.h"
#include "cache/cache_shape.h"
#include "thinkey/cache_spec.h"

namespace thinkey {

struct LayerCompression {
  CacheSpec spec;         // the layer's own
  std::size_t index = 0;  // among the layers that are evicted and pruned, of
  std::size_t count = 1;  // so many; PyramidKV's budgets and adaptive channels are spread over them
};

[[nodiscard]] std::vector<LayerCompression> compression_of_layers(const CacheShape& shape,
                                                                  const CacheSpec& spec);
// How many layers are evicted and pruned.
[[nodiscard]] std::size_t compressed_layers(const CacheShape& shape) noexcept;

// Levels of 1 to 6 or 8 bits.
[[nodiscard]] ElementFormat level_format(std::size_t bits) noexcept;

// Queries that weigh the noise of heads for a budget.
inline constexpr std::size_t kNoiseWindow = 16;

// Of `tokens` tokens, those that a layer may hold: its window's.
[[nodiscard]] std::size_t tokens_in_reach(const AttentionShape& shape, std::size_t tokens) noexcept;

// Keys and values of the tokens in reach, in 16 bits.
[[nodiscard]] std::size_t full_f16_bytes(const AttentionShape& shape, std::size_t tokens) noexcept;

[[nodiscard]] StoreFormat store_format(const CacheSpec& spec);

}  // namespace thinkey
