// Phi-3, Phi-3.5, Phi-4 and Phi-4-mini: fused matrices, LongRoPE, part of each head rotated.
#include "model/families/families.h"

namespace thinkey::family {

void phi3(SpecReader& r) {
  r.common({.context_length = 4096, .epsilon = 1e-5});
  r.spec.layout.fused_qkv = !r.gguf() || r.has_tensor("blk.0.attn_qkv.weight");
  r.spec.layout.fused_gate_up = true;
  if (!r.gguf()) (void)r.number({"", "original_max_position_embeddings"});
  r.rope(RopePairs::HalfSplit);
  const std::optional<std::int64_t> window = r.integer({"attention.sliding_window", "sliding_window"});
  r.windows(window, [&](std::size_t) { return window.value_or(0) > 0; });
  // A window as long as the context is none; llama.cpp's converter writes it.
  for (LayerSpec& layer : r.spec.layers) {
    std::size_t& w = layer.attention.shape.sliding_window;
    if (w >= r.spec.context_length) w = 0;
  }
}

}  // namespace thinkey::family
