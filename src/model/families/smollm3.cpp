// SmolLM3: every fourth layer knows no positions.
#include "model/families/families.h"

namespace thinkey::family {

void smollm3(SpecReader& r) {
  r.common({.context_length = 32768, .kv_heads = 4, .tied = true});
  r.biases(false, true);
  r.rope(r.gguf() ? RopePairs::Interleaved : RopePairs::HalfSplit, {.theta = 2e6});
  const std::int64_t interval = r.integer({"", "no_rope_layer_interval"}).value_or(4);
  if (interval < 1) r.fail({"", "no_rope_layer_interval"}, "is not positive");
  std::vector<std::int64_t> rotates;
  if (!r.gguf()) rotates = r.config().integers("no_rope_layers").value_or(rotates);
  if (!rotates.empty() && rotates.size() < r.spec.layers.size()) {
    r.fail({"", "no_rope_layers"}, "has fewer entries than there are layers");
  }
  for (std::size_t i = 0; i < r.spec.layers.size(); ++i) {
    const bool rotated = rotates.empty() ? static_cast<std::int64_t>(i + 1) % interval != 0 : rotates[i] != 0;
    if (!rotated) r.spec.layers[i].attention.rope = -1;
  }
  const bool slides = r.boolean({"", "use_sliding_window"}).value_or(false);
  std::optional<std::int64_t> window = r.integer({"attention.sliding_window", "sliding_window"});
  if (!r.gguf() && !slides) window.reset();
  r.windows(window, [&](std::size_t i) { return slides && window && r.spec.layers[i].attention.rope < 0; });
}

}  // namespace thinkey::family
