// How much memory a sequence can come to take: what a server reserves before it starts.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/layer_store.h"
#include "cache/cache_shape.h"
#include "thinkey/cache_spec.h"

namespace thinkey {

// No less than what a cache allocates for a prompt of `prompt` tokens (0: none) and `more` tokens appended to
// it one by one or in turns of which each runs in chunks of `chunk` tokens; by arithmetic alone. With 0 as
// `prompt` also of what appending to any cache of that spec adds to it, a fork included.
[[nodiscard]] std::size_t most_cache_bytes(const CacheShape& shape, const CacheSpec& spec, std::size_t prompt,
                                           std::size_t more, std::size_t chunk,
                                           const LayerStores& stores = default_stores());

}  // namespace thinkey
