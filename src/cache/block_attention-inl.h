// The decode kernel, once per instruction set.
//
// Scores: one query element is broadcast over a row of 32 tokens, so there are no horizontal adds
// and each widened row serves all query rows. Values: one weight is broadcast over a token's row.
// Of quantized rows only the codes are multiplied: a key row's scale goes into the query element, a
// token's value scale into its weight, and the minima become one sum each.

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
#include "cache/block_elements-inl.h"
#include "hwy/highway.h"
#include "ops/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr std::size_t kMaxChannels = 512;  // the largest head_dim a model file may have

// scores[r][0..31] = start[r] + sum_c q[c * pitch + r] * element(c, token) over the channels of a run;
// unless it is the block's first, that is added to the scores.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void score_rows(const KeyRun& run, const std::byte* block, const float* HWY_RESTRICT q,
                           std::size_t pitch, const float* start, bool first, float* HWY_RESTRICT scores) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  // Two vectors of tokens at a time keep 2 * kRows sums in registers on every target.
  for (std::size_t t = 0; t < kBlockTokens; t += 2 * lanes) {
    FloatVector low[kRows];
    FloatVector high[kRows];
    for (std::size_t r = 0; r < kRows; ++r) {
      low[r] = high[r] = hn::Set(d, start[r]);
      if (first) continue;
      low[r] = hn::Add(low[r], hn::LoadU(d, scores + r * kBlockTokens + t));
      high[r] = hn::Add(high[r], hn::LoadU(d, scores + r * kBlockTokens + t + lanes));
    }
    const std::byte* row = block + run.rows;
    const float* element = q;
    for (std::size_t c = 0; c < run.channels; ++c, row += run.row, element += pitch) {
      const FloatVector k0 = Elements<kFormat>::load(d, row, t);
      const FloatVector k1 = Elements<kFormat>::load(d, row, t + lanes);
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

// Queries with a run's key scales folded in: folded[c * kRows + r]; start[r] gains the minima's share.
template <std::size_t kRows>
HWY_INLINE void fold_key_scales(const KeyRun& run, const std::byte* block, const float* HWY_RESTRICT q,
                                std::size_t pitch, float* HWY_RESTRICT folded, float* start) {
  const auto* scales = BlockLayout::at<f16_bits>(block, run.scales);
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  HWY_ALIGN float scale[kMaxChannels];
  HWY_ALIGN float minimum[kMaxChannels];
  // Reading past the last scale meets the minima or the codes, past the last minimum the codes.
  for (std::size_t c = 0; c < run.channels; c += lanes) {
    hn::Store(load_f16(d, scales + c), d, scale + c);
    hn::Store(load_f16(d, scales + run.channels + c), d, minimum + c);
  }
  for (std::size_t c = 0; c < run.channels; ++c) {
    for (std::size_t r = 0; r < kRows; ++r) {
      const float element = q[c * pitch + r];
      folded[c * kRows + r] = element * scale[c];
      start[r] += element * minimum[c];
    }
  }
}

// One run of a block's keys; the first one adds the bias. A call of its own, so that
// the kernel below is not compiled once per pair of key and value formats.
template <ElementFormat kFormat, std::size_t kRows>
HWY_NOINLINE void score_run(const KeyRun& run, const std::byte* block, const float* q, std::size_t pitch,
                            const float* bias, bool first, float* scores) {
  float start[kRows] = {};
  if (first && bias != nullptr) std::copy_n(bias, kRows, start);
  const float* elements = q + run.first * pitch;
  if constexpr (kFormat == ElementFormat::F16) {
    score_rows<kFormat, kRows>(run, block, elements, pitch, start, first, scores);
  } else {
    float folded[kMaxChannels * kRows];
    fold_key_scales<kRows>(run, block, elements, pitch, folded, start);
    score_rows<kFormat, kRows>(run, block, folded, kRows, start, first, scores);
  }
}

// scores[r][0..31] = bias[r] + q[r] . keys of a block.
template <std::size_t kRows>
HWY_INLINE void score_block(const BlockLayout& layout, const std::byte* block, const float* q,
                            std::size_t pitch, const float* bias, float* scores) {
  bool first = true;
  for (const KeyRun& run : layout.key_runs) {
    if (run.channels == 0) continue;
    switch (run.format) {
      case ElementFormat::F16:
        score_run<ElementFormat::F16, kRows>(run, block, q, pitch, bias, first, scores);
        break;
      case ElementFormat::Q8:
        score_run<ElementFormat::Q8, kRows>(run, block, q, pitch, bias, first, scores);
        break;
      case ElementFormat::Q4:
        score_run<ElementFormat::Q4, kRows>(run, block, q, pitch, bias, first, scores);
        break;
      case ElementFormat::Q2:
        score_run<ElementFormat::Q2, kRows>(run, block, q, pitch, bias, first, scores);
        break;
    }
    first = false;
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
  const float factor = maximum == peak ? 1.0F : std::exp(maximum - peak);
  sum = sum * factor + hn::GetLane(hn::SumOfLanes(d, total));
  maximum = peak;
  return factor;
}

// out[r] = out[r] * factor[r] + weights[r] . values, kRows rows, unit by unit of 32 channels.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void weigh_values(const BlockLayout& layout, const std::byte* block,
                             const float* HWY_RESTRICT weights, std::size_t tokens,
                             const float* HWY_RESTRICT factor, std::size_t stride, float* HWY_RESTRICT out) {
  const FloatTag d;
  const std::size_t lanes = hn::Lanes(d);
  constexpr std::size_t unit_bytes = kUnit * element_bits(kFormat) / 8;
  HWY_ALIGN float scaled[kRows * kBlockTokens];
  float offset[kRows] = {};
  for (std::size_t unit = 0; unit < layout.value_units(); ++unit) {
    const float* use = weights;
    if constexpr (kFormat != ElementFormat::F16) {
      use = scaled;
      if (unit * kUnit % layout.value_group == 0) {
        const std::size_t group = unit * kUnit / layout.value_group;
        const auto* scales = BlockLayout::at<f16_bits>(block, layout.value_scales) + group * kBlockTokens;
        const auto* minima = scales + layout.value_groups() * kBlockTokens;
        for (std::size_t r = 0; r < kRows; ++r) {
          FloatVector sum = hn::Zero(d);
          for (std::size_t t = 0; t < kBlockTokens; t += lanes) {
            const FloatVector w = hn::LoadU(d, weights + r * kBlockTokens + t);
            hn::StoreU(hn::Mul(w, load_f16(d, scales + t)), d, scaled + r * kBlockTokens + t);
            sum = hn::MulAdd(w, load_f16(d, minima + t), sum);
          }
          offset[r] = hn::GetLane(hn::SumOfLanes(d, sum));
        }
      }
    }
    // A last, shorter unit is read over its end, into what follows the row; those sums are never used.
    const std::byte* first = block + layout.values + unit * unit_bytes;
    for (std::size_t i = 0; i < kUnit; i += 2 * lanes) {
      float* at = out + unit * kUnit + i;
      FloatVector low[kRows];
      FloatVector high[kRows];
      for (std::size_t r = 0; r < kRows; ++r) {
        const FloatVector f = hn::Set(d, factor[r]);
        const FloatVector o = hn::Set(d, offset[r]);
        low[r] = hn::MulAdd(f, hn::LoadU(d, at + r * stride), o);
        high[r] = hn::MulAdd(f, hn::LoadU(d, at + r * stride + lanes), o);
      }
      const std::byte* row = first;
      for (std::size_t t = 0; t < tokens; ++t, row += layout.value_row) {
        const FloatVector v0 = Elements<kFormat>::load(d, row, i);
        const FloatVector v1 = Elements<kFormat>::load(d, row, i + lanes);
        for (std::size_t r = 0; r < kRows; ++r) {
          const FloatVector w = hn::Set(d, use[r * kBlockTokens + t]);
          low[r] = hn::MulAdd(w, v0, low[r]);
          high[r] = hn::MulAdd(w, v1, high[r]);
        }
      }
      for (std::size_t r = 0; r < kRows; ++r) {
        hn::StoreU(low[r], d, at + r * stride);
        hn::StoreU(high[r], d, at + r * stride + lanes);
      }
    }
  }
}

// One block for rows [first, first + kRows) of the state; kFormat is the values'.
template <ElementFormat kFormat, std::size_t kRows>
HWY_INLINE void attend_block(const BlockLayout& layout, const std::byte* block, std::size_t tokens,
                             const float* q, const float* bias, const std::int32_t* oldest, std::size_t first,
                             PartialAttention& state) {
  HWY_ALIGN float scores[kRows * kBlockTokens];
  float factor[kRows];
  score_block<kRows>(layout, block, q + first, state.rows, bias == nullptr ? nullptr : bias + first, scores);
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
  weigh_values<kFormat, kRows>(layout, block, scores, tokens, factor, state.stride,
                               state.weighted.data() + first * state.stride);
}

template <ElementFormat kFormat>
void attend_all(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count, const float* q,
                const float* bias, const std::int32_t* oldest, PartialAttention& state) {
  const std::int32_t horizon = oldest == nullptr ? 0 : *std::min_element(oldest, oldest + state.rows);
  for (std::size_t i = 0; i < count; ++i) {
    const std::byte* block = blocks[i];
    const std::size_t tokens = layout.count(block);
    if (tokens == 0 || layout.positions(block)[tokens - 1] < horizon) continue;
    // Four rows share each widened key row; the block stays in the first-level cache for the next four.
    std::size_t r = 0;
    for (; r + 4 <= state.rows; r += 4) {
      attend_block<kFormat, 4>(layout, block, tokens, q, bias, oldest, r, state);
    }
    switch (state.rows - r) {
      case 3:
        attend_block<kFormat, 3>(layout, block, tokens, q, bias, oldest, r, state);
        break;
      case 2:
        attend_block<kFormat, 2>(layout, block, tokens, q, bias, oldest, r, state);
        break;
      case 1:
        attend_block<kFormat, 1>(layout, block, tokens, q, bias, oldest, r, state);
        break;
      default:
        break;
    }
  }
}

inline void attend_blocks_kernel(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count,
                                 const float* q, const float* bias, const std::int32_t* oldest,
                                 PartialAttention& state) {
  switch (layout.value_format) {
    case ElementFormat::F16:
      attend_all<ElementFormat::F16>(layout, blocks, count, q, bias, oldest, state);
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
