#include "backend/cpu/store/block.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/aligned_buffer.h"

namespace thinkey {
namespace {

constexpr std::size_t kLevelAlignment = 16;  // small blocks: what 64 would waste is more than it brings

constexpr std::size_t round_up(std::size_t n, std::size_t multiple) noexcept {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

BlockLayout::BlockLayout(const KeyCounts& keys, std::size_t value_channels_, ElementFormat value_format_,
                         std::size_t value_group_, bool listed_) noexcept
    : value_channels(value_channels_),
      value_format(value_format_),
      value_group(value_group_),
      listed(listed_) {
  std::size_t at = (listed ? kBlockTokens : 2) * sizeof(std::int32_t);  // after the positions
  std::size_t numbers = 0;                                              // of a packed query row
  for (std::size_t f = 0; f < kElementFormats; ++f) {
    KeyRun& run = key_runs[f];
    run.format = static_cast<ElementFormat>(f);
    run.first = key_channels;
    run.channels = keys[f];
    run.query = numbers;
    run.row = kBlockTokens * run.together() * element_bits(run.format) / 8;
    if (run.format == ElementFormat::I16) {
      run.rows = at;
      run.scales = at + run.channels * kBlockTokens * sizeof(std::int16_t);
    } else if (is_level(run.format)) {
      run.scales = at;
      run.rows = at + kLevelScaleBytes;
    } else {
      run.scales = at;
      run.rows = at + 2 * run.channels * sizeof(f16_bits);
    }
    at += key_run_bytes(run.format, run.channels);
    key_channels += run.channels;
    numbers += run.query_numbers();
  }
  value_scales = at;
  if (has_levels()) {
    values = value_scales + kLevelScaleBytes;
    bytes = round_up(values_at(value_units() * kUnit), kLevelAlignment);
    return;
  }
  values = value_scales + (values_quantized() ? 2 * value_groups() * sizeof(f16_bits) : 1) * kBlockTokens;
  const std::size_t rest = value_channels % value_unit();
  bytes = values_at(value_channels - rest);
  if (rest > 0) {
    // Kernels read 32 channels at a time, of the last row over its end.
    const std::size_t lanes = value_lanes(value_channels - rest);
    const std::size_t read = values_quantized() ? plane_quads(value_format) : round_up(rest, kUnit);
    bytes += 4 * (kBlockTokens / elements_together(value_format) * lanes + read - lanes);
  }
  bytes = round_up(bytes, kAlignment);
}

std::size_t BlockLayout::value_slot(std::size_t c) const noexcept {
  if (value_slots_in_order()) return c;
  const std::size_t width = value_lanes(c / kUnit * kUnit);  // as packed
  return c / kUnit * kUnit + c % kUnit / width * plane_quads(value_format) + c % kUnit % width;
}

std::size_t BlockLayout::listed_count(const std::int32_t* positions) noexcept {
  return static_cast<std::size_t>(std::find(positions, positions + kBlockTokens, -1) - positions);
}

bool BlockLayout::has_sound_positions(const std::byte* block) const noexcept {
  const std::int32_t* head = at<std::int32_t>(block, 0);
  if (!listed) {
    constexpr auto most = static_cast<std::int32_t>(kBlockTokens);
    return head[0] >= 0 && head[1] >= 0 && head[1] <= most && head[0] <= INT32_MAX - most;
  }
  const std::size_t tokens = listed_count(head);
  return std::all_of(head + tokens, head + kBlockTokens, [](std::int32_t p) { return p == -1; });
}

void BlockLayout::add_position(std::byte* block, std::size_t token, std::int32_t position) const noexcept {
  auto* head = at<std::int32_t>(block, 0);
  if (listed) {
    head[token] = position;
  } else {
    head[0] = position - static_cast<std::int32_t>(token);
    head[1] = static_cast<std::int32_t>(token) + 1;
  }
}

void BlockLayout::forget_after(std::byte* block, std::size_t tokens) const noexcept {
  auto* head = at<std::int32_t>(block, 0);
  if (listed) {
    std::fill(head + tokens, head + kBlockTokens, -1);
  } else {
    head[1] = static_cast<std::int32_t>(tokens);
  }
}

void BlockLayout::clear(std::byte* block) const noexcept {
  std::memset(block, 0, bytes);
  if (listed) std::fill_n(at<std::int32_t>(block, 0), kBlockTokens, -1);
}

}  // namespace thinkey
