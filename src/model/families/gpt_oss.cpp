// gpt-oss: sinks in the softmax, every other layer with a window, experts with biases, YaRN.
#include <cmath>

#include "model/families/families.h"

namespace thinkey::family {

void gpt_oss(SpecReader& r) {
  r.common({.context_length = 131072, .kv_heads = 8, .head_dim = 64, .epsilon = 1e-5, .feed_forward = false});

  r.spec.layout.qkv_bias = r.spec.layout.output_bias = true;
  r.spec.layout.router_bias = r.spec.layout.feed_forward_bias = true;
  r.require_equal({"", "attention_bias"}, true);
  if (r.gguf()) r.spec.layout.renamed = {{"ffn_norm.weight", "post_attention_norm.weight"}};
  if (!r.gguf()) {
    r.spec.layout.renamed = {{"mlp.gate.weight", "mlp.router.weight"}, {"mlp.gate.bias", "mlp.router.bias"}};
  }
  // The ramp's ends are not whole pairs, which a GGUF cannot say.
  r.rope(RopePairs::HalfSplit, {.theta = 150000.0, .yarn_truncates = false});
  r.same_base_everywhere();
  r.windows(r.integer({"attention.sliding_window", "sliding_window"}).value_or(128),
            [](std::size_t i) { return i % 2 == 0; });
  r.experts({"expert_feed_forward_length", "intermediate_size"});
  if (!r.gguf()) {
    (void)r.config().integer("experts_per_token");  // num_experts_per_tok again
    (void)r.config().integer("initial_context_length");
    const double alpha = r.number({"", "swiglu_alpha"}).value_or(1.702);
    const double limit = r.number({"", "swiglu_limit"}).value_or(7.0);
    if (std::abs(alpha - 1.702) > 1e-9) r.fail({"", "swiglu_alpha"}, "is not 1.702, which is not supported");
    if (std::abs(limit - 7.0) > 1e-9) r.fail({"", "swiglu_limit"}, "is not 7, which is not supported");
  }
  for (LayerSpec& layer : r.spec.layers) {
    layer.attention.sinks = true;
    layer.feed_forward.activation = Activation::ClampedSwiglu;
    layer.feed_forward.experts.normalised = true;
  }
}

}  // namespace thinkey::family
