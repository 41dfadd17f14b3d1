// The decode kernel, once per instruction set. Block by block: its scores, a step of the running softmax, its
// values.
//
// Scores: one query element is broadcast over a row of tokens, so that there are no horizontal additions and
// each row loaded serves all query rows. Values: one weight is broadcast over a token's row. Both are
// multiplied as integers: 16-bit numbers (block_fixed-inl.h), codes (block_codes-inl.h) and levels
// (block_levels-inl.h).

#if defined(THINKEY_BLOCK_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_BLOCK_ATTENTION_INL_H_
#undef THINKEY_BLOCK_ATTENTION_INL_H_
#else
#define THINKEY_BLOCK_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "backend/cpu/ops/softmax-inl.h"
#include "backend/cpu/store/block_attention.h"
#include "backend/cpu/store/block_codes-inl.h"
#include "backend/cpu/store/block_fixed-inl.h"
#include "backend/cpu/store/block_levels-inl.h"
#include "backend/cpu/store/block_softmax-inl.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// scores[r][0..31] = bias[r] + q[r] . keys of a block.
template <std::size_t kRows>
HWY_INLINE void score_block(const BlockLayout& layout, const std::byte* block, const float* q,
                            const FixedQueries<kRows>& fixed, const LevelQueries<kRows>& levels,
                            const float* bias, std::size_t rows, float* scores) {
  bool first = true;
  for (const KeyRun& run : layout.key_runs) {
    if (run.channels == 0) continue;
    float start[kRows] = {};
    if (first && bias != nullptr) std::copy_n(bias, rows, start);
    if (run.format == ElementFormat::I16) {
      score_fixed<kRows>(run, block, fixed, start, first, scores);
    } else if constexpr (kRows != 3) {  // tile_width()
      const float* queries = q + run.query * kRows;
      switch (run.format) {
        case ElementFormat::I16:
          break;
        case ElementFormat::Q8:
          score_codes<ElementFormat::Q8, kRows>(run, block, queries, start, first, scores);
          break;
        case ElementFormat::Q4:
          score_codes<ElementFormat::Q4, kRows>(run, block, queries, start, first, scores);
          break;
        case ElementFormat::Q2:
          score_codes<ElementFormat::Q2, kRows>(run, block, queries, start, first, scores);
          break;
        case ElementFormat::L8:
        case ElementFormat::L6:
        case ElementFormat::L5:
        case ElementFormat::L4:
        case ElementFormat::L3:
        case ElementFormat::L2:
        case ElementFormat::L1:
          score_levels<kRows>(run, block, levels, start, scores);
          break;
      }
    }
    first = false;
  }
}

// Up to kRows query rows on their way through the blocks; the first `rows` of them are real.
template <std::size_t kRows>
struct RowsUnderway {
  const float* q;
  const float* bias;           // of the first row, or null
  const std::int32_t* oldest;  // likewise
  float softcap;
  std::size_t rows;
  const FixedQueries<kRows>& fixed;
  const LevelQueries<kRows>& levels;
  RunningSoftmax<kRows>& softmax;
  ValueOffsets<kRows>& offsets;
  std::size_t stride;  // of out
  float* out;          // weighted values
};

// One block of `tokens` tokens. kFormat is the values'; L8 stands for all levels.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void attend_block(const BlockLayout& layout, const std::byte* block, std::size_t tokens,
                             const RowsUnderway<kRows>& to) {
  constexpr float kNothing = -std::numeric_limits<float>::infinity();
  HWY_ALIGN float scores[kRows * kBlockTokens];
  float factor[kRows];
  score_block<kRows>(layout, block, to.q, to.fixed, to.levels, to.bias, to.rows, scores);
  if (to.softcap > 0.0F) softcap_row(scores, kRows * kBlockTokens, to.softcap);
  for (std::size_t r = 0; r < kRows; ++r) {
    float* row = scores + r * kBlockTokens;
    if (tokens < kBlockTokens) std::fill(row + tokens, row + kBlockTokens, kNothing);
    if (to.oldest != nullptr && r < to.rows) {
      for (std::size_t t = 0; t < tokens && layout.position(block, t) < to.oldest[r]; ++t) row[t] = kNothing;
    }
    factor[r] = to.softmax.step(r, row);
  }
  if constexpr (kFormat == ElementFormat::I16) {
    weigh_fixed<kRows>(layout, block, scores, tokens, factor, to.stride, to.out);
  } else if constexpr (is_level(kFormat)) {
    weigh_levels<kRows>(layout, block, scores, factor, to.stride, to.out);
  } else {
    weigh_codes<kFormat, kRows>(layout, block, scores, tokens, factor, to.offsets, to.stride, to.out);
  }
}

// All blocks for rows [first, first + rows) of the state, as kRows.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void attend_rows(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count,
                            const QueryRows& queries, std::size_t first, std::size_t rows,
                            PartialAttention& state) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  RunningSoftmax<kRows> softmax;
  std::fill_n(softmax.maximum, kRows, -std::numeric_limits<float>::infinity());
  std::fill_n(softmax.sums, kRows * 16, 0.0F);
  for (std::size_t r = 0; r < rows; ++r) {
    softmax.maximum[r] = state.maximum[first + r];
    softmax.sums[r * lanes] = state.sum[first + r];
  }
  constexpr bool kCodes = kFormat != ElementFormat::I16 && !is_level(kFormat);
  ValueOffsets<kRows> offsets(kCodes ? layout.value_groups() : 0);
  const float* q = queries.q + query_tile(layout, state.rows, first).begin;
  const FixedQueries<kRows> fixed(layout.key_runs.front(), q);
  const LevelQueries<kRows> levels(layout, q);
  const RowsUnderway<kRows> underway{.q = q,
                                     .bias = queries.bias == nullptr ? nullptr : queries.bias + first,
                                     .oldest = queries.oldest == nullptr ? nullptr : queries.oldest + first,
                                     .softcap = queries.softcap,
                                     .rows = rows,
                                     .fixed = fixed,
                                     .levels = levels,
                                     .softmax = softmax,
                                     .offsets = offsets,
                                     .stride = state.stride,
                                     .out = state.weighted.data() + first * state.stride};
  const std::int32_t horizon =
      underway.oldest == nullptr ? 0 : *std::min_element(underway.oldest, underway.oldest + rows);
  for (std::size_t i = 0; i < count; ++i) {
    const std::byte* block = blocks[i];
    const std::size_t tokens = layout.count(block);
    if (tokens == 0 || layout.position(block, tokens - 1) < horizon) continue;
    attend_block<kFormat, kRows>(layout, block, tokens, underway);
  }
  if constexpr (kCodes) offsets.add_to(layout, rows, state.stride, underway.out);
  for (std::size_t r = 0; r < rows; ++r) {
    state.maximum[first + r] = softmax.maximum[r];
    state.sum[first + r] = hn::GetLane(hn::SumOfLanes(d, hn::Load(d, softmax.sums + r * lanes)));
  }
}

template <ElementFormat kFormat>
void attend_all(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count,
                const QueryRows& queries, PartialAttention& state) {
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
          attend_rows<kFormat, 4>(layout, some, n, queries, r, rows, state);
          break;
        case 3:
          if constexpr (kFormat == ElementFormat::I16) {
            attend_rows<kFormat, 3>(layout, some, n, queries, r, rows, state);
          }
          break;
        case 2:
          attend_rows<kFormat, 2>(layout, some, n, queries, r, rows, state);
          break;
        default:
          attend_rows<kFormat, 1>(layout, some, n, queries, r, rows, state);
          break;
      }
    }
    if (n == count) break;
  }
}

inline void attend_blocks_kernel(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count,
                                 const QueryRows& queries, PartialAttention& state) {
  switch (layout.value_format) {
    case ElementFormat::I16:
      attend_all<ElementFormat::I16>(layout, blocks, count, queries, state);
      break;
    case ElementFormat::Q8:
      attend_all<ElementFormat::Q8>(layout, blocks, count, queries, state);
      break;
    case ElementFormat::Q4:
      attend_all<ElementFormat::Q4>(layout, blocks, count, queries, state);
      break;
    case ElementFormat::Q2:
      attend_all<ElementFormat::Q2>(layout, blocks, count, queries, state);
      break;
    case ElementFormat::L8:
    case ElementFormat::L6:
    case ElementFormat::L5:
    case ElementFormat::L4:
    case ElementFormat::L3:
    case ElementFormat::L2:
    case ElementFormat::L1:
      attend_all<ElementFormat::L8>(layout, blocks, count, queries, state);
      break;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace thinkey
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
