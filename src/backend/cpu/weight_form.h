// In which form a prefill multiplies a weight matrix.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/ops/matmul.h"
#include "backend/cpu/ops/matvec.h"
#include "base/matrix_view.h"

namespace thinkey {

// At most this many rows are multiplied straight from the file's type (matvec.h); more are worth
// bringing the weights into another form.
inline constexpr std::size_t kFewRows = 8;

enum class WeightForm : std::uint8_t {
  AsFile,  // read by matvec
  F32,
  BF16,
  Int8,  // matmul_int8.h
};

// True when quantized weights go through 8 bits: `activations` allows it, the CPU has such products and no
// faster ones (AMX).
[[nodiscard]] bool prefill_takes_int8(Precision precision, ActivationPrecision activations) noexcept;

// For products with `rows` rows of activations. Weights that do not go through 8 bits go through
// `precision`.
[[nodiscard]] WeightForm weight_form(const MatrixView& matrix, Precision precision,
                                     ActivationPrecision activations, std::size_t rows) noexcept;

// True when the file holds this form, aligned, or it was kept.
[[nodiscard]] bool is_in_form(const MatrixView& matrix, WeightForm form) noexcept;

// Bytes of `rows` x `cols` weights in this form (64-byte aligned); 0 for AsFile.
[[nodiscard]] std::size_t form_bytes(WeightForm form, std::size_t rows, std::size_t cols) noexcept;

}  // namespace thinkey
