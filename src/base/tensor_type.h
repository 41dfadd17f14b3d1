// The element types of model files and their block geometry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace thinkey {

// Names follow ggml. A quantized row is a sequence of blocks of `block_elements` elements.
enum class TensorType : std::uint8_t { F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K };

struct TensorTypeTraits {
  std::string_view name;
  std::size_t block_elements;  // elements per block; 1 for plain types
  std::size_t block_bytes;     // bytes per block
};

[[nodiscard]] const TensorTypeTraits& traits(TensorType type) noexcept;

// Bytes of one row of `columns` elements; `columns` must be a multiple of the block length.
[[nodiscard]] std::size_t row_bytes(TensorType type, std::size_t columns) noexcept;

}  // namespace thinkey
