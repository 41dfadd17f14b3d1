// Gemma 2 and Gemma 3 (text): norms before and after each half, windows in most layers, scaled embeddings.
#include <cmath>

#include "model/families/families.h"

namespace thinkey::family {
namespace {

void shared(SpecReader& r) {
  ModelSpec& spec = r.spec;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.width));
  spec.layout.norm_offset = r.gguf() ? 0.0F : 1.0F;  // the converter has added it
  spec.layout.renamed = {{"post_attention_layernorm.weight", "pre_feedforward_layernorm.weight"},
                         {"post_self_attn_layernorm.weight", "post_attention_layernorm.weight"},
                         {"post_mlp_layernorm.weight", "post_feedforward_layernorm.weight"}};
  r.biases(false, true);
  r.require_equal({"", "use_bidirectional_attention"}, false);
  spec.logit_softcap =
      static_cast<float>(r.number({"final_logit_softcapping", "final_logit_softcapping"}).value_or(0));
  const double softcap = r.number({"attn_logit_softcapping", "attn_logit_softcapping"}).value_or(0);
  // GGUF has no key for the scale; the largest models' differs from the usual one.
  double scale = 0;
  if (const auto scalar = r.number({"", "query_pre_attn_scalar"})) {
    if (*scalar <= 0) r.fail({"", "query_pre_attn_scalar"}, "is not a positive number");
    scale = 1.0 / std::sqrt(*scalar);
  }
  for (LayerSpec& layer : spec.layers) {
    layer.attention.shape.softcap = static_cast<float>(softcap);
    layer.attention.shape.scale = static_cast<float>(scale);
    layer.attention_post_norm = layer.feed_forward_post_norm = true;
    layer.feed_forward.activation = Activation::GeluTanh;
  }
}

void scale_by_width(SpecReader& r) {
  const float scale =
      1.0F / std::sqrt(static_cast<float>(r.spec.width) / static_cast<float>(r.spec.heads().query_heads));
  for (LayerSpec& layer : r.spec.layers) layer.attention.shape.scale = scale;
}

}  // namespace

void gemma2(SpecReader& r) {
  r.common({.context_length = 8192,
            .kv_heads = 4,
            .head_dim = 256,
            .tied = true,
            .activation = "gelu_pytorch_tanh"});
  shared(r);
  if (!r.gguf() && !r.config().json().contains("attn_logit_softcapping")) {
    for (LayerSpec& layer : r.spec.layers) layer.attention.shape.softcap = 50.0F;
  }
  if (!r.gguf() && !r.config().json().contains("final_logit_softcapping")) r.spec.logit_softcap = 30.0F;
  if (r.gguf() && r.spec.layers.size() == 46) scale_by_width(r);  // 27B
  r.rope(RopePairs::HalfSplit);
  r.same_base_everywhere();
  r.windows(r.integer({"attention.sliding_window", "sliding_window"}).value_or(4096),
            [](std::size_t i) { return i % 2 == 0; });
}

void gemma3(SpecReader& r) {
  r.common({.context_length = 131072,
            .kv_heads = 4,
            .head_dim = 256,
            .tied = true,
            .activation = "gelu_pytorch_tanh"});
  shared(r);
  if (r.gguf() && r.spec.layers.size() == 62) scale_by_width(r);  // 27B
  for (LayerSpec& layer : r.spec.layers) layer.attention.qk_norm = QkNorm::PerHead;
  // Five layers with a window, one without; each kind has its own angles.
  const std::int64_t period = r.integer({"", "sliding_window_pattern"})
                                  .value_or(r.integer({"", "_sliding_window_pattern"}).value_or(6));
  if (period < 1) r.fail({"", "sliding_window_pattern"}, "is not positive");
  std::optional<std::int64_t> window = r.integer({"attention.sliding_window", "sliding_window"});
  if (!r.gguf() && !window) window = 4096;
  const std::vector<bool> slides = r.windows(window, [&](std::size_t i) {
    return window.value_or(0) > 0 && static_cast<std::int64_t>(i + 1) % period != 0;
  });
  r.rope(RopePairs::HalfSplit, {.theta = 1e6});
  r.rope(RopePairs::HalfSplit, {.theta = 10000.0,
                                .layer_type = "sliding_attention",
                                .theta_key = {"rope.freq_base_swa", "rope_local_base_freq"},
                                .scaled = false});
  for (std::size_t i = 0; i < slides.size(); ++i) r.spec.layers[i].attention.rope = slides[i] ? 1 : 0;
}

}  // namespace thinkey::family
