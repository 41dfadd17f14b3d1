// Ministral 3: YaRN, and queries scaled by their position.
#include "model/families/families.h"

namespace thinkey::family {

void ministral3(SpecReader& r) {
  r.common({.context_length = 262144, .kv_heads = 8, .head_dim = 128, .epsilon = 1e-5});
  r.biases(false, false);
  r.rope(r.gguf() ? RopePairs::Interleaved : RopePairs::HalfSplit, {.theta = 1e6});
  const std::optional<std::int64_t> window = r.integer({"attention.sliding_window", "sliding_window"});
  r.windows(window, [&](std::size_t) { return window.value_or(0) > 0; });

  double beta = 0;
  double every = 0;
  if (r.gguf()) {
    beta = r.number({"attention.temperature_scale", ""}).value_or(0);
    every = r.number({"rope.scaling.original_context_length", ""}).value_or(0);
  } else {
    auto parameters = r.config().object("rope_parameters");
    if (!parameters) parameters = r.config().object("rope_scaling");
    if (!parameters) r.config().fail("rope_parameters", "is missing");
    beta = parameters->number("llama_4_scaling_beta").value_or(0);
    every = parameters->number("original_max_position_embeddings").value_or(0);
    parameters->ignore("max_position_embeddings");  // the top level's again
  }
  if (beta == 0) return;
  if (every < 1) {
    r.fail({"rope.scaling.original_context_length", "rope_parameters"},
           "lacks the original context, by which queries are scaled");
  }
  for (LayerSpec& layer : r.spec.layers) {
    layer.attention.position_beta = static_cast<float>(beta);
    layer.attention.position_every = static_cast<float>(every);
  }
}

}  // namespace thinkey::family
