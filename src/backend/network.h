// A decoder as a backend runs it: each stage's numbers (backend/stages.h) beside its weights. Made by the
// model floor (model/weights.h), which keeps what the pointers show alive.
#pragma once

#include <cstddef>
#include <vector>

#include "backend/stages.h"
#include "base/matrix_view.h"

namespace thinkey {

// y = W x + bias
struct Linear {
  MatrixView weight;            // [out, in]
  const float* bias = nullptr;  // [out]; null: none
};

struct Norm {
  const float* weight = nullptr;  // null: the norm is not there
  const float* bias = nullptr;
  float epsilon = 1e-5F;
  NormKind kind = NormKind::Rms;
  explicit operator bool() const noexcept { return weight != nullptr; }
};

struct Attention {
  AttentionSpec spec;
  Linear query, key, value;   // [H*D, d], [Hkv*D, d], [Hkv*D, d]
  Linear output;              // [d, H*D]
  Norm query_norm, key_norm;  // by spec.qk_norm: [D], or [H*D] and [Hkv*D]
};

// One dense feed-forward, or one expert.
struct FeedForwardWeights {
  Linear gate;  // [F, d]; without rows where the activation has no gate
  Linear up;    // [F, d]
  Linear down;  // [d, F]
};

struct FeedForward {
  FeedForwardSpec spec;
  FeedForwardWeights dense;                 // when spec.experts.count == 0
  Linear router;                            // [E, d]
  std::vector<FeedForwardWeights> experts;  // [E]
};

// x += scale * post_norm(attention(norm(x))); x += scale * post_norm(feed_forward(norm(x)))
struct Layer {
  Norm attention_norm, attention_post_norm;
  Attention attention;
  Norm feed_forward_norm, feed_forward_post_norm;
  FeedForward feed_forward;
};

struct Network {
  std::size_t width = 0;       // d
  std::size_t vocabulary = 0;  // V
  MatrixView embedding;        // [V, d]
  float embedding_scale = 1.0F;
  std::vector<RopeSpec> ropes;
  std::vector<Layer> layers;
  float residual_scale = 1.0F;
  Norm output_norm;
  Linear output;  // [V, d]
  float logit_scale = 1.0F;
  float logit_softcap = 0.0F;  // cap * tanh(x / cap); 0: none

  [[nodiscard]] const AttentionShape& heads() const noexcept { return layers.front().attention.spec.shape; }
  [[nodiscard]] std::size_t query_width() const noexcept { return heads().query_heads * heads().head_dim; }
  [[nodiscard]] std::size_t kv_width() const noexcept { return heads().kv_heads * heads().head_dim; }
};

}  // namespace thinkey
