#include "backend/cpu/weight_form.h"

#include "backend/cpu/ops/matmul_int8.h"
#include "backend/cpu/ops/matvec_int8.h"
#include "base/half.h"

namespace thinkey {

bool prefill_takes_int8(Precision precision, ActivationPrecision activations) noexcept {
  const bool faster = precision == Precision::BF16 && cpu_has_amx();
  return activations == ActivationPrecision::Int8 && cpu_multiplies_int8() && !faster;
}

WeightForm weight_form(const MatrixView& matrix, Precision precision, ActivationPrecision activations,
                       std::size_t rows) noexcept {
  if (rows <= kFewRows) return WeightForm::AsFile;
  if (has_int8_product(matrix.type) && prefill_takes_int8(precision, activations)) return WeightForm::Int8;
  return precision == Precision::BF16 ? WeightForm::BF16 : WeightForm::F32;
}

bool is_in_form(const MatrixView& matrix, WeightForm form) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(matrix.data);  // files do not promise alignment
  switch (form) {
    case WeightForm::AsFile:
      return true;
    case WeightForm::F32:
      return matrix.type == TensorType::F32 && address % sizeof(float) == 0;
    case WeightForm::BF16:
      return matrix.type == TensorType::BF16 && address % sizeof(bf16_bits) == 0;
    case WeightForm::Int8:
      return matrix.int8 != nullptr;
  }
  return false;
}

std::size_t form_bytes(WeightForm form, std::size_t rows, std::size_t cols) noexcept {
  const auto aligned = [](std::size_t bytes) { return (bytes + 63) / 64 * 64; };
  switch (form) {
    case WeightForm::AsFile:
      break;
    case WeightForm::F32:
      return aligned(rows * cols * sizeof(float));
    case WeightForm::BF16:
      return aligned(rows * cols * sizeof(bf16_bits));
    case WeightForm::Int8:
      return int8_weight_bytes(rows, cols);
  }
  return 0;
}

}  // namespace thinkey
