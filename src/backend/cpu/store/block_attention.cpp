#include "backend/cpu/store/block_attention.h"

#include <algorithm>
#include <limits>

#include "backend/cpu/ops/highway_targets.h"

// foreach_target has to come first.
// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/store/block_attention-inl.h"
#include "hwy/foreach_target.h"
#include "backend/cpu/store/block_attention-inl.h"
// clang-format on

namespace thinkey {
namespace {

HWY_EXPORT(attend_blocks_kernel);

}  // namespace

void PartialAttention::reset(std::size_t new_rows, std::size_t value_units) {
  rows = new_rows;
  stride = value_units * kUnit;
  std::fill_n(maximum, rows, -std::numeric_limits<float>::infinity());
  std::fill_n(sum, rows, 0.0F);
  weighted.assign((rows + kTileRows - 1) / kTileRows * kTileRows * stride, 0.0F);
}

void place_query(const BlockLayout& layout, std::size_t rows, std::size_t r, const float* x, float scale,
                 float* q) {
  const QueryTile tile = query_tile(layout, rows, r);
  for (const KeyRun& run : layout.key_runs) {
    const std::size_t n = run.together();
    float* to = q + tile.begin + run.query * tile.width + r % kTileRows * n;
    for (std::size_t c = 0; c < run.channels; c += n, to += n * tile.width) {
      for (std::size_t i = 0; i < std::min(n, run.channels - c); ++i) to[i] = x[run.first + c + i] * scale;
    }
  }
}

void attend_blocks(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count,
                   const QueryRows& rows, PartialAttention& state) {
  HWY_DYNAMIC_DISPATCH(attend_blocks_kernel)(layout, blocks, count, rows, state);
}

}  // namespace thinkey
