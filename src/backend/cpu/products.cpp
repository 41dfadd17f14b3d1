#include "backend/cpu/products.h"

#include <array>

#include "backend/cpu/ops/convert.h"
#include "backend/cpu/ops/dequantize.h"
#include "backend/cpu/ops/matvec.h"
#include "base/parallel.h"
#include "base/require_fit.h"

namespace thinkey {

ReadyMatrix Products::ready_outputs(const MatrixView& matrix, std::size_t first, std::size_t count,
                                    std::size_t rows) {
  const MatrixView view = matrix.some_rows(first, count);
  if (form(matrix, rows) != WeightForm::Int8 || matrix.int8 == nullptr) return ready(view, rows);
  return {.form = WeightForm::Int8,
          .view = view,
          .int8 = int8_weights(matrix.int8, matrix.rows, matrix.cols).part(first, count, 0, matrix.cols)};
}

ReadyMatrix Products::ready_columns(const MatrixView& matrix, std::size_t first, std::size_t count,
                                    std::size_t rows) {
  ReadyMatrix out{.form = form(matrix, rows), .view = matrix};
  if (out.form == WeightForm::AsFile) return out;
  out.view.cols = count;
  if (is_in_form(matrix, out.form)) {
    if (out.form == WeightForm::Int8) {
      out.int8 = int8_weights(matrix.int8, matrix.rows, matrix.cols).part(0, matrix.rows, first, count);
      return out;
    }
    out.stride = static_cast<std::size_t>(matrix.cols);
    if (out.form == WeightForm::BF16) {
      out.bf16 = reinterpret_cast<const bf16_bits*>(matrix.data) + first;
    } else {
      out.f32 = reinterpret_cast<const float*>(matrix.data) + first;
    }
    return out;
  }
  const auto matrix_rows = static_cast<std::size_t>(matrix.rows);
  std::byte* memory = scratch_.weights + used_;
  used_ += form_bytes(out.form, matrix_rows, count);
  // A scratch too small would be written past: the sizes and their use are two places.
  require_fit(used_ <= scratch_.weight_bytes, "a phase's weights exceed its scratch");
  out.stride = count;
  if (out.form == WeightForm::Int8) {
    quantize_columns(matrix, first, count, memory);
    out.int8 = int8_weights(memory, matrix_rows, count);
  } else if (out.form == WeightForm::BF16) {
    auto* wide = reinterpret_cast<bf16_bits*>(memory);
    widen_columns(matrix, first, count, wide);
    out.bf16 = wide;
  } else {
    auto* wide = reinterpret_cast<float*>(memory);
    widen_columns(matrix, first, count, wide);
    out.f32 = wide;
  }
  return out;
}

void Products::set_input(const float* x, std::size_t rows, std::size_t width) {
  input_ = x;
  bf16_input_ = nullptr;
  int8_input_ = {};
  rows_ = rows;
  width_ = width;
}

void Products::set_input(const bf16_bits* x, std::size_t rows, std::size_t width) {
  input_ = nullptr;
  bf16_input_ = x;
  int8_input_ = {};
  rows_ = rows;
  width_ = width;
}

const bf16_bits* Products::bf16_input() {
  if (bf16_input_ == nullptr) {
    bf16_bits* rows = scratch_.bf16_rows;
    parallel_for(rows_, [&](std::size_t r) { f32_to_bf16(input_ + r * width_, width_, rows + r * width_); });
    bf16_input_ = rows;
  }
  return bf16_input_;
}

const Int8Activations& Products::int8_input() {
  if (int8_input_.codes == nullptr) {
    int8_input_ = int8_activations(scratch_.int8_rows, rows_, width_);
    if (input_ != nullptr) {
      quantize_rows(input_, rows_, width_, int8_input_);
    } else {
      quantize_rows(bf16_input_, rows_, width_, int8_input_);
    }
  }
  return int8_input_;
}

void Products::dense(const ReadyMatrix& matrix, float* y, std::size_t stride) {
  const MatmulShape shape{.m = rows_,
                          .n = matrix.view.rows,
                          .k = width_,
                          .lda = width_,
                          .ldb = matrix.stride,
                          .ldc = stride,
                          .b_transposed = true};
  switch (matrix.form) {
    case WeightForm::AsFile:
      break;  // no dense product
    case WeightForm::F32:
      return matmul(shape, input_, matrix.f32, y);
    case WeightForm::BF16:
      return matmul(shape, bf16_input(), matrix.bf16, y);
    case WeightForm::Int8:
      return matmul_int8(int8_input(), rows_, matrix.int8, y, stride);
  }
}

void Products::multiply(const ReadyMatrix& matrix, float* y, std::size_t stride) {
  if (matrix.form != WeightForm::AsFile) {
    dense(matrix, y, stride);
  } else {
    require_fit(stride == matrix.view.rows, "a product in the file's form writes dense rows");
    matvec(matrix.view, input_, rows_, y, activations_, order_);
  }
}

void Products::multiply(std::span<const Job> jobs) {
  constexpr std::size_t kMost = 32;
  std::array<MatvecJob, kMost> together;
  std::size_t count = 0;
  const auto flush = [&] {
    if (count > 0) matvec(together.data(), count, input_, rows_, activations_, order_);
    count = 0;
  };
  for (const Job& job : jobs) {
    if (job.matrix->form == WeightForm::AsFile) {
      together[count++] = {job.matrix->view, job.y};
      if (count == kMost) flush();
    } else {
      dense(*job.matrix, job.y, static_cast<std::size_t>(job.matrix->view.rows));
    }
  }
  flush();
}

}  // namespace thinkey
