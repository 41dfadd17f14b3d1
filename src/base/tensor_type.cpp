#include "base/tensor_type.h"

namespace thinkey {

std::optional<TensorType> find_tensor_type(std::string_view name) noexcept {
  for (std::size_t i = 0; i < kTensorTypeCount; ++i) {
    if (kTensorTypes[i].name == name) return static_cast<TensorType>(i);
  }
  return std::nullopt;
}

std::optional<TensorType> find_tensor_type(std::uint32_t ggml) noexcept {
  for (std::size_t i = 0; i < kTensorTypeCount; ++i) {
    if (kTensorTypes[i].ggml == ggml) return static_cast<TensorType>(i);
  }
  return std::nullopt;
}

}  // namespace thinkey
