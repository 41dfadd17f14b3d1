// Qwen3, dense and mixture of experts: every head of Q and K has its norm.
#include <algorithm>

#include "model/families/families.h"

namespace thinkey::family {
namespace {

void attention(SpecReader& r) {
  r.biases(false, true);
  r.rope(RopePairs::HalfSplit);
  const bool slides = r.boolean({"", "use_sliding_window"}).value_or(false);
  const std::int64_t whole = r.integer({"", "max_window_layers"}).value_or(28);
  std::optional<std::int64_t> window = r.integer({"attention.sliding_window", "sliding_window"});
  if (!r.gguf() && !slides) window.reset();
  r.windows(window, [&](std::size_t i) { return slides && window && static_cast<std::int64_t>(i) >= whole; });
  for (LayerSpec& layer : r.spec.layers) layer.attention.qk_norm = QkNorm::PerHead;
}

}  // namespace

void qwen3(SpecReader& r) {
  r.common({.context_length = 32768, .kv_heads = 32, .head_dim = 128});
  attention(r);
}

void qwen3_moe(SpecReader& r) {
  r.common({.context_length = 32768, .kv_heads = 4, .feed_forward = false});
  attention(r);
  // Where the mixture's layers have its window, all have (transformers' class knows no layer_types here).
  const std::int64_t step = r.integer({"", "decoder_sparse_step"}).value_or(1);
  if (step < 1) r.fail({"", "decoder_sparse_step"}, "is not positive");
  const std::vector<std::int64_t> dense =
      r.gguf() ? std::vector<std::int64_t>()
               : r.config().integers("mlp_only_layers").value_or(std::vector<std::int64_t>());
  r.experts({"expert_feed_forward_length", "moe_intermediate_size"}, [&](std::size_t i) {
    if (r.gguf()) return r.has_tensor("blk." + std::to_string(i) + ".ffn_gate_inp.weight");
    const auto layer = static_cast<std::int64_t>(i);
    return std::find(dense.begin(), dense.end(), layer) == dense.end() && (layer + 1) % step == 0;
  });
  // GGUF files of this architecture are normalised without saying so.
  const bool normalised = r.gguf() || r.config().boolean("norm_topk_prob").value_or(false);
  for (LayerSpec& layer : r.spec.layers) layer.feed_forward.experts.normalised = normalised;
}

}  // namespace thinkey::family
