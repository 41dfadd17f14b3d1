// A decoder as plain data: everything that decides its result but the weights. Read from a model file by its
// family (model/families/), it is what tensors are checked against and what buffer sizes, operation counts,
// memory estimates and the fingerprint are derived from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend/stages.h"
#include "cache/cache_shape.h"

namespace thinkey {

struct LayerSpec {
  AttentionSpec attention;
  FeedForwardSpec feed_forward;
  bool attention_norm = true, attention_post_norm = false;
  bool feed_forward_norm = true, feed_forward_post_norm = false;
};

// How some families lay the matrices of a layer out in the file.
struct WeightLayout {
  bool fused_qkv = false;      // one matrix [H*D + 2 Hkv*D, d]
  bool fused_gate_up = false;  // one matrix [2 F, d], gate first
  bool qkv_bias = false, output_bias = false, feed_forward_bias = false;
  bool router_bias = false;
  float norm_offset = 0.0F;  // added to every norm's weight (Gemma in Hugging Face's form: 1)
  // Tensors called otherwise than tensor_table.h says: (usual name, this family's name).
  std::vector<std::pair<std::string_view, std::string_view>> renamed = {};
};

struct ModelSpec {
  std::string architecture;        // as the file calls it
  std::string name;                // free text; may be empty
  std::size_t vocabulary = 0;      // V
  std::size_t width = 0;           // d
  std::size_t context_length = 0;  // positions the model was made for
  NormKind norm = NormKind::Rms;
  float epsilon = 1e-5F;
  bool tied_output = false;  // the output matrix is the token embedding
  float embedding_scale = 1.0F, residual_scale = 1.0F, logit_scale = 1.0F;
  float logit_softcap = 0.0F;
  std::vector<RopeSpec> ropes;
  std::vector<LayerSpec> layers;  // one at least; all have the same heads
  WeightLayout layout;

  [[nodiscard]] const AttentionShape& heads() const noexcept { return layers.front().attention.shape; }
  [[nodiscard]] std::size_t query_width() const noexcept { return heads().query_heads * heads().head_dim; }
  [[nodiscard]] std::size_t kv_width() const noexcept { return heads().kv_heads * heads().head_dim; }
  [[nodiscard]] std::size_t most_feed_forward_width() const noexcept;

  // Every number above that decides the result, in a fixed order and form: what a fingerprint covers.
  [[nodiscard]] std::string fingerprint_text() const;
};

// The caches' view of it. `sinks` are set by the weights (model/weights.h).
[[nodiscard]] CacheShape cache_shape(const ModelSpec& spec);

}  // namespace thinkey
