// Keys or values as prefill leaves them: f32, or bf16 where its products are bf16.
#pragma once

#include <cstddef>

#include "base/half.h"

namespace thinkey {

// A pointer to elements of either type; `rows + n` is n elements further on.
class TokenRows {
 public:
  TokenRows() = default;
  TokenRows(const float* f32) : f32_(f32) {}         // NOLINT(google-explicit-constructor): a view
  TokenRows(const bf16_bits* bf16) : bf16_(bf16) {}  // NOLINT(google-explicit-constructor): a view

  [[nodiscard]] TokenRows operator+(std::size_t elements) const noexcept {
    return f32_ != nullptr ? TokenRows(f32_ + elements) : TokenRows(bf16_ + elements);
  }

  // The next n elements as f32: where they lie, or widened into `scratch` [n].
  [[nodiscard]] const float* load(std::size_t n, float* scratch) const noexcept {
    if (f32_ != nullptr) return f32_;
    for (std::size_t i = 0; i < n; ++i) {
      scratch[i] = f32_from_bf16(bf16_[i]);
    }
    return scratch;
  }

 private:
  const float* f32_ = nullptr;
  const bf16_bits* bf16_ = nullptr;
};

}  // namespace thinkey
