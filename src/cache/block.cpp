#include "cache/block.h"

#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.h"

namespace thinkey {

BlockLayout::BlockLayout(std::size_t key_channels_, std::size_t value_channels_) noexcept
    : key_channels(key_channels_),
      value_channels(value_channels_),
      values_offset(key_channels_ * kBlockTokens * sizeof(f16_bits)),
      positions_offset(values_offset + kBlockTokens * value_channels_ * sizeof(f16_bits)),
      bytes(positions_offset + kBlockTokens * sizeof(std::int32_t)) {
  static_assert(kBlockTokens * sizeof(f16_bits) % kAlignment == 0);  // so every part starts on a cache line
}

std::size_t BlockLayout::count(const std::byte* block) const noexcept {
  const std::int32_t* p = positions(block);
  if (p[kBlockTokens - 1] >= 0) return kBlockTokens;
  return static_cast<std::size_t>(std::find(p, p + kBlockTokens, -1) - p);
}

void BlockLayout::clear(std::byte* block) const noexcept {
  std::memset(block, 0, bytes);
  std::fill_n(positions(block), kBlockTokens, -1);
}

}  // namespace thinkey
