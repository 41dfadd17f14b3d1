// Attention of a few query rows over the blocks of a segment, with a running maximum and sum
// (flash-decoding).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "backend/cpu/store/block.h"

namespace thinkey {

inline constexpr std::size_t kMaxRows = 16;  // query rows one call serves
inline constexpr std::size_t kTileRows = 4;  // of which so many share each row of a block

// Rows of q lie in tiles of kTileRows rows, the last one perhaps narrower; a tile is run after run of the
// layout's keys, each [channels / n][width][n] for n channels that lie side by side.
[[nodiscard]] inline std::size_t tile_width(const BlockLayout& layout, std::size_t rows) noexcept {
  return layout.has_codes() && rows == 3 ? 4 : rows;  // 1, 2 or 4 rows fill vectors evenly
}
// Numbers of q for `rows` rows, with room for vectors that reach past the last; those of missing rows and
// channels must be zero.
[[nodiscard]] inline std::size_t query_size(const BlockLayout& layout, std::size_t rows) noexcept {
  return (rows + kTileRows - 1) / kTileRows * kTileRows * layout.query_numbers() + 64;
}
// Where in q the tile of row r begins, and how wide it is.
struct QueryTile {
  std::size_t begin, width;
};
[[nodiscard]] inline QueryTile query_tile(const BlockLayout& layout, std::size_t rows,
                                          std::size_t r) noexcept {
  const std::size_t first = r / kTileRows * kTileRows;
  const std::size_t left = rows - first;
  return {first * layout.query_numbers(), tile_width(layout, left < kTileRows ? left : kTileRows)};
}
// Writes channels x [D'], times `scale`, as row r of q.
void place_query(const BlockLayout& layout, std::size_t rows, std::size_t r, const float* x, float scale,
                 float* q);

// Unfinished softmax of up to kMaxRows rows over some keys.
struct PartialAttention {
  std::size_t rows = 0;
  std::size_t stride = 0;       // floats between two rows of `weighted`; >= value channels
  float maximum[kMaxRows];      // of the scaled logits so far; -inf: nothing seen
  float sum[kMaxRows];          // of exp(logit - maximum)
  std::vector<float> weighted;  // [rows][stride] sum of exp(logit - maximum) * value, by value_slot()

  // Empty, with room for `value_units` units of 32 channels per row.
  void reset(std::size_t rows, std::size_t value_units);
};

// The query rows of a call.
struct QueryRows {
  const float* q = nullptr;     // packed as above, already scaled
  const float* bias = nullptr;  // [rows], added to every logit of a row; null: nothing is
  // [rows]: tokens at positions below do not exist for a row (sliding window); null: all do.
  const std::int32_t* oldest = nullptr;
  float softcap = 0.0F;  // AttentionShape::softcap
};

// Folds `count` blocks into `state`.
void attend_blocks(const BlockLayout& layout, const std::byte* const* blocks, std::size_t count,
                   const QueryRows& rows, PartialAttention& state);

}  // namespace thinkey
