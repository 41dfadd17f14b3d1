// The matrix products of prefill. Weights are brought into the products' form once for many chunks of
// tokens; a product of few rows reads the file's type directly.
#pragma once

#include <cstddef>
#include <span>

#include "backend/cpu/ops/matmul_int8.h"
#include "backend/cpu/ops/matvec.h"
#include "backend/cpu/weight_form.h"
#include "base/half.h"

namespace thinkey {

// Weights ready to multiply rows of activations: a matrix, or a run of its columns.
struct ReadyMatrix {
  WeightForm form = WeightForm::AsFile;
  MatrixView view;                  // [out, in] as in the file; in = the run's columns
  const float* f32 = nullptr;       // [out, in]
  const bf16_bits* bf16 = nullptr;  // [out, in]
  std::size_t stride = 0;           // elements between rows of either
  Int8Weights int8;
};

// Where the products of a phase put their operands.
struct ProductScratch {
  std::byte* weights = nullptr;  // [weight_bytes]
  std::size_t weight_bytes = 0;
  bf16_bits* bf16_rows = nullptr;  // [C, width], a chunk's activations
  std::byte* int8_rows = nullptr;  // the same as Int8Activations
};

class Products {
 public:
  // as_file: all weights are multiplied as they were loaded, however many rows there are; `order`: of their
  // sums.
  Products(Precision precision, ActivationPrecision activations, bool as_file,
           VectorOrder order = VectorOrder::Together)
      : precision_(precision), activations_(activations), order_(order), as_file_(as_file) {}

  [[nodiscard]] WeightForm form(const MatrixView& matrix, std::size_t rows) const noexcept {
    return as_file_ ? WeightForm::AsFile : weight_form(matrix, precision_, activations_, rows);
  }

  // From now on weights and rows are brought into other forms in this scratch.
  void start_phase(const ProductScratch& scratch) noexcept {
    scratch_ = scratch;
    used_ = 0;
  }

  // In the weight_form() for `rows` of activations: in place where the file holds it, else in the phase's
  // scratch. Valid until start_phase().
  [[nodiscard]] ReadyMatrix ready(const MatrixView& matrix, std::size_t rows) {
    return ready_columns(matrix, 0, static_cast<std::size_t>(matrix.cols), rows);
  }
  // Of outputs [first, first + count), from a whole panel of matmul_int8.h on.
  [[nodiscard]] ReadyMatrix ready_outputs(const MatrixView& matrix, std::size_t first, std::size_t count,
                                          std::size_t rows);
  // Columns [first, first + count), whole blocks of the type; all of them when `rows` are few.
  [[nodiscard]] ReadyMatrix ready_columns(const MatrixView& matrix, std::size_t first, std::size_t count,
                                          std::size_t rows);

  // The rows that multiply() takes from now on: x [rows, width], converted once for all products.
  void set_input(const float* x, std::size_t rows, std::size_t width);
  void set_input(const bf16_bits* x, std::size_t rows, std::size_t width);

  // y[r, o] = sum_i x[r, i] * W[o, i]; y has `stride` elements between rows.
  void multiply(const ReadyMatrix& matrix, float* y, std::size_t stride);
  // Several matrices, each with dense rows of its own; those in the file's form in one parallel region.
  struct Job {
    const ReadyMatrix* matrix;
    float* y;
  };
  void multiply(std::span<const Job> jobs);

 private:
  void dense(const ReadyMatrix& matrix, float* y, std::size_t stride);
  [[nodiscard]] const bf16_bits* bf16_input();
  [[nodiscard]] const Int8Activations& int8_input();

  Precision precision_;
  ActivationPrecision activations_;
  VectorOrder order_;
  bool as_file_;
  ProductScratch scratch_;
  std::size_t used_ = 0;  // bytes of the scratch's weights
  const float* input_ = nullptr;
  const bf16_bits* bf16_input_ = nullptr;  // null until input_ has been converted
  Int8Activations int8_input_;             // codes null until then
  std::size_t rows_ = 0;
  std::size_t width_ = 0;
};

}  // namespace thinkey
