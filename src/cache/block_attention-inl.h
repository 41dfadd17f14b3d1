// The decode kernel, once per instruction set.
//
// Scores: one query element is broadcast over a row of 32 tokens, so there are no horizontal adds
// and each widened row serves all query rows. Values: one weight is broadcast over a token's row.

#if defined(THINKEY_BLOCK_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_BLOCK_ATTENTION_INL_H_
#undef THINKEY_BLOCK_ATTENTION_INL_H_
#else
#define THINKEY_BLOCK_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>

#include "cache/block_attention.h"
#include "hwy/highway.h"
#include "ops/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;
using FloatVector = hn::Vec<FloatTag>;

HWY_INLINE FloatVector load_f16(FloatTag d, const f16_bits* from) {
  const hn::Rebind<hwy::float16_t, FloatTag> half;
  return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(from)));
}

// scores[r][0..31] of kRows rows whose packed queries are `pitch` floats apart per channel.
template <std::size_t kRows>
HWY_INLINE void score_rows(const BlockLayout& layout, const std::byte* block, const float* HWY_RESTRICT q,
                           std::size_t pitch, float* HWY_RESTRICT scores) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  // Two vectors of tokens at a time keep 2 * kRows sums in registers on every target.
  for (std::size_t t = 0; t < kBlockTokens; t += 2 * lanes) {
    FloatVector low[kRows];
    FloatVector high[kRows];
    for (std::size_t r = 0; r < kRows; ++r) low[r] = high[r] = hn::Zero(d);
    const f16_bits* row = layout.keys(block, 0) + t;
    const float* element = q;
    for (std::size_t c = 0; c < layout.key_channels; ++c, row += kBlockTokens, element += pitch) {
      const FloatVector k0 = load_f16(d, row);
      const FloatVector k1 = load_f16(d, row + lanes);
      for (std::size_t r = 0; r < kRows; ++r) {
        const FloatVector broadcast = hn::Set(d, element[r]);
        low[r] = hn::MulAdd(broadcast, k0, low[r]);
        high[r] = hn::MulAdd(broadcast, k1, high[r]);
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      hn::StoreU(low[r], d, scores + r * kBlockTokens + t);
      hn::StoreU(high[r], d, scores + r * kBlockTokens + t + lanes);
    }
  }
}

// Turns a row of logits into weights exp(logit - maximum), moving the running maximum and sum.
// Returns the factor that what was accumulated before must be scaled with.
HWY_INLINE float softmax_step(float* HWY_RESTRICT scores, float& maximum, float& sum) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  FloatVector top = hn::LoadU(d, scores);
  for (std::size_t t = lanes; t < kBlockTokens; t += lanes) top = hn::Max(top, hn::LoadU(d, scores + t));
  const float peak = std::max(maximum, hn::GetLane(hn::MaxOfLanes(d, top)));
  if (peak == -std::numeric_limits<float>::infinity()) {  // every token masked so far
    std::fill_n(scores, kBlockTokens, 0.0F);
    return 1.0F;
  }
  const FloatVector shift = hn::Set(d, peak);
  FloatVector total = hn::Zero(d);
  for (std::size_t t = 0; t < kBlockTokens; t += lanes) {
    const FloatVector e = exp_accurate(d, hn::Sub(hn::LoadU(d, scores + t), shift));  // exp(-inf) = 0
    hn::StoreU(e, d, scores + t);
    total = hn::Add(total, e);
  }
  const float factor = std::exp(maximum - peak);
  sum = sum * factor + hn::GetLane(hn::SumOfLanes(d, total));
  maximum = peak;
  return factor;
}

// out[r] = out[r] * factor[r] + weights[r] . values, kRows rows.
template <std::size_t kRows>
HWY_INLINE void weigh_values(const BlockLayout& layout, const std::byte* block,
                             const float* HWY_RESTRICT weights, std::size_t tokens,
                             const float* HWY_RESTRICT factor, std::size_t stride, float* HWY_RESTRICT out) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  // The last pair of vectors may run over into what follows the row; those sums are never read.
  for (std::size_t c = 0; c < layout.value_channels; c += 2 * lanes) {
    FloatVector low[kRows];
    FloatVector high[kRows];
    for (std::size_t r = 0; r < kRows; ++r) {
      const FloatVector f = hn::Set(d, factor[r]);
      low[r] = hn::Mul(f, hn::LoadU(d, out + r * stride + c));
      high[r] = hn::Mul(f, hn::LoadU(d, out + r * stride + c + lanes));
    }
    const f16_bits* row = layout.values(block, 0) + c;
    for (std::size_t t = 0; t < tokens; ++t, row += layout.value_channels) {
      const FloatVector v0 = load_f16(d, row);
      const FloatVector v1 = load_f16(d, row + lanes);
      for (std::size_t r = 0; r < kRows; ++r) {
        const FloatVector w = hn::Set(d, weights[r * kBlockTokens + t]);
        low[r] = hn::MulAdd(w, v0, low[r]);
        high[r] = hn::MulAdd(w, v1, high[r]);
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      hn::StoreU(low[r], d, out + r * stride + c);
      hn::StoreU(high[r], d, out + r * stride + c + lanes);
    }
  }
}

// One block for rows [first, first + kRows) of the state.
template <std::size_t kRows>
HWY_INLINE void attend_block(const BlockLayout& layout, const std::byte* block, std::size_t tokens,
                             const float* q, const std::int32_t* oldest, std::size_t first,
                             PartialAttention& state) {
  HWY_ALIGN float scores[kRows * kBlockTokens];
  float factor[kRows];
  score_rows<kRows>(layout, block, q + first, state.rows, scores);
  for (std::size_t r = 0; r < kRows; ++r) {
    float* row = scores + r * kBlockTokens;
    std::fill(row + tokens, row + kBlockTokens, -std::numeric_limits<float>::infinity());
    if (oldest != nullptr) {
      const std::int32_t* positions = layout.positions(block);
      for (std::size_t t = 0; t < tokens && positions[t] < oldest[first + r]; ++t) {
        row[t] = -std::numeric_limits<float>::infinity();
      }
    }
    factor[r] = softmax_step(row, state.maximum[first + r], state.sum[first + r]);
  }
  weigh_values<kRows>(layout, block, scores, tokens, factor, state.stride,
                      state.weighted.data() + first * state.stride);
}

void attend_blocks_kernel(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count,
                          const float* q, const std::int32_t* oldest, PartialAttention& state) {
  const std::int32_t horizon = oldest == nullptr ? 0 : *std::min_element(oldest, oldest + state.rows);
  for (std::size_t i = 0; i < count; ++i) {
    const std::byte* block = blocks[i];
    const std::size_t tokens = layout.count(block);
    if (tokens == 0 || layout.positions(block)[tokens - 1] < horizon) continue;
    // Four rows share each widened key row; the block stays in the first-level cache for the next four.
    std::size_t r = 0;
    for (; r + 4 <= state.rows; r += 4) attend_block<4>(layout, block, tokens, q, oldest, r, state);
    switch (state.rows - r) {
      case 3:
        attend_block<3>(layout, block, tokens, q, oldest, r, state);
        break;
      case 2:
        attend_block<2>(layout, block, tokens, q, oldest, r, state);
        break;
      case 1:
        attend_block<1>(layout, block, tokens, q, oldest, r, state);
        break;
      default:
        break;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
