// One layer's attention as numbers: what every kernel, cache and estimate derives its sizes from.
#pragma once

#include <cmath>
#include <cstddef>

namespace thinkey {

struct AttentionShape {
  std::size_t query_heads = 0;     // H
  std::size_t kv_heads = 0;        // Hkv, divides H
  std::size_t head_dim = 0;        // D
  std::size_t sliding_window = 0;  // a query sees this many latest positions, itself included; 0 = all
  float scale = 0.0F;              // of the logits q . k; 0: 1 / sqrt(D)
  float softcap = 0.0F;            // logits x become cap * tanh(x / cap) (Gemma 2); 0: they do not
  // A logit per query head that joins the softmax without a value (gpt-oss). [H], kept alive by the model;
  // null: none.
  const float* sinks = nullptr;

  [[nodiscard]] std::size_t group() const noexcept { return query_heads / kv_heads; }  // G
  [[nodiscard]] float logit_scale() const noexcept {
    return scale != 0.0F ? scale : 1.0F / std::sqrt(static_cast<float>(head_dim));
  }
};

}  // namespace thinkey
