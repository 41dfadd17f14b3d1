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
  std::size_t at = kBlockTokens * sizeof(std::int32_t);  // after the positions
  for (std::size_t f = 0; f < kElementFormats; ++f) {
    KeyRun& run = key_runs[f];
    run.format = static_cast<ElementFormat>(f);
    run.first = key_channels;
    run.channels = keys[f];
    run.query = query_numbers_;
    run.row = kBlockTokens * run.pair() * element_bits(run.format) / 8;
    if (run.format == ElementFormat::I16) {
      run.rows = at;
      run.scales = at + run.channels * kBlockTokens * sizeof(std::int16_t);
    } else {
      run.scales = at;
      run.rows = at + 2 * run.channels * sizeof(f16_bits);
    }
    at += key_run_bytes(run.format, run.channels);
    key_channels += run.channels;
    query_numbers_ += round_up(run.channels, 2);
    pairs_codes_ |= run.channels > 0 && thinkey::pairs_codes(run.format);
  }
  pairs_codes_ |= thinkey::pairs_codes(value_format);
  value_scales = at;
  values = value_scales;
  if (values_quantized()) {
    value_row = value_channels;
    if (thinkey::pairs_codes(value_format)) {
      value_row = value_channels / kUnit * plane_bytes(kUnit) + plane_bytes(value_channels % kUnit);
    }
    values += 2 * value_groups() * kBlockTokens * sizeof(f16_bits);
  } else {
    value_row = 2 * value_channels * sizeof(std::int16_t);
    values += kBlockTokens;
  }
  // Kernels read whole units, of the last row over its end.
  std::size_t last_unit = 0;
  std::size_t whole_unit = 0;
  if (const std::size_t tail = value_channels % kUnit; tail > 0) {
    const bool planes = thinkey::pairs_codes(value_format);
    last_unit = planes ? plane_bytes(tail) : value_row / value_channels * tail;
    whole_unit = planes ? plane_bytes(kUnit) : value_row / value_channels * kUnit;
  }
  bytes = round_up(values + kBlockTokens / value_pair() * value_row + whole_unit - last_unit, kAlignment);
}

std::size_t BlockLayout::value_slot(std::size_t c) const noexcept {
  if (!thinkey::pairs_codes(value_format)) return c;
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
