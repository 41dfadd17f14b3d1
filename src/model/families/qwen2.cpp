// Qwen2, Qwen2.5 and their coders: biases on Q, K and V.
#include "model/families/families.h"

namespace thinkey::family {

void qwen2(SpecReader& r) {
  r.common({.context_length = 32768, .kv_heads = 32});
  r.biases(true, false);
  r.spec.layout.qkv_bias = true;
  r.rope(RopePairs::HalfSplit);
  // The last layers may slide (use_sliding_window); converters leave that out.
  const bool slides = r.boolean({"", "use_sliding_window"}).value_or(false);
  const std::int64_t whole = r.integer({"", "max_window_layers"}).value_or(28);
  std::optional<std::int64_t> window = r.integer({"attention.sliding_window", "sliding_window"});
  if (!r.gguf() && !slides) window.reset();
  r.windows(window, [&](std::size_t i) { return slides && window && static_cast<std::int64_t>(i) >= whole; });
}

}  // namespace thinkey::family
