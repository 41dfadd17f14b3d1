#include "model/finite.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "base/fail.h"

namespace thinkey {
namespace {

const char* name_of(float x) noexcept { return std::isnan(x) ? "NaN" : "infinity"; }

}  // namespace

std::size_t first_non_finite(std::span<const float> x) noexcept {
  // By bits: no compiler option can take it away, and it becomes a vector loop. A block at a time, so that
  // the loop over all has no way out.
  constexpr std::uint32_t kExponent = 0x7F800000U;
  constexpr std::size_t kBlock = 1024;
  for (std::size_t begin = 0; begin < x.size(); begin += kBlock) {
    const std::size_t end = std::min(begin + kBlock, x.size());
    std::uint32_t bad = 0;
    for (std::size_t i = begin; i < end; ++i) {
      bad |= (std::bit_cast<std::uint32_t>(x[i]) & kExponent) == kExponent ? 1U : 0U;
    }
    if (bad == 0) continue;
    for (std::size_t i = begin; i < end; ++i) {
      if (!std::isfinite(x[i])) return i;
    }
  }
  return x.size();
}

void require_finite_attention(std::string_view what, std::size_t layer, std::int64_t first, const float* rows,
                              std::size_t n, std::size_t width) {
  const std::size_t at = first_non_finite({rows, n * width});
  if (at == n * width) return;
  throw NonFiniteError(
      fmt::format("the {} of token {} in layer {} is not finite: {} in channel {}; weights there or in the "
                  "layer before are "
                  "damaged, or products overflow (try --prefill-precision f32 --decode-precision f32)",
                  what, first + static_cast<std::int64_t>(at / width), layer, name_of(rows[at]), at % width));
}

void require_finite_logits(std::span<const float> logits, std::int64_t position, bool layers_checked) {
  const std::size_t at = first_non_finite(logits);
  if (at == logits.size()) return;
  throw NonFiniteError(fmt::format(
      "the logits after token {} of the sequence are not finite: {} for token id {}; {}", position,
      name_of(logits[at]), at,
      layers_checked ? "all layers bring finite numbers into attention, so look at the end: the last layer, "
                       "the output norm, the output matrix"
                     : "the model's weights are damaged or products overflow, --check-finite says in which "
                       "layer"));
}

}  // namespace thinkey
