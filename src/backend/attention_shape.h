// One layer's attention as numbers: what every kernel, cache and estimate derives its sizes from.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>

#include "base/fail.h"

namespace thinkey {

struct MatrixView;
struct RopeSpec;

inline constexpr std::size_t kMaxHeadDim = 512;  // the largest D that kernels have room for

struct AttentionShape {
  std::size_t query_heads = 0;     // H
  std::size_t kv_heads = 0;        // Hkv, divides H
  std::size_t head_dim = 0;        // D, a multiple of 8 up to kMaxHeadDim
  std::size_t sliding_window = 0;  // a query sees this many latest positions, itself included; 0 = all
  float scale = 0.0F;              // of the logits q . k; 0: 1 / sqrt(D)
  float softcap = 0.0F;            // logits x become cap * tanh(x / cap) (Gemma 2); 0: they do not
  // A logit per query head that joins the softmax without a value (gpt-oss), neither scaled nor capped. [H],
  // kept alive by the model; null: none. Kernels that attend leave sinks out, since they would count twice
  // where attention over several sets of keys is joined; apply_sinks() brings them in, once, at the end
  // (ops/merge_attention.h). Statistics of attention have them in their denominators.
  const float* sinks = nullptr;
  // What policies' statistics need of the model beside this; kept alive by it, null where there is none.
  const MatrixView* output = nullptr;  // W_o [d, H * D]
  const RopeSpec* rope = nullptr;      // with `output`, null: keys have no positions

  [[nodiscard]] std::size_t group() const noexcept { return query_heads / kv_heads; }  // G
  [[nodiscard]] float logit_scale() const noexcept {
    return scale != 0.0F ? scale : 1.0F / std::sqrt(static_cast<float>(head_dim));
  }
  // Of query head h; exp(-inf) is what none adds.
  [[nodiscard]] float sink(std::size_t h) const noexcept {
    return sinks != nullptr ? sinks[h] : -std::numeric_limits<float>::infinity();
  }
  // Whether a query at `position` sees the token at `key`.
  [[nodiscard]] bool sees(std::size_t position, std::size_t key) const noexcept {
    return key <= position && (sliding_window == 0 || position - key < sliding_window);
  }
  // The first position a query at `position` sees.
  [[nodiscard]] std::size_t first_seen(std::size_t position) const noexcept {
    return sliding_window == 0 || position < sliding_window ? 0 : position + 1 - sliding_window;
  }

  // Error(Usage) where no kernel has room for it: the one place that checks sizes of heads.
  void check() const {
    if (kv_heads == 0 || query_heads == 0 || query_heads % kv_heads != 0) {
      fail_usage("attention: {} query heads cannot share {} KV heads", query_heads, kv_heads);
    }
    if (head_dim == 0 || head_dim > kMaxHeadDim || head_dim % 8 != 0) {
      fail_usage("attention: head dimension {} is not a multiple of 8 from 8 to {}", head_dim, kMaxHeadDim);
    }
    if (!(softcap >= 0.0F) || !std::isfinite(softcap) || !std::isfinite(scale)) {
      fail_usage("attention: a logit scale of {} and a soft cap of {} are no finite numbers", scale, softcap);
    }
  }
};

}  // namespace thinkey
