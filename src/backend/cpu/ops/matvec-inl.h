// Rows of a packed matrix times one or several vectors, for every Highway target.
//
// One vector: weights go from the decoder's registers straight into the sums. Several: four rows at a
// time are decoded panel by panel into the first-level cache, and a small register-tiled product reads
// them there; the decoding is paid once for the whole batch.
//
// matvec_vnni.cpp has products on 8-bit activations beside these; matvec.cpp chooses per call and type.

#if defined(THINKEY_OPS_MATVEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef THINKEY_OPS_MATVEC_INL_H_
#undef THINKEY_OPS_MATVEC_INL_H_
#else
#define THINKEY_OPS_MATVEC_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "backend/cpu/ops/dequantize-inl.h"
#include "backend/cpu/ops/matvec_rows.h"

HWY_BEFORE_NAMESPACE();
namespace thinkey::HWY_NAMESPACE {

// Sink that multiplies: four independent sums hide the latency of the fused multiply-add.
template <class D>
struct Dot {
  using V = hn::Vec<D>;
  D d;
  const float* x;
  V sum[4];

  template <int kChain>
  HWY_INLINE void emit(std::size_t offset, V w) {
    sum[kChain] = hn::MulAdd(w, hn::LoadU(d, x + offset), sum[kChain]);
  }
  HWY_INLINE V total() const { return hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3])); }
};

// Elements of one vector that are used on several rows before the next ones: 16 KiB, half of the
// smallest first-level cache.
constexpr std::size_t kSliceColumns = 4096;
constexpr std::size_t kSliceRows = 4;

// Rows per group and columns per panel when there are several vectors: 4 x 512 weights and 8 x 512
// activations are 24 KiB.
constexpr std::size_t kPanelColumns = 512;
constexpr std::size_t kPanelRows = 4;
constexpr std::size_t kBatch = 8;
// Vectors per register tile: 16 sums where there are 32 registers, 8 otherwise.
constexpr std::size_t kTile = HWY_TARGET <= HWY_AVX3 || HWY_ARCH_ARM_A64 ? 4 : 2;

// Sum of the last elements of plain rows, which fill no block.
template <class Decoder>
HWY_INLINE float dot_tail(const std::uint8_t* row, std::size_t begin, std::size_t n, const float* x) {
  float sum = 0;
  if constexpr (Decoder::kPlain) {
    for (std::size_t i = begin; i < n; ++i) sum += Decoder::element(row, i) * x[i];
  }
  return sum;
}

template <class Decoder>
HWY_NOINLINE void multiply_one(const MatvecRows& job) {
  using D = F32Tag;
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t whole = job.cols / Decoder::kElements * Decoder::kElements;
  for (std::size_t r0 = 0; r0 < job.rows; r0 += kSliceRows) {
    const std::size_t rows = std::min(kSliceRows, job.rows - r0);
    HWY_ALIGN float sums[kSliceRows * 16] = {};
    for (std::size_t c0 = 0; c0 < whole; c0 += kSliceColumns) {
      const std::size_t blocks = std::min(kSliceColumns, whole - c0) / Decoder::kElements;
      for (std::size_t r = 0; r < rows; ++r) {
        const std::uint8_t* row = job.weights + (r0 + r) * job.row_bytes;
        const auto zero = hn::Zero(d);
        Dot<D> dot{d, job.x + c0, {zero, zero, zero, zero}};
        Decoder::decode(d, row + c0 / Decoder::kElements * Decoder::kBytes, blocks, dot);
        float* sum = sums + r * lanes;
        hn::Store(hn::Add(hn::Load(d, sum), dot.total()), d, sum);
      }
    }
    for (std::size_t r = 0; r < rows; ++r) {
      const std::uint8_t* row = job.weights + (r0 + r) * job.row_bytes;
      job.y[r0 + r] = hn::GetLane(hn::SumOfLanes(d, hn::Load(d, sums + r * lanes))) +
                      dot_tail<Decoder>(row, whole, job.cols, job.x);
    }
  }
}

// sums[r, b] += panel[r] . x[b] for kPanelRows rows and kColumns vectors; sums are vectors of partial sums.
template <std::size_t kColumns, class D>
HWY_INLINE void multiply_panel(D d, const float* panel, const float* const* x, std::size_t offset,
                               std::size_t n, float* sums) {
  using V = hn::Vec<D>;
  const std::size_t lanes = hn::Lanes(d);
  V acc[kPanelRows * kColumns];
  for (std::size_t i = 0; i < kPanelRows * kColumns; ++i) acc[i] = hn::Load(d, sums + i * lanes);
  for (std::size_t i = 0; i < n; i += lanes) {
    const V w0 = hn::Load(d, panel + i);
    const V w1 = hn::Load(d, panel + kPanelColumns + i);
    const V w2 = hn::Load(d, panel + 2 * kPanelColumns + i);
    const V w3 = hn::Load(d, panel + 3 * kPanelColumns + i);
    for (std::size_t b = 0; b < kColumns; ++b) {
      const V xb = hn::LoadU(d, x[b] + offset + i);
      acc[4 * b] = hn::MulAdd(w0, xb, acc[4 * b]);
      acc[4 * b + 1] = hn::MulAdd(w1, xb, acc[4 * b + 1]);
      acc[4 * b + 2] = hn::MulAdd(w2, xb, acc[4 * b + 2]);
      acc[4 * b + 3] = hn::MulAdd(w3, xb, acc[4 * b + 3]);
    }
  }
  for (std::size_t i = 0; i < kPanelRows * kColumns; ++i) hn::Store(acc[i], d, sums + i * lanes);
}

template <class Decoder>
HWY_NOINLINE void multiply_batch(const MatvecRows& job, std::size_t batch_begin, std::size_t batch) {
  using D = F32Tag;
  const D d;
  const std::size_t lanes = hn::Lanes(d);
  const std::size_t whole = job.cols / Decoder::kElements * Decoder::kElements;
  const float* x[kBatch];
  for (std::size_t b = 0; b < batch; ++b) x[b] = job.x + (batch_begin + b) * job.cols;
  HWY_ALIGN float panel[kPanelRows * kPanelColumns] = {};
  HWY_ALIGN float sums[kBatch * kPanelRows * 16];
  for (std::size_t r0 = 0; r0 < job.rows; r0 += kPanelRows) {
    const std::size_t rows = std::min(kPanelRows, job.rows - r0);
    std::fill_n(sums, batch * kPanelRows * lanes, 0.0F);
    for (std::size_t c0 = 0; c0 < whole; c0 += kPanelColumns) {
      const std::size_t n = std::min(kPanelColumns, whole - c0);
      for (std::size_t r = 0; r < rows; ++r) {  // missing rows keep old values; their sums are not used
        StoreF32<D> store{d, panel + r * kPanelColumns};
        Decoder::decode(d, job.weights + (r0 + r) * job.row_bytes + c0 / Decoder::kElements * Decoder::kBytes,
                        n / Decoder::kElements, store);
      }
      std::size_t b = 0;
      for (; b + kTile <= batch; b += kTile) {
        multiply_panel<kTile>(d, panel, x + b, c0, n, sums + b * kPanelRows * lanes);
      }
      for (; b < batch; ++b) multiply_panel<1>(d, panel, x + b, c0, n, sums + b * kPanelRows * lanes);
    }
    for (std::size_t b = 0; b < batch; ++b) {
      for (std::size_t r = 0; r < rows; ++r) {
        const std::uint8_t* row = job.weights + (r0 + r) * job.row_bytes;
        const float* sum = sums + (b * kPanelRows + r) * lanes;
        job.y[(batch_begin + b) * job.y_stride + r0 + r] =
            hn::GetLane(hn::SumOfLanes(d, hn::Load(d, sum))) + dot_tail<Decoder>(row, whole, job.cols, x[b]);
      }
    }
  }
}

// Every vector as if it were the only one; rows come from memory once.
template <class Decoder>
HWY_INLINE void multiply_each(const MatvecRows& job) {
  for (std::size_t r = 0; r < job.rows; r += kSliceRows) {
    MatvecRows some = job;
    some.weights += r * job.row_bytes;
    some.rows = std::min(kSliceRows, job.rows - r);
    for (std::size_t b = 0; b < job.batch; ++b) {
      some.x = job.x + b * job.cols;
      some.y = job.y + b * job.y_stride + r;
      multiply_one<Decoder>(some);
    }
  }
}

struct MultiplyRows {
  const MatvecRows& job;

  template <class Decoder>
  HWY_INLINE void visit() const {
    if (job.batch == 1) return multiply_one<Decoder>(job);
    if (job.alone) return multiply_each<Decoder>(job);
    for (std::size_t b = 0; b < job.batch; b += kBatch) {
      multiply_batch<Decoder>(job, b, std::min(kBatch, job.batch - b));
    }
  }
};

}  // namespace thinkey::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // THINKEY_OPS_MATVEC_INL_H_
