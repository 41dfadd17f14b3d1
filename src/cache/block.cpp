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

BlockLayout::BlockLayout(const KeyCounts& keys, std::size_t value_channels_, ElementFormat value_format_,
                         std::size_t value_group_) noexcept
    : value_channels(value_channels_), value_format(value_format_), value_group(value_group_) {
  std::size_t at = 0;
  for (std::size_t f = 0; f < kElementFormats; ++f) {
    KeyRun& run = key_runs[f];
    run.format = static_cast<ElementFormat>(f);
    run.first = key_channels;
    run.channels = keys[f];
    run.row = kBlockTokens * element_bits(run.format) / 8;
    run.scales = at;
    run.rows = at + (run.format == ElementFormat::F16 ? 0 : 2 * run.channels * sizeof(f16_bits));
    at = run.rows + run.channels * run.row;
    key_channels += run.channels;
  }
  value_scales = at;
  values = value_scales;
  if (values_quantized()) {
    const std::size_t bits = element_bits(value_format);
    value_row = value_channels / kUnit * (kUnit * bits / 8) + (value_channels % kUnit * bits + 7) / 8;
    values += 2 * value_groups() * kBlockTokens * sizeof(f16_bits);
  } else {
    value_row = value_channels * sizeof(f16_bits);
  }
  // Kernels may read up to 64 bytes past the last value row: the positions lie there.
  positions_offset = round_up(values + kBlockTokens * value_row, sizeof(std::int32_t));
  bytes = round_up(positions_offset + kBlockTokens * sizeof(std::int32_t), kAlignment);
}

std::size_t BlockLayout::value_slot(std::size_t c) const noexcept {
  if (value_format == ElementFormat::F16 || value_format == ElementFormat::Q8) return c;
  const std::size_t unit = c / kUnit;
  const std::size_t in_unit = std::min(kUnit, value_channels - unit * kUnit);
  const std::size_t bits = element_bits(value_format);
  const std::size_t width = (in_unit * bits + 7) / 8;  // channels of a plane, as packed
  const std::size_t full = kUnit * bits / 8;           // slots of a plane, as unpacked
  const std::size_t i = c % kUnit;
  return unit * kUnit + i / width * full + i % width;
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
