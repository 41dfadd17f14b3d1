// The unit of cache storage: up to 32 tokens of one KV head, keys and values side by side.
//
//   keys       [key_channels][32] f16       one 64-byte row per kept channel
//   values     [32][value_channels] f16     one row per token
//   positions  [32] i32                     -1 where the block has no token
//
// A pruned channel is a row that is not there. Decode attention reads a block front to back, so
// keys and values of the same tokens share one stream of memory. Unused token slots hold zeros.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/half.h"

namespace thinkey {

inline constexpr std::size_t kBlockTokens = 32;

struct BlockLayout {
  std::size_t key_channels = 0;    // D'
  std::size_t value_channels = 0;  // D'v
  std::size_t values_offset = 0;   // bytes from the block's start
  std::size_t positions_offset = 0;
  std::size_t bytes = 0;  // a multiple of 64

  BlockLayout() = default;
  BlockLayout(std::size_t key_channels_, std::size_t value_channels_) noexcept;

  // Row of key channel c: 32 tokens.
  [[nodiscard]] f16_bits* keys(std::byte* block, std::size_t c) const noexcept {
    return reinterpret_cast<f16_bits*>(block) + c * kBlockTokens;
  }
  [[nodiscard]] const f16_bits* keys(const std::byte* block, std::size_t c) const noexcept {
    return reinterpret_cast<const f16_bits*>(block) + c * kBlockTokens;
  }
  // Row of token t: value_channels values. Kernels may read up to 64 bytes past the last row: the
  // positions lie there.
  [[nodiscard]] f16_bits* values(std::byte* block, std::size_t t) const noexcept {
    return reinterpret_cast<f16_bits*>(block + values_offset) + t * value_channels;
  }
  [[nodiscard]] const f16_bits* values(const std::byte* block, std::size_t t) const noexcept {
    return reinterpret_cast<const f16_bits*>(block + values_offset) + t * value_channels;
  }
  [[nodiscard]] std::int32_t* positions(std::byte* block) const noexcept {
    return reinterpret_cast<std::int32_t*>(block + positions_offset);
  }
  [[nodiscard]] const std::int32_t* positions(const std::byte* block) const noexcept {
    return reinterpret_cast<const std::int32_t*>(block + positions_offset);
  }
  // Tokens in the block, 0 .. 32.
  [[nodiscard]] std::size_t count(const std::byte* block) const noexcept;

  // Zeros and no tokens.
  void clear(std::byte* block) const noexcept;
};

}  // namespace thinkey
