// Blocks written from and read back to f32: the only code that packs and quantizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "backend/cpu/store/block.h"

namespace thinkey {

// Up to 32 tokens in f32, keys channel-major as a block has them. Unused slots are ignored.
struct StagedBlock {
  std::size_t tokens = 0;
  std::vector<float> keys;    // [key_channels][32]
  std::vector<float> values;  // [32][value_channels]
  std::int32_t positions[kBlockTokens] = {};

  void reset(const BlockLayout& layout);
};

// Overwrites `block` (any content) with the staged tokens.
void encode_block(const BlockLayout& layout, const StagedBlock& staged, std::byte* block);

// Puts a token into free slot `slot` of a block of 16-bit rows; key [key_channels], value [value_channels].
void put_token(const BlockLayout& layout, std::size_t slot, std::int32_t position, const float* key,
               const float* value, std::byte* block);

// Empties the last token's slot again: the block is what it was before put_token().
void clear_token(const BlockLayout& layout, std::size_t slot, std::byte* block);

// What the block holds, as attention sees it.
void decode_block(const BlockLayout& layout, const std::byte* block, StagedBlock& staged);

// Whether all scales, minima and exponents of a block, of any origin, are such as encode_block() writes of
// finite numbers.
[[nodiscard]] bool has_finite_scales(const BlockLayout& layout, const std::byte* block) noexcept;

// KIVI's asymmetric quantization of one group (2402.02750, section 3.1): minimum m, scale
// s = (maximum - m) / (2^bits - 1), code = round((x - m) / s). Numbers beyond f16's range, in which m and s
// are kept, count as its ends; where one is NaN or infinite, so are m and s: what was no number does not
// become one.
struct QuantizedGroup {
  float scale = 0.0F;
  float minimum = 0.0F;
};
[[nodiscard]] QuantizedGroup quantize_group(std::span<const float> x, std::size_t bits, std::uint8_t* codes);

}  // namespace thinkey
