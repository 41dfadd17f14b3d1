#include "backend/cpu/ops/matmul_int8.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "backend/cpu/ops/dequantize.h"
#include "base/parallel.h"
#include "base/require_fit.h"

#if defined(__x86_64__)
#include "backend/cpu/ops/vnni-inl.h"
#endif

namespace thinkey {
namespace {

constexpr std::size_t kQuads = kInt8Depth / 4;  // 4 columns are multiplied in one step

constexpr std::size_t depths(std::size_t width) noexcept { return (width + kInt8Depth - 1) / kInt8Depth; }
constexpr std::size_t panels(std::size_t rows) noexcept { return (rows + kInt8Panel - 1) / kInt8Panel; }
constexpr std::size_t aligned(std::size_t bytes) noexcept { return (bytes + 63) / 64 * 64; }

}  // namespace

std::size_t int8_activation_bytes(std::size_t rows, std::size_t width) noexcept {
  const std::size_t n = rows * depths(width);
  return n * kInt8Depth + 2 * aligned(n * sizeof(float));
}

Int8Activations int8_activations(std::byte* memory, std::size_t rows, std::size_t width) noexcept {
  const std::size_t n = rows * depths(width);
  std::byte* scales = memory + n * kInt8Depth;
  return {.depths = depths(width),
          .codes = reinterpret_cast<std::int8_t*>(memory),
          .scales = reinterpret_cast<float*>(scales),
          .sums = reinterpret_cast<std::int32_t*>(scales + aligned(n * sizeof(float)))};
}

std::size_t int8_weight_bytes(std::size_t rows, std::size_t cols) noexcept {
  return panels(rows) * depths(cols) * kInt8DepthBytes;
}

Int8Weights int8_weights(const std::byte* memory, std::size_t rows, std::size_t cols) noexcept {
  return {
      .rows = rows, .depths = depths(cols), .data = memory, .panel_bytes = depths(cols) * kInt8DepthBytes};
}

Int8Weights Int8Weights::part(std::size_t row, std::size_t part_rows, std::size_t col,
                              std::size_t cols) const noexcept {
  return {.rows = part_rows,
          .depths = thinkey::depths(cols),
          .data = data + row / kInt8Panel * panel_bytes + col / kInt8Depth * kInt8DepthBytes,
          .panel_bytes = panel_bytes};
}

#if defined(__x86_64__)

namespace {

// 64 numbers in 8 bits.
struct Rounded {
  __m128i codes[4];
  float scale;
  std::int32_t sum;
};

THINKEY_VNNI_INLINE Rounded round_depth(const __m512 (&x)[4]) {
  // Bits of magnitudes are in the order of the magnitudes, and infinity and NaN above all others.
  const __m512i magnitudes = _mm512_set1_epi32(0x7FFFFFFF);
  __m512i largest = _mm512_setzero_si512();
  for (const __m512 part : x) {
    largest = _mm512_max_epi32(largest, _mm512_and_si512(_mm512_castps_si512(part), magnitudes));
  }
  const std::int32_t most = _mm512_reduce_max_epi32(largest);
  Rounded out{};
  if (most >= std::bit_cast<std::int32_t>(std::numeric_limits<float>::infinity())) {
    for (__m128i& codes : out.codes) codes = _mm_setzero_si128();
    out.scale = std::numeric_limits<float>::quiet_NaN();
    return out;
  }
  constexpr float kSmallest = 1e-35F;  // 127 / magnitude must stay finite
  const auto magnitude = std::bit_cast<float>(most);
  const float inverse = magnitude < kSmallest ? 0.0F : 127 / magnitude;
  __m512i sum = _mm512_setzero_si512();
  for (std::size_t i = 0; i < 4; ++i) {
    const __m512i codes = _mm512_cvtps_epi32(_mm512_mul_ps(x[i], _mm512_set1_ps(inverse)));
    out.codes[i] = _mm512_cvtsepi32_epi8(codes);
    sum = _mm512_add_epi32(sum, codes);
  }
  out.scale = magnitude < kSmallest ? 0.0F : magnitude / 127;
  out.sum = _mm512_reduce_add_epi32(sum);
  return out;
}

THINKEY_VNNI_INLINE __m512 load_lanes(const float* x, __mmask16 lanes) {
  return _mm512_maskz_loadu_ps(lanes, x);
}
THINKEY_VNNI_INLINE __m512 load_lanes(const bf16_bits* x, __mmask16 lanes) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, integers(x))), 16));
}

// The first `count` numbers from x on, at most 64; zeros after them.
template <typename T>
THINKEY_VNNI_INLINE Rounded round_depth(const T* x, std::size_t count) {
  __m512 parts[4];
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t left = count - std::min(count, 16 * i);
    parts[i] =
        load_lanes(x + (count - left), static_cast<__mmask16>(left >= 16 ? 0xFFFFU : (1U << left) - 1U));
  }
  return round_depth(parts);
}

template <typename T>
THINKEY_VNNI void quantize_row(const T* x, std::size_t width, std::size_t row, const Int8Activations& out) {
  std::int8_t* codes = out.codes + row * out.depths * kInt8Depth;
  for (std::size_t d = 0; d < out.depths; ++d) {
    const std::size_t first = d * kInt8Depth;
    const Rounded rounded = round_depth(x + first, std::min(kInt8Depth, width - first));
    for (std::size_t i = 0; i < 4; ++i) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + first + 16 * i), rounded.codes[i]);
    }
    out.scales[row * out.depths + d] = rounded.scale;
    out.sums[row * out.depths + d] = rounded.sum;
  }
}

template <typename T>
void quantize_all_rows(const T* x, std::size_t rows, std::size_t width, const Int8Activations& out) {
  require_fit(out.depths == depths(width), "activations of another width");
  constexpr std::size_t kRowsPerTask = 16;
  parallel_for((rows + kRowsPerTask - 1) / kRowsPerTask, [&](std::size_t task) {
    const std::size_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (std::size_t r = task * kRowsPerTask; r < end; ++r) quantize_row(x + r * width, width, r, out);
  });
}

constexpr std::size_t kTransposed = 16;  // rows whose codes become vectors of a panel together

// Rows of 16 numbers of 4 bytes become columns.
THINKEY_VNNI_INLINE void transpose(__m512i (&x)[kTransposed]) {
  __m512i y[kTransposed];
  for (std::size_t i = 0; i < kTransposed; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (std::size_t i = 0; i < kTransposed; i += 4) {
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
  for (std::size_t i = 0; i < 4; ++i) {
    y[i] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88);
    y[i + 4] = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xDD);
    y[i + 8] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
    y[i + 12] = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xDD);
  }
  for (std::size_t i = 0; i < 8; ++i) {
    x[i] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0x88);
    x[i + 8] = _mm512_shuffle_i32x4(y[i], y[i + 8], 0xDD);
  }
}

// Up to 64 columns of 16 rows into their places in a panel's depth.
THINKEY_VNNI void place_weights(const float* x, std::size_t stride, std::size_t count, std::uint8_t* codes,
                                float* scales) {
  __m512i quads[kTransposed];
  for (std::size_t r = 0; r < kTransposed; ++r) {
    const Rounded rounded = round_depth(x + r * stride, count);
    const __m256i low = _mm256_set_m128i(rounded.codes[1], rounded.codes[0]);
    const __m256i high = _mm256_set_m128i(rounded.codes[3], rounded.codes[2]);
    quads[r] = _mm512_xor_si512(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1),
                                _mm512_set1_epi8(static_cast<char>(0x80)));
    scales[r] = rounded.scale;
  }
  transpose(quads);
  for (std::size_t q = 0; q < kQuads; ++q) _mm512_storeu_si512(codes + q * 4 * kInt8Panel, quads[q]);
}

// Columns that are widened at a time: with a panel's codes of them, what the first-level cache holds.
constexpr std::size_t kWidened = 256;

// The pieces of a panel's rows are short and far apart, which no hardware foresees.
void prefetch_piece(const std::byte* piece, std::size_t bytes) {
  const auto* line = reinterpret_cast<const char*>(piece);
  for (std::size_t i = 0; i < bytes; i += 64) _mm_prefetch(line + i, _MM_HINT_T0);
}

void quantize_panel(const MatrixView& matrix, std::size_t first, std::size_t cols, std::size_t panel,
                    std::byte* out) {
  const std::size_t offset = row_bytes(matrix.type, first);
  const std::size_t row = panel * kInt8Panel;
  const std::size_t rows = std::min(kInt8Panel, matrix.rows - row);
  alignas(64) float wide[kTransposed * kWidened];
  for (std::size_t begin = 0; begin < cols; begin += kWidened) {
    const std::size_t count = std::min(kWidened, cols - begin);
    const std::size_t next = std::min(kWidened, cols - begin - count);
    const std::size_t bytes = offset + row_bytes(matrix.type, begin);
    const std::size_t piece = row_bytes(matrix.type, count);
    for (std::size_t group = 0; group < kInt8Panel; group += kTransposed) {
      for (std::size_t r = 0; r < kTransposed; ++r) {
        float* to = wide + r * kWidened;
        if (group + r >= rows) {
          std::fill_n(to, count, 0.0F);
          continue;
        }
        const std::byte* from = matrix.row(row + group + r) + bytes;
        prefetch_piece(from + piece, row_bytes(matrix.type, next));
        if (begin == 0 && group + r + kTransposed < rows) {
          prefetch_piece(matrix.row(row + group + r + kTransposed) + bytes, piece);
        }
        widen_row(matrix.type, from, count, to);
      }
      for (std::size_t i = 0; i < count; i += kInt8Depth) {
        std::byte* depth = out + (begin + i) / kInt8Depth * kInt8DepthBytes;
        auto* codes = reinterpret_cast<std::uint8_t*>(depth);
        auto* scales = reinterpret_cast<float*>(depth + kInt8CodeBytes);
        place_weights(wide + i, kWidened, std::min(kInt8Depth, count - i), codes + 4 * group, scales + group);
      }
    }
  }
}

// Rows of activations whose products with a panel fit in registers: 6 x 64 sums.
constexpr std::size_t kTileRows = 6;
constexpr std::size_t kVectors = kInt8Panel / 16;

struct Tile {
  const std::int8_t* x;
  const float* x_scales;
  const std::int32_t* x_sums;
  std::size_t depths;
  const std::uint8_t* codes;  // of the panel's first depth
  float* y;
  std::size_t stride;
};

// y = x w. The weights' offset of 128 is taken back by starting at -128 times the sum of the codes of x. All
// loops are unrolled: GCC 12 copies sums from register to register around a loop.
template <std::size_t kRows>
THINKEY_VNNI void multiply_tile(const Tile& tile) {
  const std::size_t x_stride = tile.depths * kInt8Depth;
  for (std::size_t d = 0; d < tile.depths; ++d) {
    const std::int8_t* x = tile.x + d * kInt8Depth;
    const std::uint8_t* codes = tile.codes + d * kInt8DepthBytes;
    const auto* w_scales = reinterpret_cast<const float*>(codes + kInt8CodeBytes);
    __m512i sums[kRows][kVectors];
#pragma GCC unroll 6
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m512i start = _mm512_set1_epi32(-128 * tile.x_sums[r * tile.depths + d]);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] = start;
    }
#pragma GCC unroll 16
    for (std::size_t q = 0; q < kQuads; ++q) {
      __m512i w[kVectors];
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) {
        w[v] = _mm512_loadu_si512(codes + 4 * kInt8Panel * q + 64 * v);
      }
#pragma GCC unroll 6
      for (std::size_t r = 0; r < kRows; ++r) {
        std::int32_t quad;
        std::memcpy(&quad, x + r * x_stride + 4 * q, sizeof(quad));
        const __m512i all = _mm512_set1_epi32(quad);
#pragma GCC unroll 4
        for (std::size_t v = 0; v < kVectors; ++v) sums[r][v] = _mm512_dpbusd_epi32(sums[r][v], w[v], all);
      }
    }
    const __mmask16 add = d > 0 ? 0xFFFF : 0;
    __m512 scales[kVectors];
#pragma GCC unroll 4
    for (std::size_t v = 0; v < kVectors; ++v) {
      scales[v] = _mm512_loadu_ps(w_scales + 16 * v);
    }
#pragma GCC unroll 6
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m512 scale = _mm512_set1_ps(tile.x_scales[r * tile.depths + d]);
#pragma GCC unroll 4
      for (std::size_t v = 0; v < kVectors; ++v) {
        float* y = tile.y + r * tile.stride + 16 * v;
        _mm512_storeu_ps(y, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][v]), _mm512_mul_ps(scales[v], scale),
                                            _mm512_maskz_loadu_ps(add, y)));
      }
    }
  }
}

void multiply_rows(std::size_t rows, const Tile& tile) {
  switch (rows) {
    case 1:
      return multiply_tile<1>(tile);
    case 2:
      return multiply_tile<2>(tile);
    case 3:
      return multiply_tile<3>(tile);
    case 4:
      return multiply_tile<4>(tile);
    case 5:
      return multiply_tile<5>(tile);
    default:
      return multiply_tile<kTileRows>(tile);
  }
}

// The last panel may have fewer than 64 outputs: its tiles are made beside y.
void multiply_narrow(std::size_t rows, const Tile& tile, std::size_t outputs) {
  alignas(64) float wide[kTileRows * kInt8Panel];
  Tile beside = tile;
  beside.y = wide;
  beside.stride = kInt8Panel;
  multiply_rows(rows, beside);
  for (std::size_t r = 0; r < rows; ++r) {
    std::copy_n(wide + r * kInt8Panel, outputs, tile.y + r * tile.stride);
  }
}

}  // namespace

void quantize_rows(const float* x, std::size_t rows, std::size_t width, const Int8Activations& out) {
  quantize_all_rows(x, rows, width, out);
}
void quantize_rows(const bf16_bits* x, std::size_t rows, std::size_t width, const Int8Activations& out) {
  quantize_all_rows(x, rows, width, out);
}

void quantize_columns(const MatrixView& matrix, std::size_t first, std::size_t cols, std::byte* out) {
  const std::size_t panel_bytes = depths(cols) * kInt8DepthBytes;
  parallel_for(panels(matrix.rows), [&](std::size_t panel) {
    quantize_panel(matrix, first, cols, panel, out + panel * panel_bytes);
  });
}

void matmul_int8(const Int8Activations& x, std::size_t rows, const Int8Weights& w, float* y,
                 std::size_t stride) {
  require_fit(x.depths == w.depths, "activations and weights of different widths");
  // Rows are shared out as well: the last task of a thread should be short.
  constexpr std::size_t kTasksPerThread = 32;
  const std::size_t count = panels(w.rows);
  if (count == 0 || rows == 0) return;
  const std::size_t wanted = (kTasksPerThread * static_cast<std::size_t>(threads()) + count - 1) / count;
  const std::size_t tiles = (rows + kTileRows - 1) / kTileRows;
  const std::size_t part = (tiles + wanted - 1) / wanted * kTileRows;
  const std::size_t parts = (rows + part - 1) / part;
  parallel_for(count * parts, [&](std::size_t task) {
    const std::size_t panel = task / parts;
    const std::size_t outputs = std::min(kInt8Panel, w.rows - panel * kInt8Panel);
    const std::size_t end = std::min(rows, (task % parts + 1) * part);
    for (std::size_t r = task % parts * part; r < end; r += kTileRows) {
      const std::size_t n = std::min(kTileRows, end - r);
      const Tile tile{.x = x.codes + r * x.depths * kInt8Depth,
                      .x_scales = x.scales + r * x.depths,
                      .x_sums = x.sums + r * x.depths,
                      .depths = x.depths,
                      .codes = w.codes(panel, 0),
                      .y = y + r * stride + panel * kInt8Panel,
                      .stride = stride};
      if (outputs == kInt8Panel) {
        multiply_rows(n, tile);
      } else {
        multiply_narrow(n, tile, outputs);
      }
    }
  });
}

#else

void quantize_rows(const float*, std::size_t, std::size_t, const Int8Activations&) {}
void quantize_rows(const bf16_bits*, std::size_t, std::size_t, const Int8Activations&) {}
void quantize_columns(const MatrixView&, std::size_t, std::size_t, std::byte*) {}
void matmul_int8(const Int8Activations&, std::size_t, const Int8Weights&, float*, std::size_t) {}

#endif

}  // namespace thinkey
