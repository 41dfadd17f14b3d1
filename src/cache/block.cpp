#include "cache/block.h"

#include <algorithm>
#include <cstring>

#include "base/aligned_buffer.h"

namespace thinkey {
namespace {

constexpr std::size_t round_up(std::size_t n, std::size_t multiple) noexcept {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

BlockLayout::BlockLayout(std::size_t key_channels_, std::size_t value_channels_, ElementFormat format_,
                         std::size_t value_group_) noexcept
    : key_channels(key_channels_),
      value_channels(value_channels_),
      format(format_),
      value_group(value_group_) {
  const std::size_t bits = element_bits(format);
  key_row = kBlockTokens * bits / 8 * (paired() ? 2 : 1);
  if (quantized()) {
    value_row = value_channels;
    if (paired()) {
      value_row = value_channels / kUnit * plane_bytes(kUnit) + plane_bytes(value_channels % kUnit);
    }
    keys = key_scales + 2 * key_channels * sizeof(f16_bits);
    value_scales = round_up(keys + key_rows() * key_row, sizeof(f16_bits));
    values = value_scales + 2 * value_groups() * kBlockTokens * sizeof(f16_bits);
  } else {
    value_row = value_channels * sizeof(f16_bits);
    values = value_scales = keys + key_channels * key_row;
  }
  // Kernels may read up to 64 bytes past the last value row: the positions lie there.
  positions_offset = round_up(values + value_rows() * value_row, sizeof(std::int32_t));
  bytes = round_up(positions_offset + kBlockTokens * sizeof(std::int32_t), kAlignment);
}

std::size_t BlockLayout::value_slot(std::size_t c) const noexcept {
  if (!paired()) return c;
  const std::size_t unit = c / kUnit;
  const std::size_t width = plane_bytes(std::min(kUnit, value_channels - unit * kUnit));  // as packed
  const std::size_t full = plane_bytes(kUnit);                                            // as unpacked
  const std::size_t code = 2 * (c % kUnit);
  return unit * kUnit + (code / width * full + code % width) / 2;
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
