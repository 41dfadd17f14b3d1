#include "model/spec.h"

#include <fmt/format.h>

#include <algorithm>

namespace thinkey {

std::size_t ModelSpec::most_feed_forward_width() const noexcept {
  std::size_t most = 0;
  for (const LayerSpec& layer : layers) most = std::max(most, layer.feed_forward.width);
  return most;
}

std::string ModelSpec::fingerprint_text() const {
  std::string out =
      fmt::format("{} {} {} {} {} {} {} {} {} {}\n", architecture, vocabulary, width, static_cast<int>(norm),
                  epsilon, tied_output, embedding_scale, residual_scale, logit_scale, logit_softcap);
  for (const RopeSpec& r : ropes) {
    out += fmt::format("{} {} {} {} {} {} {} {}\n", static_cast<int>(r.pairs), r.rotated, r.magnitude,
                       r.limit, r.dynamic_factor, r.theta, fmt::join(r.inverse_frequencies, " "),
                       fmt::join(r.long_inverse_frequencies, " "));
  }
  for (const LayerSpec& layer : layers) {
    const AttentionSpec& a = layer.attention;
    const FeedForwardSpec& f = layer.feed_forward;
    out += fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}\n", a.shape.query_heads,
                       a.shape.kv_heads, a.shape.head_dim, a.shape.sliding_window, a.shape.scale,
                       a.shape.softcap, a.sinks, static_cast<int>(a.qk_norm), a.rope, a.position_beta,
                       a.position_every, f.width, static_cast<int>(f.activation), f.experts.count,
                       f.experts.used, f.experts.normalised, layer.attention_norm, layer.attention_post_norm,
                       layer.feed_forward_norm, layer.feed_forward_post_norm);
  }
  return out + fmt::format("{}\n", layout.norm_offset);
}

CacheShape cache_shape(const ModelSpec& spec) {
  CacheShape shape;
  for (const LayerSpec& layer : spec.layers) shape.layers.push_back(layer.attention.shape);
  return shape;
}

}  // namespace thinkey
