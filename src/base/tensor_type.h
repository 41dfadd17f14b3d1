// The element types of model files and their block geometry. Everything that differs by type elsewhere is a
// template over TensorType, found through visit_tensor_type() or an index sequence over kTensorTypes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace thinkey {

// Names follow ggml. A quantized row is a sequence of blocks of `block_elements` elements.
enum class TensorType : std::uint8_t {
  F32,
  F16,
  BF16,
  Q8_0,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q4_K,
  Q5_K,
  Q6_K,
  Q2_K,
  Q3_K,
  IQ4_NL,
  IQ4_XS,
  MXFP4,
  IQ2_XXS,
  IQ2_XS,
  IQ2_S,
  IQ3_XXS,
  IQ3_S,
  IQ1_S,
  IQ1_M
};

struct TensorTypeTraits {
  std::string_view name;
  std::uint32_t ggml;          // its number in GGUF files
  std::size_t block_elements;  // elements per block; 1 for plain types
  std::size_t block_bytes;     // bytes per block
};

// In the enumeration's order.
inline constexpr std::array kTensorTypes{
    TensorTypeTraits{"F32", 0, 1, 4},         TensorTypeTraits{"F16", 1, 1, 2},
    TensorTypeTraits{"BF16", 30, 1, 2},       TensorTypeTraits{"Q8_0", 8, 32, 34},
    TensorTypeTraits{"Q4_0", 2, 32, 18},      TensorTypeTraits{"Q4_1", 3, 32, 20},
    TensorTypeTraits{"Q5_0", 6, 32, 22},      TensorTypeTraits{"Q5_1", 7, 32, 24},
    TensorTypeTraits{"Q4_K", 12, 256, 144},   TensorTypeTraits{"Q5_K", 13, 256, 176},
    TensorTypeTraits{"Q6_K", 14, 256, 210},   TensorTypeTraits{"Q2_K", 10, 256, 84},
    TensorTypeTraits{"Q3_K", 11, 256, 110},   TensorTypeTraits{"IQ4_NL", 20, 32, 18},
    TensorTypeTraits{"IQ4_XS", 23, 256, 136}, TensorTypeTraits{"MXFP4", 39, 32, 17},
    TensorTypeTraits{"IQ2_XXS", 16, 256, 66}, TensorTypeTraits{"IQ2_XS", 17, 256, 74},
    TensorTypeTraits{"IQ2_S", 22, 256, 82},   TensorTypeTraits{"IQ3_XXS", 18, 256, 98},
    TensorTypeTraits{"IQ3_S", 21, 256, 110},  TensorTypeTraits{"IQ1_S", 19, 256, 50},
    TensorTypeTraits{"IQ1_M", 29, 256, 56},
};
inline constexpr std::size_t kTensorTypeCount = kTensorTypes.size();
using TensorTypeIndices = std::make_index_sequence<kTensorTypeCount>;

[[nodiscard]] constexpr const TensorTypeTraits& traits(TensorType type) noexcept {
  return kTensorTypes[static_cast<std::size_t>(type)];
}

// True for F32, F16 and BF16.
[[nodiscard]] constexpr bool is_plain(TensorType type) noexcept { return traits(type).block_elements == 1; }

// The type with this name, or this number in GGUF files; nullopt when it is not one of ours.
[[nodiscard]] std::optional<TensorType> find_tensor_type(std::string_view name) noexcept;
[[nodiscard]] std::optional<TensorType> find_tensor_type(std::uint32_t ggml) noexcept;

// Bytes of one row of `columns` elements; `columns` must be a multiple of the block length.
[[nodiscard]] constexpr std::size_t row_bytes(TensorType type, std::size_t columns) noexcept {
  return columns / traits(type).block_elements * traits(type).block_bytes;
}

// body.template operator()<type>(), for a type known at run time only.
template <typename Body, std::size_t... kIndex>
void visit_tensor_type(TensorType type, const Body& body, std::index_sequence<kIndex...> /*all*/) {
  static_cast<void>(((static_cast<std::size_t>(type) == kIndex &&
                      (body.template operator()<static_cast<TensorType>(kIndex)>(), true)) ||
                     ...));
}
template <typename Body>
void visit_tensor_type(TensorType type, const Body& body) {
  visit_tensor_type(type, body, TensorTypeIndices());
}

}  // namespace thinkey
