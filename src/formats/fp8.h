// Checkpoints with 8-bit floats (F8_E4M3): quant_method "fp8", one scale per block of a matrix (Qwen3,
// DeepSeek) or per matrix (Ministral), and compressed-tensors' "float-quantized", one per matrix, row or
// block.
//
// CPUs have no products of such numbers. They are expanded to bf16 when a file is opened, as transformers
// does without a GPU: bf16(f32(code) * f32(scale)), rounded once, to nearest even; 2 bytes a weight.
// Activations are not rounded to 8 bits, whatever activation_scheme says: that only ever adds an error.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "base/aligned_buffer.h"
#include "base/half.h"
#include "formats/safetensors.h"

namespace thinkey {

struct Fp8Config {
  // Rows and columns that share a scale; none: a scale for each matrix or each of its rows.
  std::optional<std::array<std::int64_t, 2>> block;
};

// True for the tensors that accompany quantized ones: scales of weights, and those of activations, which are
// not used.
[[nodiscard]] bool is_fp8_scale(std::string_view name) noexcept;

// The scale of a weight, "NAME_scale_inv" or "NAME_scale" as `find` gives it; Error(Data) when there is none.
[[nodiscard]] const SafetensorsTensor& fp8_scale(
    const SafetensorsTensor& weight, const std::function<const SafetensorsTensor*(std::string_view)>& find);

// weight [rows, cols] in F8_E4M3 times its scale (F32, F16, BF16 or F8_E8M0): one number, one per row [rows,
// 1], or one per block [ceil(rows / block), ceil(cols / block)]. In parallel. Throws Error(Data) naming the
// tensor.
[[nodiscard]] AlignedBuffer<bf16_bits> expand_fp8(const SafetensorsTensor& weight,
                                                  const SafetensorsTensor& scale, const Fp8Config& config);

// What an E4M3 code stands for; NaN for 0x7F and 0xFF.
[[nodiscard]] float f32_from_e4m3(std::uint8_t code) noexcept;

}  // namespace thinkey
