// Scales and minima of quantized rows, folded into what the codes are multiplied with. Included once per
// Highway target.

#if defined(THINKEY_BLOCK_SCALES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_BLOCK_SCALES_INL_H_
#undef THINKEY_BLOCK_SCALES_INL_H_
#else
#define THINKEY_BLOCK_SCALES_INL_H_
#endif

#include <algorithm>

#include "cache/block.h"
#include "cache/block_elements-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Queries with a run's key scales folded in, laid out like q; start[r] gains the share of the minima,
// and of codes that are counted from `centre`.
template <std::size_t kRows>
HWY_INLINE void fold_key_scales(const KeyRun& run, const std::byte* block, const float* HWY_RESTRICT q,
                                float centre, float* HWY_RESTRICT folded, float* start) {
  constexpr std::size_t pair = 2;  // as queries lie
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  const auto* scales = BlockLayout::at<f16_bits>(block, run.scales);
  const auto* minima = scales + run.channels;
  HWY_ALIGN float scale[kMaxChannels + 16];
  HWY_ALIGN float offset[kMaxChannels + 16];
  // Reading past the last scale meets the minima or the codes, past the last minimum the codes: finite
  // or not, what they are multiplied with is never added.
  const FloatVector middle = hn::Set(d, centre);
  for (std::size_t c = 0; c < run.channels; c += lanes) {
    const FloatVector s = load_f16(d, scales + c);
    hn::Store(s, d, scale + c);
    hn::Store(hn::MulAdd(middle, s, load_f16(d, minima + c)), d, offset + c);
  }
  const std::size_t total = (run.channels + 1) / 2 * 2;
  for (std::size_t c = run.channels; c < total; ++c) scale[c] = offset[c] = 0.0F;

  if constexpr (16 % (kRows * pair) == 0) {
    if (lanes ==
        16) {  // lane i of a vector is row i / pair % kRows of channel i / (kRows pair) * pair + i % pair
      constexpr std::size_t channels = 16 / kRows;  // per vector
      HWY_ALIGN std::int32_t spread[16];
      for (std::size_t i = 0; i < 16; ++i) {
        spread[i] = static_cast<std::int32_t>(i / (kRows * pair) * pair + i % pair);
      }
      const hn::RebindToSigned<FloatTag> d32;
      const auto lane_channel = hn::IndicesFromVec(d, hn::Load(d32, spread));
      FloatVector sum = hn::Zero(d);
      std::size_t c = 0;
      for (; c + channels <= total; c += channels) {
        const FloatVector x = hn::LoadU(d, q + c * kRows);
        const FloatVector s = hn::TableLookupLanes(hn::LoadU(d, scale + c), lane_channel);
        const FloatVector o = hn::TableLookupLanes(hn::LoadU(d, offset + c), lane_channel);
        hn::StoreU(hn::Mul(x, s), d, folded + c * kRows);
        sum = hn::MulAdd(x, o, sum);
      }
      HWY_ALIGN float sums[16];
      hn::Store(sum, d, sums);
      for (std::size_t i = 0; i < 16; ++i) start[i / pair % kRows] += sums[i];
      for (; c < total; ++c) {
        for (std::size_t r = 0; r < kRows; ++r) {
          const std::size_t at = c / pair * pair * kRows + r * pair + c % pair;
          folded[at] = q[at] * scale[c];
          start[r] += q[at] * offset[c];
        }
      }
      return;
    }
  }
  for (std::size_t c = 0; c < total; ++c) {
    for (std::size_t r = 0; r < kRows; ++r) {
      const std::size_t at = c / pair * pair * kRows + r * pair + c % pair;
      folded[at] = q[at] * scale[c];
      start[r] += q[at] * offset[c];
    }
  }
}

// What the minima of value groups bring, the same for every channel of a group, and codes that are counted
// from `centre`: lane by lane until the end.
template <std::size_t kRows>
struct ValueOffsets {
  HWY_ALIGN float sums[kMaxChannels / kUnit * kRows * 16];  // [groups][rows][lanes]

  HWY_INLINE explicit ValueOffsets(std::size_t groups) { std::fill_n(sums, groups * kRows * 16, 0.0F); }

  // A block's weights of one group, multiplied by the tokens' scales.
  HWY_INLINE void fold_scales(std::size_t group, const f16_bits* scales, const f16_bits* minima,
                              const float* HWY_RESTRICT weights, const float* HWY_RESTRICT factor,
                              float centre, float* HWY_RESTRICT folded) {
    const FloatTag d;
    const std::size_t lanes = hn::Lanes(d);
    FloatVector sum[kRows];
    for (std::size_t r = 0; r < kRows; ++r) {
      sum[r] = hn::Mul(hn::Load(d, sums + (group * kRows + r) * lanes), hn::Set(d, factor[r]));
    }
    const FloatVector middle = hn::Set(d, centre);
    for (std::size_t t = 0; t < kBlockTokens; t += lanes) {
      const FloatVector s = load_f16(d, scales + t);
      const FloatVector o = hn::MulAdd(middle, s, load_f16(d, minima + t));
      for (std::size_t r = 0; r < kRows; ++r) {
        const FloatVector w = hn::LoadU(d, weights + r * kBlockTokens + t);
        hn::StoreU(hn::Mul(w, s), d, folded + r * kBlockTokens + t);
        sum[r] = hn::MulAdd(w, o, sum[r]);
      }
    }
    for (std::size_t r = 0; r < kRows; ++r) hn::Store(sum[r], d, sums + (group * kRows + r) * lanes);
  }

  HWY_INLINE void add_to(const BlockLayout& layout, std::size_t rows, std::size_t stride, float* out) const {
    const FloatTag d;
    for (std::size_t group = 0; group < layout.value_groups(); ++group) {
      const std::size_t begin = group * layout.value_group;
      const std::size_t end = std::min(begin + layout.value_group, layout.value_units() * kUnit);
      for (std::size_t r = 0; r < rows; ++r) {
        const FloatVector lanes = hn::Load(d, sums + (group * kRows + r) * hn::Lanes(d));
        const float offset = hn::GetLane(hn::SumOfLanes(d, lanes));
        for (std::size_t c = begin; c < end; ++c) out[r * stride + c] += offset;
      }
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
