// The decode kernel, once per instruction set.
//
// Scores: one query element is broadcast over a row of tokens, so that there are few horizontal adds and
// each row loaded serves all query rows. Values: one weight is broadcast over a token's row. 16-bit rows are
// multiplied as integers (block_fixed-inl.h). Of
// quantized rows only the codes are multiplied: a key row's scale goes into the query element, a token's
// value scale into its weight, and the minima become one sum each. Where the CPU multiplies pairs of
// bf16 numbers, codes, which are exact in bf16, go that way (block_pairs_bf16.h).

#if defined(THINKEY_BLOCK_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_BLOCK_ATTENTION_INL_H_
#undef THINKEY_BLOCK_ATTENTION_INL_H_
#else
#define THINKEY_BLOCK_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "cache/block_attention.h"
#include "cache/block_elements-inl.h"
#include "cache/block_fixed-inl.h"
#include "cache/block_pairs_bf16.h"
#include "cache/block_scales-inl.h"
#include "hwy/highway.h"
#include "ops/exp-inl.h"

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
HWY_NOINLINE void score_run(const KeyRun& run, const std::byte* block, const float* q, float* start,
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

// scores[r][0..31] = bias[r] + q[r] . keys of a block.
template <std::size_t kRows>
HWY_INLINE void score_block(const BlockLayout& layout, const std::byte* block, const float* q,
                            const FixedQueries<kRows>& fixed, const float* bias, std::size_t rows,
                            float* scores) {
  bool first = true;
  for (const KeyRun& run : layout.key_runs) {
    if (run.channels == 0) continue;
    float start[kRows] = {};
    if (first && bias != nullptr) std::copy_n(bias, rows, start);
    const float* queries = q + run.query * kRows;
    switch (run.format) {
      case ElementFormat::I16:
        score_fixed<kRows>(run, block, fixed, start, first, scores);
        break;
      case ElementFormat::Q8:
        score_run<ElementFormat::Q8, kRows>(run, block, queries, start, first, scores);
        break;
      case ElementFormat::Q4:
        score_run<ElementFormat::Q4, kRows>(run, block, queries, start, first, scores);
        break;
      case ElementFormat::Q2:
        score_run<ElementFormat::Q2, kRows>(run, block, queries, start, first, scores);
        break;
    }
    first = false;
  }
}

// The running softmax of up to four rows; sums are kept lane by lane until the end.
template <std::size_t kRows>
struct RunningSoftmax {
  float maximum[kRows];
  HWY_ALIGN float sums[kRows * 16];

  // Turns a row of logits into weights exp(logit - maximum). Returns the factor that what was accumulated
  // before must be scaled with.
  HWY_INLINE float step(std::size_t r, float* HWY_RESTRICT scores) {
    const FloatTag d;
    const std::size_t lanes = hn::Lanes(d);
    FloatVector top = hn::LoadU(d, scores);
    for (std::size_t t = lanes; t < kBlockTokens; t += lanes) top = hn::Max(top, hn::LoadU(d, scores + t));
    float factor = 1.0F;
    FloatVector total = hn::Load(d, sums + r * lanes);
    if (!hn::AllFalse(d, hn::Gt(top, hn::Set(d, maximum[r])))) {  // seldom, after the first blocks
      const float peak = hn::GetLane(hn::MaxOfLanes(d, top));
      factor = std::exp(maximum[r] - peak);
      maximum[r] = peak;
      total = hn::Mul(total, hn::Set(d, factor));
    } else if (maximum[r] == -std::numeric_limits<float>::infinity()) {  // every token masked so far
      std::fill_n(scores, kBlockTokens, 0.0F);
      return 1.0F;
    }
    const FloatVector shift = hn::Set(d, maximum[r]);
    for (std::size_t t = 0; t < kBlockTokens; t += lanes) {
      const FloatVector e = exp_accurate(d, hn::Sub(hn::LoadU(d, scores + t), shift));  // exp(-inf) = 0
      hn::StoreU(e, d, scores + t);
      total = hn::Add(total, e);
    }
    hn::Store(total, d, sums + r * lanes);
    return factor;
  }
};

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

template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void weigh_values(const BlockLayout& layout, const std::byte* block,
                             const float* HWY_RESTRICT weights, std::size_t tokens,
                             const float* HWY_RESTRICT factor, ValueOffsets<kRows>& offsets,
                             std::size_t stride, float* HWY_RESTRICT out) {
  if constexpr (kFormat == ElementFormat::I16) {
    weigh_fixed<kRows>(layout, block, weights, tokens, factor, stride, out);
  } else {
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
}

// One block for up to kRows rows; `rows` of them are real. kFormat is the values'.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void attend_block(const BlockLayout& layout, const std::byte* block, std::size_t tokens,
                             const float* q, const FixedQueries<kRows>& fixed, const float* bias,
                             const std::int32_t* oldest, std::size_t rows, RunningSoftmax<kRows>& softmax, ValueOffsets<kRows>& offsets, std::size_t stride,
                             float* out) {
  HWY_ALIGN float scores[kRows * kBlockTokens];
  float factor[kRows];
  score_block<kRows>(layout, block, q, fixed, bias, rows, scores);
  for (std::size_t r = 0; r < kRows; ++r) {
    float* row = scores + r * kBlockTokens;
    if (tokens < kBlockTokens) {
      std::fill(row + tokens, row + kBlockTokens, -std::numeric_limits<float>::infinity());
    }
    if (oldest != nullptr && r < rows) {
      const std::int32_t* positions = layout.positions(block);
      for (std::size_t t = 0; t < tokens && positions[t] < oldest[r]; ++t) {
        row[t] = -std::numeric_limits<float>::infinity();
      }
    }
    factor[r] = softmax.step(r, row);
  }
  weigh_values<kFormat, kRows>(layout, block, scores, tokens, factor, offsets, stride, out);
}

// All blocks for rows [first, first + rows) of the state, as kRows.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void attend_rows(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count,
                            const float* q, const float* bias, const std::int32_t* oldest, std::size_t first,
                            std::size_t rows, PartialAttention& state) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  RunningSoftmax<kRows> softmax;
  std::fill_n(softmax.maximum, kRows, -std::numeric_limits<float>::infinity());
  std::fill_n(softmax.sums, kRows * 16, 0.0F);
  for (std::size_t r = 0; r < rows; ++r) {
    softmax.maximum[r] = state.maximum[first + r];
    softmax.sums[r * lanes] = state.sum[first + r];
  }
  ValueOffsets<kRows> offsets(kFormat == ElementFormat::I16 ? 0 : layout.value_groups());
  if (oldest != nullptr) oldest += first;
  const std::int32_t horizon = oldest == nullptr ? 0 : *std::min_element(oldest, oldest + rows);
  const float* queries = q + query_tile(layout, state.rows, first).begin;
  const FixedQueries<kRows> fixed(layout.key_runs.front(), queries);
  float* out = state.weighted.data() + first * state.stride;
  for (std::size_t i = 0; i < count; ++i) {
    const std::byte* block = blocks[i];
    const std::size_t tokens = layout.count(block);
    if (tokens == 0 || layout.positions(block)[tokens - 1] < horizon) continue;
    attend_block<kFormat, kRows>(layout, block, tokens, queries, fixed,
                                 bias == nullptr ? nullptr : bias + first, oldest, rows, softmax, offsets,
                                 state.stride, out);
  }
  if constexpr (kFormat != ElementFormat::I16) offsets.add_to(layout, rows, state.stride, out);
  for (std::size_t r = 0; r < rows; ++r) {
    state.maximum[first + r] = softmax.maximum[r];
    state.sum[first + r] = hn::GetLane(hn::SumOfLanes(d, hn::Load(d, softmax.sums + r * lanes)));
  }
}

template <ElementFormat kFormat>
void attend_all(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count, const float* q,
                const float* bias, const std::int32_t* oldest, PartialAttention& state) {
  // Four rows share each widened row. More rows come back for the same blocks a few at a time, which the
  // second-level cache still holds.
  constexpr std::size_t kBlocksAtOnce = 16;
  for (std::size_t begin = 0; begin < count; begin += kBlocksAtOnce) {
    const std::byte* const* some = blocks + begin;
    const std::size_t n = state.rows > kTileRows ? std::min(kBlocksAtOnce, count - begin) : count;
    for (std::size_t r = 0; r < state.rows; r += kTileRows) {
      const std::size_t rows = std::min(kTileRows, state.rows - r);
      switch (tile_width(layout, rows)) {
        case 4:
          attend_rows<kFormat, 4>(layout, some, n, q, bias, oldest, r, rows, state);
          break;
        case 3:
          attend_rows<kFormat, 3>(layout, some, n, q, bias, oldest, r, rows, state);
          break;
        case 2:
          attend_rows<kFormat, 2>(layout, some, n, q, bias, oldest, r, rows, state);
          break;
        default:
          attend_rows<kFormat, 1>(layout, some, n, q, bias, oldest, r, rows, state);
          break;
      }
    }
    if (n == count) break;
  }
}

inline void attend_blocks_kernel(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count,
                                 const float* q, const float* bias, const std::int32_t* oldest,
                                 PartialAttention& state) {
  switch (layout.value_format) {
    case ElementFormat::I16:
      attend_all<ElementFormat::I16>(layout, blocks, count, q, bias, oldest, state);
      break;
    case ElementFormat::Q8:
      attend_all<ElementFormat::Q8>(layout, blocks, count, q, bias, oldest, state);
      break;
    case ElementFormat::Q4:
      attend_all<ElementFormat::Q4>(layout, blocks, count, q, bias, oldest, state);
      break;
    case ElementFormat::Q2:
      attend_all<ElementFormat::Q2>(layout, blocks, count, q, bias, oldest, state);
      break;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
