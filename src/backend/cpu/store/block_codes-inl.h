// Rows of codes (KIVI) against queries and weights. Only the codes are multiplied, as integers: a key row's
// scale goes into the query element, a token's value scale into its weight, and the minima become one sum
// each. Queries and weights are rounded to 16 bits; CPUs that multiply quads of bytes have kernels of their
// own (block_quads_vnni.h). Included once per Highway target.

#if defined(THINKEY_BLOCK_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_BLOCK_CODES_INL_H_
#undef THINKEY_BLOCK_CODES_INL_H_
#else
#define THINKEY_BLOCK_CODES_INL_H_
#endif

#include <algorithm>
#include <cmath>

#include "backend/cpu/store/block.h"
#include "backend/cpu/store/block_quads_vnni.h"
#include "backend/cpu/store/integer_pairs-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using CodeTag = hn::RebindToSigned<hn::CappedTag<float, 8>>;  // a plane of 2-bit codes
using QuadTag = hn::CappedTag<float, 4>;

// Whether this target leaves codes to the kernels for quads of bytes.
HWY_INLINE bool multiplies_quads() {
#if HWY_TARGET == HWY_AVX3
  return cpu_multiplies_quads();
#endif
  return false;
}

// Quads number i, i + 1, ... of 32 in a row, a byte per code.
template <ElementFormat kFormat>
struct RowOfQuads {
  const std::byte* row;

  HWY_INLINE hn::Vec<CodeTag> load(CodeTag d, std::size_t i) const {
    constexpr std::size_t width = plane_quads(kFormat);
    const hn::RebindToUnsigned<CodeTag> du;
    const auto quads = hn::BitCast(du, load_integers(d, row + i % width * 4));
    const auto shifted = hn::ShiftRightSame(quads, static_cast<int>(i / width * element_bits(kFormat)));
    constexpr std::uint32_t mask = 0x01010101U * ((1U << element_bits(kFormat)) - 1U);
    return hn::BitCast(d, hn::And(shifted, hn::Set(du, mask)));
  }
};

// The same of a run's last one to three channels, which lie alone.
template <ElementFormat kFormat>
struct LoneRows {
  const std::byte* rows;
  std::size_t channels;

  HWY_INLINE hn::Vec<CodeTag> load(CodeTag d, std::size_t i) const {
    constexpr std::size_t width = plane_quads(kFormat);
    const hn::RebindToUnsigned<CodeTag> du;
    const hn::Rebind<std::uint8_t, CodeTag> bytes;
    const auto mask = hn::Set(du, (1U << element_bits(kFormat)) - 1U);
    auto quads = hn::Zero(du);
    for (std::size_t c = 0; c < channels; ++c) {
      const auto* from = BlockLayout::at<std::uint8_t>(rows, c * width + i % width);
      const auto packed = hn::PromoteTo(du, hn::LoadU(bytes, from));
      const auto codes =
          hn::And(hn::ShiftRightSame(packed, static_cast<int>(i / width * element_bits(kFormat))), mask);
      quads = hn::Or(quads, hn::ShiftLeftSame(codes, static_cast<int>(8 * c)));
    }
    return hn::BitCast(d, quads);
  }
};

// What a quad's codes are multiplied with, in 16 bits: of the first and third code, then of the others, as
// a quad of bytes splits into 16-bit numbers.
HWY_INLINE void round_quad(const float* x, float factor, std::int16_t* to) {
#if HWY_TARGET == HWY_SCALAR
  constexpr std::size_t order[] = {0, 2, 1, 3};
  for (std::size_t i = 0; i < 4; ++i) to[i] = static_cast<std::int16_t>(std::nearbyint(x[order[i]] * factor));
#else
  const QuadTag d;
  alignas(16) constexpr std::int32_t order[] = {0, 2, 1, 3};
  const auto scaled = hn::Mul(hn::LoadU(d, x), hn::Set(d, factor));
  store_rounded(d, hn::TableLookupLanes(scaled, hn::SetTableIndices(d, order)), to);
#endif
}

// Sums of kRows query rows for two vectors of tokens or channels.
template <std::size_t kRows>
struct QuadSums {
  PairSums<CodeTag> low[kRows], high[kRows];

  HWY_INLINE QuadSums() {}  // NOLINT(modernize-use-equals-default): not implicit, see PairSums
  // factors: [kRows][4], see round_quad().
  template <typename Row>
  HWY_INLINE void add(const Row& row, std::size_t i, const std::int16_t* factors) {
    const CodeTag d;
    const auto bytes = hn::Set(d, 0x00ff00ff);
    const auto k0 = row.load(d, i);
    const auto k1 = row.load(d, i + hn::Lanes(d));
    const auto k0_odd = hn::And(hn::ShiftRight<8>(k0), bytes);
    const auto k1_odd = hn::And(hn::ShiftRight<8>(k1), bytes);
    const auto k0_even = hn::And(k0, bytes);
    const auto k1_even = hn::And(k1, bytes);
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto even = broadcast_pair(d, factors + 4 * r);
      low[r].add_products(d, k0_even, even);
      high[r].add_products(d, k1_even, even);
      const auto odd = broadcast_pair(d, factors + 4 * r + 2);
      low[r].add_products(d, k0_odd, odd);
      high[r].add_products(d, k1_odd, odd);
    }
  }
};

// A run's queries with the key scales folded in, in 16 bits: folded query = rounded * inverse.
template <std::size_t kRows>
struct CodeQueries {
  HWY_ALIGN std::int16_t rounded[kMaxChannels * kRows];  // [quads][kRows][4]
  float inverse[kRows];

  // start[r] gains the minima's share.
  HWY_INLINE CodeQueries(const KeyRun& run, const std::byte* block, const float* HWY_RESTRICT q,
                         float* start) {
    constexpr float kMost = 16383.0F;  // times 255, of 512 channels: within 32 bits
    const FloatTag d;
    const QuadTag dq;
    const std::size_t numbers = run.query_numbers();
    const auto* scales = BlockLayout::at<f16_bits>(block, run.scales);
    HWY_ALIGN float scale[kMaxChannels + 16];
    HWY_ALIGN float minimum[kMaxChannels + 16];
    // Past the last scale lie the minima, past the last minimum the codes: finite or not, never used.
    for (std::size_t c = 0; c < run.channels; c += hn::Lanes(d)) {
      hn::Store(load_f16(d, scales + c), d, scale + c);
      hn::Store(load_f16(d, scales + run.channels + c), d, minimum + c);
    }
    for (std::size_t c = run.channels; c < numbers; ++c) scale[c] = minimum[c] = 0.0F;

    HWY_ALIGN float folded[kMaxChannels * kRows];
    hn::Vec<QuadTag> largest[kRows];
    hn::Vec<QuadTag> sum[kRows];
    for (std::size_t r = 0; r < kRows; ++r) largest[r] = sum[r] = hn::Zero(dq);
    for (std::size_t c = 0; c < numbers; c += hn::Lanes(dq)) {
      const auto s = hn::LoadU(dq, scale + c);
      const auto m = hn::LoadU(dq, minimum + c);
      for (std::size_t r = 0; r < kRows; ++r) {
        const std::size_t at = c / 4 * 4 * kRows + 4 * r + c % 4;
        const auto x = hn::LoadU(dq, q + at);
        const auto product = hn::Mul(x, s);
        hn::StoreU(product, dq, folded + at);
        largest[r] = hn::Max(largest[r], hn::Abs(product));
        sum[r] = hn::MulAdd(x, m, sum[r]);
      }
    }
    float factor[kRows];
    for (std::size_t r = 0; r < kRows; ++r) {
      start[r] += hn::GetLane(hn::SumOfLanes(dq, sum[r]));
      inverse[r] = hn::GetLane(hn::MaxOfLanes(dq, largest[r])) / kMost;
      factor[r] = inverse[r] > 1e-37F ? 1.0F / inverse[r] : 0.0F;
    }
    for (std::size_t i = 0; i < numbers * kRows; i += 4) {
      round_quad(folded + i, factor[i / 4 % kRows], rounded + i);
    }
  }
};

// scores[r][0..31] = start[r] + sum over a run's rows of query elements times row elements; added to the
// scores unless the run is the block's first. Changes `start`. A call of its own, so that it is not
// compiled once per pair of key and value formats.
template <ElementFormat kFormat, std::size_t kRows>
HWY_NOINLINE void score_codes(const KeyRun& run, const std::byte* block, const float* q, float* start,
                              bool first, float* HWY_RESTRICT scores) {
  if (multiplies_quads()) {
    score_quads_vnni(kRows, run, block, q, start, first, scores);
    return;
  }
  const CodeQueries<kRows> queries(run, block, q, start);
  const hn::RebindToFloat<CodeTag> d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t t = 0; t < kBlockTokens; t += 2 * lanes) {
    QuadSums<kRows> sums;
    const std::byte* row = block + run.rows;
    const std::int16_t* factors = queries.rounded;
    for (std::size_t quad = 0; quad < run.channels / 4; ++quad, row += run.row, factors += 4 * kRows) {
      sums.add(RowOfQuads<kFormat>{row}, t, factors);
    }
    if (run.channels % 4 != 0) sums.add(LoneRows<kFormat>{row, run.channels % 4}, t, factors);
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto from = hn::Set(d, start[r]);
      const auto store = [&](const PairSums<CodeTag>& sum, float* at) HWY_ATTR {
        const auto before = first ? from : hn::Add(from, hn::LoadU(d, at));
        hn::StoreU(hn::MulAdd(sum.total(), hn::Set(d, queries.inverse[r]), before), d, at);
      };
      float* to = scores + r * kBlockTokens + t;
      store(sums.low[r], to);
      store(sums.high[r], to + lanes);
    }
  }
}

// What the minima of value groups bring, the same for every channel of a group: lane by lane until the end.
template <std::size_t kRows>
struct ValueOffsets {
  HWY_ALIGN float sums[kMaxChannels / kUnit * kRows * 16];  // [groups][kRows][lanes, 0 beyond them]

  HWY_INLINE explicit ValueOffsets(std::size_t groups) { std::fill_n(sums, groups * kRows * 16, 0.0F); }

  HWY_INLINE void add_to(const BlockLayout& layout, std::size_t rows, std::size_t stride, float* out) const {
    const FloatTag d;
    for (std::size_t group = 0; group < layout.value_groups(); ++group) {
      const std::size_t begin = group * layout.value_group;
      const std::size_t end = std::min(begin + layout.value_group, layout.value_units() * kUnit);
      for (std::size_t r = 0; r < rows; ++r) {
        const FloatVector lanes = hn::Load(d, sums + (group * kRows + r) * 16);
        const float offset = hn::GetLane(hn::SumOfLanes(d, lanes));
        for (std::size_t c = begin; c < end; ++c) out[r * stride + c] += offset;
      }
    }
  }
};

// A block's weights with the scales of one value group folded in, in 16 bits: folded weight = rounded *
// inverse.
template <std::size_t kRows>
struct CodeWeights {
  HWY_ALIGN std::int16_t rounded[kBlockTokens * kRows];  // [quads][kRows][4]
  float inverse[kRows];

  // scales: the group's, then its minima. offsets: [kRows][16], the group's.
  HWY_INLINE CodeWeights(const f16_bits* scales, const float* HWY_RESTRICT weights,
                         const float* HWY_RESTRICT factor, float* HWY_RESTRICT offsets) {
    constexpr float kMost = 32767.0F;  // times 255, of 32 tokens: within 32 bits
    const FloatTag d;
    for (std::size_t r = 0; r < kRows; ++r) {
      HWY_ALIGN float folded[kBlockTokens];
      FloatVector largest = hn::Zero(d);
      FloatVector sum = hn::Mul(hn::Load(d, offsets + r * 16), hn::Set(d, factor[r]));
      for (std::size_t t = 0; t < kBlockTokens; t += hn::Lanes(d)) {
        const FloatVector w = hn::LoadU(d, weights + r * kBlockTokens + t);
        const FloatVector product = hn::Mul(w, load_f16(d, scales + t));
        hn::Store(product, d, folded + t);
        largest = hn::Max(largest, product);
        sum = hn::MulAdd(w, load_f16(d, scales + kBlockTokens + t), sum);
      }
      hn::Store(sum, d, offsets + r * 16);
      inverse[r] = hn::GetLane(hn::MaxOfLanes(d, largest)) / kMost;
      const float to_integers = inverse[r] > 1e-37F ? 1.0F / inverse[r] : 0.0F;
      for (std::size_t t = 0; t < kBlockTokens; t += 4) {
        round_quad(folded + t, to_integers, rounded + t * kRows + 4 * r);
      }
    }
  }
};

// out[r] = out[r] * factor[r] + weights[r] . a unit of 32 channels of codes.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void weigh_unit(const std::byte* rows, std::size_t row_bytes, std::size_t tokens,
                           const CodeWeights<kRows>& weights, const float* HWY_RESTRICT factor,
                           std::size_t stride, float* HWY_RESTRICT out) {
  const hn::RebindToFloat<CodeTag> d;
  const std::size_t lanes = hn::Lanes(d);
  for (std::size_t c = 0; c < kUnit; c += 2 * lanes) {
    QuadSums<kRows> sums;
    const std::byte* row = rows;
    for (std::size_t t = 0; t < tokens; t += 4, row += row_bytes) {
      sums.add(RowOfQuads<kFormat>{row}, c, weights.rounded + t * kRows);
    }
    for (std::size_t r = 0; r < kRows; ++r) {
      const auto add = [&](const PairSums<CodeTag>& sum, float* at) HWY_ATTR {
        const auto before = hn::Mul(hn::Set(d, factor[r]), hn::LoadU(d, at));
        hn::StoreU(hn::MulAdd(sum.total(), hn::Set(d, weights.inverse[r]), before), d, at);
      };
      float* to = out + r * stride + c;
      add(sums.low[r], to);
      add(sums.high[r], to + lanes);
    }
  }
}

// out[r] = out[r] * factor[r] + weights[r] . values of a block. A last, shorter unit is read over its end,
// into what follows the row; those sums are never used.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void weigh_codes(const BlockLayout& layout, const std::byte* block,
                            const float* HWY_RESTRICT weights, std::size_t tokens,
                            const float* HWY_RESTRICT factor, ValueOffsets<kRows>& offsets,
                            std::size_t stride, float* HWY_RESTRICT out) {
  if (multiplies_quads()) {
    weigh_quads_vnni(kRows, layout, block, weights, factor, offsets.sums, stride, out);
    return;
  }
  const std::size_t units_per_group = layout.value_group / kUnit;
  for (std::size_t group = 0; group < layout.value_groups(); ++group) {
    const auto* scales = BlockLayout::at<f16_bits>(block, layout.value_scales) + 2 * group * kBlockTokens;
    const CodeWeights<kRows> folded(scales, weights, factor, offsets.sums + group * kRows * 16);
    const std::size_t end = std::min((group + 1) * units_per_group, layout.value_units());
    for (std::size_t unit = group * units_per_group; unit < end; ++unit) {
      const std::size_t first = unit * kUnit;
      weigh_unit<kFormat, kRows>(block + layout.values_at(first), 4 * layout.value_lanes(first), tokens,
                                 folded, factor, stride, out + first);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
