// Numbers that are none: NaN and infinity, found where they first appear.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace thinkey {

// Index of the first element that is NaN or infinite; x.size() when there is none.
[[nodiscard]] std::size_t first_non_finite(std::span<const float> x) noexcept;

// Throws NonFiniteError that names position and layer unless all of rows [n, width] that tokens bring into a
// layer's attention are finite, `what` being "key"; row i is of the token at position `first` + i. A cache
// keeps them in fixed point, where they would become numbers again.
void require_finite_attention(std::string_view what, std::size_t layer, std::int64_t first, const float* rows,
                              std::size_t n, std::size_t width);

// Likewise for a row of logits [V] at `position`. `layers_checked`: what layers bring into
// attention is known to be finite.
void require_finite_logits(std::span<const float> logits, std::int64_t position, bool layers_checked);

}  // namespace thinkey
