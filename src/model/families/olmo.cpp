// OLMo 2 and OLMo 3: norms after each half instead of before, one norm over all of Q and one over all of K.
#include "model/families/families.h"

namespace thinkey::family {
namespace {

void shared(SpecReader& r) {
  r.biases(false, true);
  r.spec.layout.renamed = {{"post_self_attn_layernorm.weight", "post_attention_layernorm.weight"},
                           {"post_mlp_layernorm.weight", "post_feedforward_layernorm.weight"}};
  for (LayerSpec& layer : r.spec.layers) {
    layer.attention.qk_norm = QkNorm::Whole;
    layer.attention_norm = layer.feed_forward_norm = false;
    layer.attention_post_norm = layer.feed_forward_post_norm = true;
  }
}

// Layers with a window keep the angles they were trained with.
void windows(SpecReader& r) {
  std::optional<std::int64_t> window = r.integer({"attention.sliding_window", "sliding_window"});
  if (!r.gguf() && !window) window = 4096;
  const std::vector<bool> slides =
      r.windows(window, [&](std::size_t i) { return window.value_or(0) > 0 && (i + 1) % 4 != 0; });
  r.rope(RopePairs::HalfSplit, {.theta = 500000.0});
  r.rope(RopePairs::HalfSplit, {.theta = r.spec.ropes.front().theta,
                                .layer_type = "sliding_attention",
                                .theta_key = {"rope.freq_base_swa", "rope_theta"},
                                .scaled = false});
  for (std::size_t i = 0; i < slides.size(); ++i) r.spec.layers[i].attention.rope = slides[i] ? 1 : 0;
}

}  // namespace

void olmo2(SpecReader& r) {
  r.common({.context_length = 2048, .epsilon = 1e-5});
  shared(r);
  if (r.gguf()) {
    windows(r);
  } else {
    r.rope(RopePairs::HalfSplit);
  }
}

void olmo3(SpecReader& r) {
  r.common({.context_length = 2048, .epsilon = 1e-5});
  shared(r);
  windows(r);
}

}  // namespace thinkey::family
