// What is decided of a head's channels: which are stored, and in how many bits each.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/half.h"

namespace thinkey {

inline constexpr std::size_t kBlockTokens = 32;  // KIVI's group of keys; tokens are stored by so many

// How the elements of a row are stored: in 16 bits of fixed point; as KIVI's codes, with a scale and a
// minimum for each group; or as levels of a rotated row (TurboQuant, 2504.19874), with one scale for each
// token.
enum class ElementFormat : std::uint8_t { I16, Q8, Q4, Q2, L8, L6, L5, L4, L3, L2, L1 };
inline constexpr std::size_t kElementFormats = 11;

[[nodiscard]] constexpr std::size_t element_bits(ElementFormat format) noexcept {
  constexpr std::size_t bits[] = {16, 8, 4, 2, 8, 6, 5, 4, 3, 2, 1};
  return bits[static_cast<std::size_t>(format)];
}
[[nodiscard]] constexpr bool is_level(ElementFormat format) noexcept { return format >= ElementFormat::L8; }

// Of levels: 32 scales in 8 bits under a common one (backend/cpu/store/levels.h).
inline constexpr std::size_t kLevelScaleBytes = kBlockTokens + 4;

// Bytes of 32 tokens of so many key channels of one format, with their scales and minima or exponents.
[[nodiscard]] constexpr std::size_t key_run_bytes(ElementFormat format, std::size_t channels) noexcept {
  if (channels == 0) return 0;
  if (is_level(format)) {
    return (channels + 3) / 4 * 4 * kBlockTokens * element_bits(format) / 8 + kLevelScaleBytes;
  }
  const std::size_t rows = channels * kBlockTokens * element_bits(format) / 8;
  return rows + (format == ElementFormat::I16 ? kBlockTokens : 2 * channels * sizeof(f16_bits));
}

// Key channels per format, in the order they are stored.
using KeyCounts = std::array<std::size_t, kElementFormats>;

[[nodiscard]] constexpr KeyCounts uniform_keys(std::size_t channels, ElementFormat format) noexcept {
  KeyCounts counts{};
  counts[static_cast<std::size_t>(format)] = channels;
  return counts;
}

// Which key channels a head keeps and in which format each is stored.
struct KeyPlan {
  std::vector<std::int32_t> channels;  // as stored: format by format, ascending within each
  KeyCounts formats{};                 // how many of them each format has
};

// What pruning and quantization decided for a head.
struct HeadPlan {
  KeyPlan keys;  // levels are the format of all kept channels or of none
  // [D], added back to the thin logits: the dropped channels', and of levels, from which it is taken away,
  // every channel's. Empty: nothing is.
  std::vector<float> key_mean;
  std::vector<std::int32_t> value_channels;  // kept, ascending
  ElementFormat value_format = ElementFormat::I16;
};

}  // namespace thinkey
