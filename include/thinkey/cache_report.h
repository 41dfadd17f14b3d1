// What a cache holds and what it costs; bytes are those allocated.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace thinkey {

struct LayerCacheReport {
  double tokens_kept = 0.0;          // mean over KV heads, recent tokens included
  double channels_kept = 0.0;        // key channels of the thin segment, mean over KV heads
  double value_channels_kept = 0.0;  // likewise
  std::size_t bytes = 0;             // allocated for this layer
  std::size_t full_bytes = 0;        // whole keys and values of the tokens it can see, in f16
  std::size_t sliding_window = 0;    // it can see, and holds, the latest so many tokens; 0: all
};

struct CacheReport {
  std::string spec;             // canonical
  std::size_t tokens_seen = 0;  // prompt and generated
  std::size_t head_dim = 0;     // D
  std::vector<LayerCacheReport> layers;
  std::size_t bytes = 0;       // sum over layers
  std::size_t full_bytes = 0;  // sum over layers: 2 * 2 * Hkv * D * min(T, window) each

  [[nodiscard]] double share_of_full() const noexcept {
    return full_bytes == 0 ? 0.0 : static_cast<double>(bytes) / static_cast<double>(full_bytes);
  }
};

}  // namespace thinkey
