// Bits for each head's keys and values (`turbo:B%`): one budget of bytes, spent where the expected error in
// the attention's output, measured on the prompt itself, falls most (docs/methods.md).
#pragma once

#include <cstddef>
#include <vector>

#include "backend/layer_store.h"
#include "cache/cache_shape.h"
#include "thinkey/cache_spec.h"

namespace thinkey {

// The formats of one head's thin segment.
struct LevelChoice {
  ElementFormat keys = ElementFormat::L1, values = ElementFormat::L1;
  bool operator==(const LevelChoice&) const = default;
};

// The spec for a prompt of so many tokens: a budget in bytes becomes a share of the full cache, `auto` the
// stages it stands for. Other specs stay. Error(Usage) where a number of bytes cannot hold the prompt; a
// share that cannot (of a prompt of little more than the tokens that stay whole) is taken to be what 1 bit
// takes, as least_bytes() says.
[[nodiscard]] CacheSpec resolved_spec(const CacheSpec& spec, const CacheShape& shape, std::size_t tokens,
                                      const LayerStores& stores);

// The fewest bytes of a compressed prompt under this budget's stages: 1 bit for all that is not whole.
[[nodiscard]] std::size_t least_bytes(const CacheSpec& spec, const CacheShape& shape, std::size_t tokens,
                                      const LayerStores& stores);

// What a budget is of `full` bytes of f16.
[[nodiscard]] std::size_t budget_bytes(const TurboSpec& turbo, std::size_t full) noexcept;

// Levels that take at least half as much again as the budget: what layers are packed in until the last one
// is there, and the most that a head may get. 1 to 6 or 8 bits.
[[nodiscard]] std::size_t interim_bits(const CacheSpec& spec) noexcept;

// `auto`: from the first share of full f16 on everything stays in 16 bits; below the second tokens are
// evicted, ranked by so many neighbours together, until those that stay have the third for themselves
// (docs/methods.md).
inline constexpr double kAutoWhole = 104.0;
inline constexpr double kAutoEvicts = 18.0;
inline constexpr double kAutoDense = 22.0;
inline constexpr std::size_t kAutoChunk = 10;

// A head that waits for its formats.
struct LevelHead {
  NoiseCosts costs;  // relative to the layer's residual stream
  HeadSizes sizes;   // right after pack()
};

// Formats of heads[layer][head], at most `most` bits, so that all of them together take at most `bytes` (or 1
// bit each, where that is more).
[[nodiscard]] std::vector<std::vector<LevelChoice>> allocate_levels(
    const CacheShape& shape, const LayerStores& stores, const std::vector<StoreFormat>& formats,
    const std::vector<std::vector<LevelHead>>& heads, std::size_t most, std::size_t bytes);

}  // namespace thinkey
