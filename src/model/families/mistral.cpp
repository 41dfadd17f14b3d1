// Mistral 7B v0.1 (with its sliding window) to v0.3, Mistral Small, Mistral Nemo.
#include "model/families/families.h"

namespace thinkey::family {

void mistral(SpecReader& r) {
  r.common({.context_length = 131072, .kv_heads = 8});
  r.biases(false, false);
  r.rope(r.gguf() ? RopePairs::Interleaved : RopePairs::HalfSplit);
  const Key key{"attention.sliding_window", "sliding_window"};
  std::optional<std::int64_t> window = r.integer(key);
  if (!r.gguf() && !r.config().json().contains(key.hf)) window = 4096;
  const std::vector<bool> slides = r.windows(window, [&](std::size_t) { return window.value_or(0) > 0; });
  // transformers' Mistral takes the window for every layer, whatever layer_types says.
  for (const bool slide : slides) {
    if (slide != (window.value_or(0) > 0)) r.fail({key.gguf, "layer_types"}, "contradicts sliding_window");
  }
}

}  // namespace thinkey::family
