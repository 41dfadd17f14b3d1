#include "backend/cpu/ops/dequantize.h"

#include <algorithm>

#include "backend/cpu/ops/highway_targets.h"
#include "base/parallel.h"
#include "base/require_fit.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "backend/cpu/ops/dequantize.cpp"  // this file, once per target
#include <hwy/foreach_target.h>                              // before highway.h
#include <hwy/highway.h>

#include "backend/cpu/ops/dequantize-inl.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {

HWY_INLINE void store_one(float value, float* out) { *out = value; }
HWY_INLINE void store_one(float value, bf16_bits* out) { *out = bf16_from_f32(value); }

template <class Sink>
struct WidenRow {
  const std::uint8_t* row;
  std::size_t n;
  typename Sink::Element* out;

  template <class Decoder>
  HWY_INLINE void visit() const {
    const F32Tag d;
    Sink sink{d, out};
    const std::size_t blocks = n / Decoder::kElements;
    Decoder::decode(d, row, blocks, sink);
    if constexpr (Decoder::kPlain) {
      for (std::size_t i = blocks * Decoder::kElements; i < n; ++i) {
        store_one(Decoder::element(row, i), out + i);
      }
    }
  }
};

void widen_row_f32(TensorType type, const std::uint8_t* row, std::size_t n, float* out) {
  visit_decoder(type, WidenRow<StoreF32<F32Tag>>{row, n, out});
}

void widen_row_bf16(TensorType type, const std::uint8_t* row, std::size_t n, bf16_bits* out) {
  visit_decoder(type, WidenRow<StoreBF16<F32Tag>>{row, n, out});
}

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace thinkey {
namespace {

HWY_EXPORT(widen_row_f32);
HWY_EXPORT(widen_row_bf16);

// Enough elements per task to outweigh starting it.
constexpr std::size_t kElementsPerTask = 1 << 16;

template <typename Out>
void widen_part(const MatrixView& matrix, std::size_t first, std::size_t count, Out* out) {
  if (matrix.rows == 0 || count == 0) return;
  require_fit(first % traits(matrix.type).block_elements == 0 && first + count <= matrix.cols,
              "columns that are not whole blocks");
  const std::size_t offset = row_bytes(matrix.type, first);
  const std::size_t rows_per_task = std::max<std::size_t>(1, kElementsPerTask / count);
  const std::size_t tasks = (matrix.rows + rows_per_task - 1) / rows_per_task;
  parallel_for(tasks, [&](std::size_t task) {
    const std::size_t begin = task * rows_per_task;
    const std::size_t end = std::min(matrix.rows, begin + rows_per_task);
    for (std::size_t i = begin; i < end; ++i) {
      widen_row(matrix.type, matrix.row(i) + offset, count, out + i * count);
    }
  });
}

}  // namespace

void widen_row(TensorType type, const std::byte* row, std::size_t n, float* out) {
  require_fit(n % traits(type).block_elements == 0, "a row that is not made of whole blocks");
  HWY_DYNAMIC_DISPATCH(widen_row_f32)(type, reinterpret_cast<const std::uint8_t*>(row), n, out);
}

void widen_row(TensorType type, const std::byte* row, std::size_t n, bf16_bits* out) {
  require_fit(n % traits(type).block_elements == 0, "a row that is not made of whole blocks");
  HWY_DYNAMIC_DISPATCH(widen_row_bf16)(type, reinterpret_cast<const std::uint8_t*>(row), n, out);
}

void widen(const MatrixView& matrix, float* out) {
  widen_part(matrix, 0, static_cast<std::size_t>(matrix.cols), out);
}
void widen(const MatrixView& matrix, bf16_bits* out) {
  widen_part(matrix, 0, static_cast<std::size_t>(matrix.cols), out);
}
void widen_columns(const MatrixView& matrix, std::size_t first, std::size_t count, float* out) {
  widen_part(matrix, first, count, out);
}
void widen_columns(const MatrixView& matrix, std::size_t first, std::size_t count, bf16_bits* out) {
  widen_part(matrix, first, count, out);
}

}  // namespace thinkey
#endif  // HWY_ONCE
