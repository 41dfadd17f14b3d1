// GLM-4 (0414, dense): norms before and after each half, half of each head rotated, pairs of neighbours.
#include "model/families/families.h"

namespace thinkey::family {

void glm4(SpecReader& r) {
  r.common({.context_length = 131072, .kv_heads = 2, .head_dim = 128, .epsilon = 1.5625e-7});
  r.biases(true, false);
  r.spec.layout.fused_gate_up = true;
  r.rope(RopePairs::Interleaved, {.rotated_share = 0.5});
  if (r.integer({"nextn_predict_layers", "num_nextn_predict_layers"}).value_or(0) != 0) {
    r.fail({"nextn_predict_layers", "num_nextn_predict_layers"}, "is not 0, which is not supported");
  }
  for (LayerSpec& layer : r.spec.layers) layer.attention_post_norm = layer.feed_forward_post_norm = true;
}

}  // namespace thinkey::family
