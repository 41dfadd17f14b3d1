#include "base/tensor_type.h"

#include <array>

namespace thinkey {

const TensorTypeTraits& traits(TensorType type) noexcept {
  static constexpr std::array<TensorTypeTraits, 11> table{{
      {"F32", 1, 4},
      {"F16", 1, 2},
      {"BF16", 1, 2},
      {"Q8_0", 32, 34},
      {"Q4_0", 32, 18},
      {"Q4_1", 32, 20},
      {"Q5_0", 32, 22},
      {"Q5_1", 32, 24},
      {"Q4_K", 256, 144},
      {"Q5_K", 256, 176},
      {"Q6_K", 256, 210},
  }};
  return table[static_cast<std::size_t>(type)];
}

std::size_t row_bytes(TensorType type, std::size_t columns) noexcept {
  const TensorTypeTraits& t = traits(type);
  return columns / t.block_elements * t.block_bytes;
}

}  // namespace thinkey
