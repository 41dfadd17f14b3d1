// Rows of 16-bit fixed-point numbers multiplied as pairs of integers, on every instruction set. Queries and
// weights are rounded to 16 bits as well, scaled so that no sum of products leaves 32 bits. Included once per
// Highway target.

#if defined(THINKEY_BLOCK_FIXED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_BLOCK_FIXED_INL_H_
#undef THINKEY_BLOCK_FIXED_INL_H_
#else
#define THINKEY_BLOCK_FIXED_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "backend/cpu/store/block.h"
#include "backend/cpu/store/fixed_point.h"
#include "backend/cpu/store/integer_pairs-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using IntegerTag = hn::RebindToSigned<FloatTag>;
using IntegerVector = hn::Vec<IntegerTag>;

// So many channels' products are summed as integers before they are widened: fewer leave queries more bits.
inline constexpr std::size_t kSummedChannels = 32;

// 2^exponent of as many tokens as a vector has lanes.
HWY_INLINE FloatVector load_scales(FloatTag d, const std::int8_t* exponents) {
  const IntegerTag d32;
  const hn::Rebind<std::int8_t, FloatTag> d8;
  const IntegerVector biased = hn::Add(hn::PromoteTo(d32, hn::LoadU(d8, exponents)), hn::Set(d32, 127));
  return hn::BitCast(d, hn::ShiftLeft<23>(biased));
}

// A run's queries in 16 bits: query = rounded * inverse.
template <std::size_t kRows>
struct FixedQueries {
  HWY_ALIGN std::int16_t rounded[(kMaxChannels + 16) * kRows];  // as place_query() has them
  float inverse[kRows];

  // Queries [pair of channels][kRows][2]. The sum of |query| over the channels summed at once stays below
  // 2^31 / 2^15, roundings (at most half a unit each) included.
  HWY_INLINE FixedQueries(const KeyRun& run, const float* HWY_RESTRICT q) {
    constexpr auto most = static_cast<float>((1 << (31 - kFixedBits)) - kSummedChannels);
    const std::size_t numbers = run.query_numbers();  // of a row
    float factor[kRows];
    for (std::size_t r = 0; r < kRows; ++r) {
      float sum = 0.0F;
      float largest = 0.0F;
      for (std::size_t first = 0; first < numbers; first += kSummedChannels) {
        float part = 0.0F;
        for (std::size_t c = first; c < std::min(numbers, first + kSummedChannels); ++c) {
          const float magnitude = std::abs(q[c / 2 * 2 * kRows + 2 * r + c % 2]);
          part += magnitude;
          largest = std::max(largest, magnitude);
        }
        sum = std::max(sum, part);
      }
      inverse[r] = std::max(sum / most, largest / 32767.0F);
      factor[r] = inverse[r] > 1e-37F ? 1.0F / inverse[r] : 0.0F;
    }
    const FloatTag d;
    const std::size_t lanes = hn::Lanes(d);
    HWY_ALIGN float factors[2 * kRows + 32];  // repeated, for vectors that begin at any row
    for (std::size_t i = 0; i < 2 * kRows + 32; ++i) factors[i] = factor[i / 2 % kRows];
    for (std::size_t i = 0; i < numbers * kRows; i += lanes) {
      store_rounded(d, hn::Mul(hn::LoadU(d, q + i), hn::LoadU(d, factors + i % (2 * kRows))), rounded + i);
    }
  }
};

// scores[r][0..31] = start[r] + sum over a run's rows of query elements times row elements; added to the
// scores unless the run is the block's first.
template <std::size_t kRows>
HWY_NOINLINE void score_fixed(const KeyRun& run, const std::byte* block, const FixedQueries<kRows>& queries,
                              const float* start, bool first, float* HWY_RESTRICT scores) {
  const FloatTag d;
  const IntegerTag d32;
  const std::size_t lanes = hn::Lanes(d);
  const auto* exponents = BlockLayout::at<std::int8_t>(block, run.scales);
  for (std::size_t t = 0; t < kBlockTokens; t += 2 * lanes) {
    FloatVector low[kRows];
    FloatVector high[kRows];
    for (std::size_t r = 0; r < kRows; ++r) low[r] = high[r] = hn::Zero(d);
    const std::byte* row = block + run.rows + t * 2 * sizeof(std::int16_t);
    const std::int16_t* q = queries.rounded;
    for (std::size_t c = 0; c < run.channels; c += kSummedChannels) {
      PairSums<IntegerTag> low_sums[kRows];
      PairSums<IntegerTag> high_sums[kRows];
      const auto add = [&](IntegerVector k0, IntegerVector k1) HWY_ATTR {
        for (std::size_t r = 0; r < kRows; ++r) {
          const IntegerVector x = broadcast_pair(d32, q + 2 * r);
          low_sums[r].add_products(d32, k0, x);
          high_sums[r].add_products(d32, k1, x);
        }
      };
      const std::size_t channels = std::min(kSummedChannels, run.channels - c);
      for (std::size_t pair = 0; pair < channels / 2; ++pair, row += run.row, q += 2 * kRows) {
        add(load_integers(d32, row), load_integers(d32, row + lanes * 2 * sizeof(std::int16_t)));
      }
      if (channels % 2 != 0) {  // alone; its partner's query is 0
        const hn::Rebind<std::int16_t, IntegerTag> d16;
        const auto* alone = BlockLayout::at<std::int16_t>(row, 0) - t;
        add(hn::PromoteTo(d32, hn::LoadU(d16, alone)), hn::PromoteTo(d32, hn::LoadU(d16, alone + lanes)));
      }
      for (std::size_t r = 0; r < kRows; ++r) {
        low[r] = hn::Add(low[r], low_sums[r].total());
        high[r] = hn::Add(high[r], high_sums[r].total());
      }
    }
    const FloatVector low_scale = load_scales(d, exponents + t);
    const FloatVector high_scale = load_scales(d, exponents + t + lanes);
    for (std::size_t r = 0; r < kRows; ++r) {
      const FloatVector inverse = hn::Set(d, queries.inverse[r]);
      const FloatVector from = hn::Set(d, start[r]);
      const auto store = [&](FloatVector sum, FloatVector scale, float* at) HWY_ATTR {
        const FloatVector before = first ? from : hn::Add(from, hn::LoadU(d, at));
        hn::StoreU(hn::MulAdd(hn::Mul(sum, inverse), scale, before), d, at);
      };
      float* to = scores + r * kBlockTokens + t;
      store(low[r], low_scale, to);
      store(high[r], high_scale, to + lanes);
    }
  }
}

// A block's weights, multiplied by the tokens' value scales, in 16 bits: weight = rounded * inverse.
template <std::size_t kRows>
struct FixedWeights {
  HWY_ALIGN std::int16_t rounded[kRows * kBlockTokens];
  float inverse[kRows];

  // weights [kRows][32] >= 0. They add up to 2^15 units or less, with roundings to less than 2^16: no sum of
  // 2^15 times weights leaves 32 bits.
  HWY_INLINE FixedWeights(const std::int8_t* exponents, const float* HWY_RESTRICT weights) {
    constexpr float kMost = 32767.0F;
    const FloatTag d;
    const std::size_t lanes = hn::Lanes(d);
    for (std::size_t r = 0; r < kRows; ++r) {
      HWY_ALIGN float scaled[kBlockTokens];
      FloatVector total = hn::Zero(d);
      for (std::size_t t = 0; t < kBlockTokens; t += lanes) {
        const FloatVector w =
            hn::Mul(hn::LoadU(d, weights + r * kBlockTokens + t), load_scales(d, exponents + t));
        hn::Store(w, d, scaled + t);
        total = hn::Add(total, w);
      }
      const float sum = hn::GetLane(hn::SumOfLanes(d, total));
      inverse[r] = sum / kMost;
      const FloatVector factor = hn::Set(d, sum > 1e-33F ? kMost / sum : 0.0F);
      for (std::size_t t = 0; t < kBlockTokens; t += lanes) {
        store_rounded(d, hn::Mul(hn::Load(d, scaled + t), factor), rounded + r * kBlockTokens + t);
      }
    }
  }
};

// out[r] = out[r] * factor[r] + weights[r] . values, for as many channels as kVectors have lanes; `row` are
// the first two tokens' values of the first one.
template <std::size_t kRows, std::size_t kVectors>
HWY_INLINE void weigh_fixed_channels(const std::byte* row, std::size_t row_bytes, std::size_t tokens,
                                     const FixedWeights<kRows>& weights, const float* HWY_RESTRICT factor,
                                     std::size_t stride, float* HWY_RESTRICT out) {
  const FloatTag d;
  const IntegerTag d32;
  const std::size_t lanes = hn::Lanes(d);
  PairSums<IntegerTag> sums[kVectors][kRows];
  for (std::size_t t = 0; t < tokens; t += 2, row += row_bytes) {
    IntegerVector values[kVectors];
    for (std::size_t v = 0; v < kVectors; ++v) {
      values[v] = load_integers(d32, row + v * lanes * 2 * sizeof(std::int16_t));
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      const IntegerVector w = broadcast_pair(d32, weights.rounded + r * kBlockTokens + t);
      for (std::size_t v = 0; v < kVectors; ++v) sums[v][r].add_products(d32, values[v], w);
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    const FloatVector f = hn::Set(d, factor[r]);
    const FloatVector inverse = hn::Set(d, weights.inverse[r]);
    for (std::size_t v = 0; v < kVectors; ++v) {
      float* at = out + r * stride + v * lanes;
      hn::StoreU(hn::MulAdd(sums[v][r].total(), inverse, hn::Mul(f, hn::LoadU(d, at))), d, at);
    }
  }
}

// out[r] = out[r] * factor[r] + weights[r] . values of a block. A last, shorter unit of channels is read over
// its end, into what follows the row; those sums are never used.
template <std::size_t kRows>
HWY_INLINE void weigh_fixed(const BlockLayout& layout, const std::byte* block,
                            const float* HWY_RESTRICT weights, std::size_t tokens,
                            const float* HWY_RESTRICT factor, std::size_t stride, float* HWY_RESTRICT out) {
  const FixedWeights<kRows> fixed(BlockLayout::at<std::int8_t>(block, layout.value_scales), weights);
  const std::size_t lanes = hn::Lanes(FloatTag());
  for (std::size_t first = 0; first < layout.value_channels; first += layout.value_unit()) {
    const std::size_t row_bytes = 4 * layout.value_lanes(first);
    const std::byte* row = block + layout.values_at(first);
    std::size_t c = 0;
    if constexpr (HWY_MAX_BYTES >= 64) {  // registers for 4 * kRows sums
      if (4 * lanes <= 2 * kUnit && row_bytes > 4 * kUnit) {
        for (; c < 2 * kUnit; c += 4 * lanes) {
          weigh_fixed_channels<kRows, 4>(row + 4 * c, row_bytes, tokens, fixed, factor, stride,
                                         out + first + c);
        }
      }
    }
    for (; 4 * c < row_bytes; c += 2 * lanes) {
      weigh_fixed_channels<kRows, 2>(row + 4 * c, row_bytes, tokens, fixed, factor, stride, out + first + c);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
