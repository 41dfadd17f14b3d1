// Rows of codes (KIVI) against queries and weights. Only the codes are multiplied: a key row's scale goes
// into the query element, a token's value scale into its weight, and the minima become one sum each. Where
// the CPU multiplies pairs of bf16 numbers, codes, which are exact in bf16, go that way (block_pairs_bf16.h).
// Included once per Highway target.

#if defined(THINKEY_BLOCK_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_BLOCK_CODES_INL_H_
#undef THINKEY_BLOCK_CODES_INL_H_
#else
#define THINKEY_BLOCK_CODES_INL_H_
#endif

#include <algorithm>

#include "cache/block.h"
#include "cache/block_elements-inl.h"
#include "cache/block_pairs_bf16.h"
#include "cache/block_scales-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <ElementFormat kFormat>
inline constexpr std::size_t kPairOf = elements_paired(kFormat);

// Whether this target leaves codes of the format to the bf16 kernels.
HWY_INLINE bool multiplies_pairs() {
#if HWY_TARGET == HWY_AVX3
  return cpu_multiplies_bf16_pairs();
#endif
  return false;
}

// scores[r][0..31] = start[r] + sum over a run's rows of query elements times row elements; added to the
// scores unless the run is the block's first. The queries are laid out as place_query() does.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void score_rows(const KeyRun& run, const std::byte* block, const float* HWY_RESTRICT q,
                           const float* start, bool first, float* HWY_RESTRICT scores) {
  constexpr std::size_t pair = kPairOf<kFormat>;
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  // Two vectors at a time keep 2 * kRows sums in registers on every target.
  for (std::size_t i = 0; i < pair * kBlockTokens; i += 2 * lanes) {
    FloatVector low[kRows];
    FloatVector high[kRows];
    for (std::size_t r = 0; r < kRows; ++r) low[r] = high[r] = hn::Zero(d);
    const auto add = [&](const std::byte* row, const float* element) HWY_ATTR {
      const FloatVector k0 = Elements<kFormat>::load(d, row, i);
      const FloatVector k1 = Elements<kFormat>::load(d, row, i + lanes);
      for (std::size_t r = 0; r < kRows; ++r) {
        low[r] = hn::MulAdd(broadcast<pair>(d, element + 2 * r, 0), k0, low[r]);
        high[r] = hn::MulAdd(broadcast<pair>(d, element + 2 * r, 1), k1, high[r]);
      }
    };
    const std::byte* row = block + run.rows;
    const float* element = q;
    std::size_t left = run.channels;
    for (; left >= 2; left -= 2, element += 2 * kRows) {
      for (std::size_t c = 0; c < 2; c += pair, row += run.row) add(row, element + c);
    }
    if (left > 0) add(row, element);
    for (std::size_t r = 0; r < kRows; ++r) {
      float* to = scores + r * kBlockTokens + i / pair;
      const FloatVector from = hn::Set(d, start[r]);
      const auto store = [&](FloatVector sum, float* at) HWY_ATTR {
        const FloatVector before = first ? from : hn::Add(from, hn::LoadU(d, at));
        hn::StoreU(hn::Add(before, sum), d, at);
      };
      if constexpr (pair == 2) {
        store(sum_pairs(d, low[r], high[r]), to);
      } else {
        store(low[r], to);
        store(high[r], to + lanes);
      }
    }
  }
}

// One run of a block's codes; changes `start`. A call of its own, so that it is not compiled
// once per pair of key and value formats.
template <ElementFormat kFormat, std::size_t kRows>
HWY_NOINLINE void score_codes(const KeyRun& run, const std::byte* block, const float* q, float* start,
                              bool first, float* scores) {
  const bool by_pairs = multiplies_pairs();
  HWY_ALIGN float folded[(kMaxChannels + 16) * kRows];
  fold_key_scales<kRows>(run, block, q, by_pairs ? code_centre(kFormat) : 0.0F, folded, start);
  if (by_pairs) {
    score_pairs_bf16({kFormat, kRows}, block + run.rows, run.row, run.row_count(), folded, start, first,
                     scores);
  } else {
    score_rows<kFormat, kRows>(run, block, folded, start, first, scores);
  }
}

// out[r] = out[r] * factor[r] + weights[r] . a unit of 32 channels of codes.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void weigh_unit(const BlockLayout& layout, const std::byte* first,
                           const float* HWY_RESTRICT weights, std::size_t tokens,
                           const float* HWY_RESTRICT factor, std::size_t stride, float* HWY_RESTRICT out) {
  constexpr std::size_t pair = kPairOf<kFormat>;
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t i = 0; i < pair * kUnit; i += 2 * lanes) {
    FloatVector low[kRows];
    FloatVector high[kRows];
    for (std::size_t r = 0; r < kRows; ++r) low[r] = high[r] = hn::Zero(d);
    const std::byte* row = first;
    for (std::size_t t = 0; t < tokens; t += pair, row += layout.value_row) {
      const FloatVector v0 = Elements<kFormat>::load(d, row, i);
      const FloatVector v1 = Elements<kFormat>::load(d, row, i + lanes);
      for (std::size_t r = 0; r < kRows; ++r) {
        const float* w = weights + r * kBlockTokens + t;
        low[r] = hn::MulAdd(broadcast<pair>(d, w, 0), v0, low[r]);
        high[r] = hn::MulAdd(broadcast<pair>(d, w, 1), v1, high[r]);
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      const FloatVector f = hn::Set(d, factor[r]);
      float* at = out + r * stride + i / pair;
      if constexpr (pair == 2) {
        hn::StoreU(hn::MulAdd(f, hn::LoadU(d, at), sum_pairs(d, low[r], high[r])), d, at);
      } else {
        hn::StoreU(hn::MulAdd(f, hn::LoadU(d, at), low[r]), d, at);
        hn::StoreU(hn::MulAdd(f, hn::LoadU(d, at + lanes), high[r]), d, at + lanes);
      }
    }
  }
}

// out[r] = out[r] * factor[r] + weights[r] . values of a block.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void weigh_codes(const BlockLayout& layout, const std::byte* block,
                            const float* HWY_RESTRICT weights, std::size_t tokens,
                            const float* HWY_RESTRICT factor, ValueOffsets<kRows>& offsets,
                            std::size_t stride, float* HWY_RESTRICT out) {
  constexpr std::size_t pair = kPairOf<kFormat>;
  constexpr std::size_t unit_bytes = pair * kUnit * element_bits(kFormat) / 8;
  const bool by_pairs = multiplies_pairs();
  HWY_ALIGN float folded[kRows * kBlockTokens];
  for (std::size_t unit = 0; unit < layout.value_units(); ++unit) {
    // A last, shorter unit is read over its end, into what follows the row; those sums are never used.
    const std::byte* first = block + layout.values + unit * unit_bytes;
    if (unit * kUnit % layout.value_group == 0) {
      const std::size_t group = unit * kUnit / layout.value_group;
      const auto* scales = BlockLayout::at<f16_bits>(block, layout.value_scales) + group * kBlockTokens;
      offsets.fold_scales(group, scales, scales + layout.value_groups() * kBlockTokens, weights, factor,
                          by_pairs ? code_centre(kFormat) : 0.0F, folded);
    }
    float* to = out + unit * kUnit;
    if (by_pairs) {
      const std::size_t rows = (tokens + pair - 1) / pair;
      weigh_pairs_bf16({kFormat, kRows}, first, layout.value_row, rows, folded, factor, stride, to);
    } else {
      weigh_unit<kFormat, kRows>(layout, first, folded, tokens, factor, stride, to);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
