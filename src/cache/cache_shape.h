// The attention of all layers of a model, as its cache sees it.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/attention_shape.h"

namespace thinkey {

// Layers share the numbers and size of heads; window, scale, soft cap and sinks are each layer's own.
struct CacheShape {
  std::vector<AttentionShape> layers;

  [[nodiscard]] static CacheShape uniform(std::size_t layers, const AttentionShape& layer) {
    return {std::vector<AttentionShape>(layers, layer)};
  }

  [[nodiscard]] std::size_t query_heads() const noexcept { return first().query_heads; }  // H
  [[nodiscard]] std::size_t kv_heads() const noexcept { return first().kv_heads; }        // Hkv
  [[nodiscard]] std::size_t head_dim() const noexcept { return first().head_dim; }        // D

  // Error(Usage) when a layer has no kernel, or heads differ between layers.
  void check() const {
    for (const AttentionShape& layer : layers) {
      layer.check();
      if (layer.query_heads != query_heads() || layer.kv_heads != kv_heads() ||
          layer.head_dim != head_dim()) {
        fail_usage("cache: layers with heads of different number or size are not supported");
      }
    }
  }

 private:
  [[nodiscard]] AttentionShape first() const noexcept {
    return layers.empty() ? AttentionShape{} : layers.front();
  }
};

}  // namespace thinkey
