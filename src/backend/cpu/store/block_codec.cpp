#include "backend/cpu/store/block_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cpu/store/fixed_point.h"
#include "backend/cpu/store/level_codec.h"
#include "backend/cpu/store/levels.h"

namespace thinkey {
namespace {

// Where a code lies (block.h).
struct Place {
  std::size_t byte, shift;
};

Place key_place(const KeyRun& run, std::size_t channel, std::size_t token) noexcept {
  const std::size_t width = plane_quads(run.format);
  const std::size_t shift = token / width * element_bits(run.format);
  const std::size_t whole = run.channels / 4 * 4;
  if (channel < whole) return {run.rows + channel / 4 * run.row + token % width * 4 + channel % 4, shift};
  return {run.rows + whole / 4 * run.row + (channel - whole) * run.row / 4 + token % width, shift};
}

Place value_place(const BlockLayout& layout, std::size_t token, std::size_t channel) noexcept {
  const std::size_t first = channel / kUnit * kUnit;
  const std::size_t width = layout.value_lanes(first);
  return {layout.values_at(first) + 4 * (token / 4 * width + (channel - first) % width) + token % 4,
          (channel - first) / width * element_bits(layout.value_format)};
}

// The block is clear: codes are or-ed in.
void put(std::byte* block, const Place& at, std::uint8_t code) noexcept {
  auto* byte = BlockLayout::at<std::uint8_t>(block, at.byte);
  *byte = static_cast<std::uint8_t>(*byte | (code << at.shift));
}
float get(const std::byte* block, const Place& at, ElementFormat format) noexcept {
  const unsigned mask = (1U << element_bits(format)) - 1U;
  return static_cast<float>((*BlockLayout::at<std::uint8_t>(block, at.byte) >> at.shift) & mask);
}

constexpr float kMostF16 = 65504.0F;

// Where 16-bit numbers lie, in steps of one number.
struct FixedPlace {
  std::size_t first;  // of token 0 and channel 0
  std::size_t step;   // from one token of the channel (keys) or channel of the token (values) to the next
};
FixedPlace fixed_key(const KeyRun& run, std::size_t channel) noexcept {
  const bool alone = channel + 1 == run.channels && channel % 2 == 0;
  return {channel / 2 * 2 * kBlockTokens + channel % 2, alone ? std::size_t{1} : std::size_t{2}};
}

// Calls body(c, number) for every channel of a token's 16-bit values: `number` is the channel's.
template <typename Number, typename Body>
void visit_fixed_value(const BlockLayout& layout, std::size_t token, Number* numbers, const Body& body) {
  for (std::size_t first = 0; first < layout.value_channels; first += layout.value_unit()) {
    const std::size_t lanes = layout.value_lanes(first);
    Number* number = numbers + first * kBlockTokens + token / 2 * 2 * lanes + token % 2;
    for (std::size_t c = first; c < first + lanes; ++c, number += 2) body(c, *number);
  }
}

void encode_fixed_keys(const KeyRun& run, const float* keys, std::size_t tokens, std::byte* block) {
  auto* rows = BlockLayout::at<std::int16_t>(block, run.rows);
  auto* exponents = BlockLayout::at<std::int8_t>(block, run.scales);
  float largest[kBlockTokens] = {};
  for (std::size_t c = 0; c < run.channels; ++c) {
    for (std::size_t t = 0; t < tokens; ++t) {
      largest[t] = larger_magnitude(largest[t], keys[c * kBlockTokens + t]);
    }
  }
  float inverse[kBlockTokens];
  for (std::size_t t = 0; t < tokens; ++t) {
    exponents[t] = fixed_exponent(largest[t]);
    inverse[t] = 1.0F / fixed_scale(exponents[t]);
  }
  for (std::size_t c = 0; c < run.channels; ++c) {
    const FixedPlace place = fixed_key(run, c);
    for (std::size_t t = 0; t < tokens; ++t) {
      rows[place.first + t * place.step] = to_fixed(keys[c * kBlockTokens + t] * inverse[t]);
    }
  }
}

void decode_fixed_keys(const KeyRun& run, const std::byte* block, float* keys) {
  const auto* rows = BlockLayout::at<std::int16_t>(block, run.rows);
  const auto* exponents = BlockLayout::at<std::int8_t>(block, run.scales);
  for (std::size_t c = 0; c < run.channels; ++c) {
    const FixedPlace place = fixed_key(run, c);
    for (std::size_t t = 0; t < kBlockTokens; ++t) {
      keys[c * kBlockTokens + t] =
          static_cast<float>(rows[place.first + t * place.step]) * fixed_scale(exponents[t]);
    }
  }
}

void encode_fixed_value(const BlockLayout& layout, std::size_t token, const float* value, std::byte* block) {
  float largest = 0.0F;
  for (std::size_t c = 0; c < layout.value_channels; ++c) largest = larger_magnitude(largest, value[c]);
  const std::int8_t exponent = fixed_exponent(largest);
  BlockLayout::at<std::int8_t>(block, layout.value_scales)[token] = exponent;
  const float inverse = 1.0F / fixed_scale(exponent);
  visit_fixed_value(layout, token, BlockLayout::at<std::int16_t>(block, layout.values),
                    [&](std::size_t c, std::int16_t& number) { number = to_fixed(value[c] * inverse); });
}

void decode_fixed_value(const BlockLayout& layout, std::size_t token, const std::byte* block, float* value) {
  const float scale = fixed_scale(BlockLayout::at<std::int8_t>(block, layout.value_scales)[token]);
  visit_fixed_value(
      layout, token, BlockLayout::at<std::int16_t>(block, layout.values),
      [&](std::size_t c, std::int16_t number) { value[c] = static_cast<float>(number) * scale; });
}

void encode_keys(const KeyRun& run, const StagedBlock& staged, std::byte* block) {
  if (run.channels == 0) return;
  const float* from = staged.keys.data() + run.first * kBlockTokens;
  if (run.format == ElementFormat::I16) return encode_fixed_keys(run, from, staged.tokens, block);
  if (is_level(run.format)) return encode_level_keys(run, staged, block);
  std::uint8_t codes[kBlockTokens];
  auto* scales = BlockLayout::at<f16_bits>(block, run.scales);
  for (std::size_t c = 0; c < run.channels; ++c) {
    const QuantizedGroup group =
        quantize_group({from + c * kBlockTokens, staged.tokens}, element_bits(run.format), codes);
    scales[c] = f16_from_f32(group.scale);
    scales[run.channels + c] = f16_from_f32(group.minimum);
    for (std::size_t t = 0; t < staged.tokens; ++t) put(block, key_place(run, c, t), codes[t]);
  }
}

void encode_values(const BlockLayout& layout, const StagedBlock& staged, std::byte* block) {
  if (layout.has_levels()) return encode_level_values(layout, staged, block);
  if (!layout.values_quantized()) {
    for (std::size_t t = 0; t < staged.tokens; ++t) {
      encode_fixed_value(layout, t, staged.values.data() + t * layout.value_channels, block);
    }
    return;
  }
  const std::size_t bits = element_bits(layout.value_format);
  std::vector<std::uint8_t> codes(layout.value_group);
  auto* scales = BlockLayout::at<f16_bits>(block, layout.value_scales);
  for (std::size_t t = 0; t < staged.tokens; ++t) {
    const float* row = staged.values.data() + t * layout.value_channels;
    for (std::size_t g = 0; g < layout.value_groups(); ++g) {
      const std::size_t first = g * layout.value_group;
      const std::size_t n = std::min(layout.value_group, layout.value_channels - first);
      const QuantizedGroup group = quantize_group({row + first, n}, bits, codes.data());
      scales[2 * g * kBlockTokens + t] = f16_from_f32(group.scale);
      scales[(2 * g + 1) * kBlockTokens + t] = f16_from_f32(group.minimum);
      for (std::size_t i = 0; i < n; ++i) put(block, value_place(layout, t, first + i), codes[i]);
    }
  }
}

void decode_keys(const KeyRun& run, const std::byte* block, StagedBlock& staged) {
  if (run.channels == 0) return;
  float* to = staged.keys.data() + run.first * kBlockTokens;
  if (run.format == ElementFormat::I16) return decode_fixed_keys(run, block, to);
  if (is_level(run.format)) return decode_level_keys(run, block, staged);
  const auto* scales = BlockLayout::at<f16_bits>(block, run.scales);
  for (std::size_t c = 0; c < run.channels; ++c) {
    const float scale = f32_from_f16(scales[c]);
    const float minimum = f32_from_f16(scales[run.channels + c]);
    for (std::size_t t = 0; t < kBlockTokens; ++t) {
      to[c * kBlockTokens + t] = get(block, key_place(run, c, t), run.format) * scale + minimum;
    }
  }
}

void decode_values(const BlockLayout& layout, const std::byte* block, StagedBlock& staged) {
  if (layout.has_levels()) return decode_level_values(layout, block, staged);
  if (!layout.values_quantized()) {
    for (std::size_t t = 0; t < staged.tokens; ++t) {
      decode_fixed_value(layout, t, block, staged.values.data() + t * layout.value_channels);
    }
    return;
  }
  const auto* scales = BlockLayout::at<f16_bits>(block, layout.value_scales);
  for (std::size_t t = 0; t < staged.tokens; ++t) {
    for (std::size_t c = 0; c < layout.value_channels; ++c) {
      const f16_bits* scale = scales + 2 * (c / layout.value_group) * kBlockTokens + t;
      staged.values[t * layout.value_channels + c] =
          get(block, value_place(layout, t, c), layout.value_format) * f32_from_f16(*scale) +
          f32_from_f16(scale[kBlockTokens]);
    }
  }
}

bool all_finite(const f16_bits* x, std::size_t n) noexcept {
  return std::all_of(x, x + n, [](f16_bits number) { return (number.bits & 0x7C00U) != 0x7C00U; });
}

bool all_exponents(const std::int8_t* x) noexcept {
  return std::all_of(x, x + kBlockTokens,
                     [](std::int8_t e) { return e >= kLeastExponent && e <= kMostExponent; });
}

}  // namespace

bool has_finite_scales(const BlockLayout& layout, const std::byte* block) noexcept {
  const auto sound_levels = [&](std::size_t scales) {
    return is_sound_level_exponent(*BlockLayout::at<std::int8_t>(block, scales + kBlockTokens));
  };
  for (const KeyRun& run : layout.key_runs) {
    if (run.channels == 0) continue;
    bool good = false;
    if (run.format == ElementFormat::I16) {
      good = all_exponents(BlockLayout::at<std::int8_t>(block, run.scales));
    } else if (is_level(run.format)) {
      good = sound_levels(run.scales);
    } else {
      good = all_finite(BlockLayout::at<f16_bits>(block, run.scales), 2 * run.channels);
    }
    if (!good) return false;
  }
  if (layout.has_levels()) return sound_levels(layout.value_scales);
  return layout.values_quantized() ? all_finite(BlockLayout::at<f16_bits>(block, layout.value_scales),
                                                2 * layout.value_groups() * kBlockTokens)
                                   : all_exponents(BlockLayout::at<std::int8_t>(block, layout.value_scales));
}

void StagedBlock::reset(const BlockLayout& layout) {
  tokens = 0;
  keys.assign(layout.key_channels * kBlockTokens, 0.0F);
  values.assign(layout.value_channels * kBlockTokens, 0.0F);
}

QuantizedGroup quantize_group(std::span<const float> x, std::size_t bits, std::uint8_t* codes) {
  if (x.empty()) return {};
  float low = x[0];
  float high = x[0];
  float zero = 0.0F;  // or NaN, if any number is none
  for (const float number : x) {
    low = number < low ? number : low;
    high = number > high ? number : high;
    zero += number * 0.0F;
  }
  if (zero != 0.0F) {  // NaN
    std::fill_n(codes, x.size(), std::uint8_t{0});
    return {zero, zero};
  }
  low = std::clamp(low, -kMostF16, kMostF16);
  high = std::clamp(high, -kMostF16, kMostF16);
  const auto most = static_cast<float>((1U << bits) - 1U);
  const QuantizedGroup group{(high - low) / most, low};
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float code = group.scale > 0.0F ? std::nearbyint((x[i] - group.minimum) / group.scale) : 0.0F;
    codes[i] = static_cast<std::uint8_t>(std::clamp(code, 0.0F, most));
  }
  return group;
}

void encode_block(const BlockLayout& layout, const StagedBlock& staged, std::byte* block) {
  layout.clear(block);
  for (const KeyRun& run : layout.key_runs) encode_keys(run, staged, block);
  encode_values(layout, staged, block);
  for (std::size_t t = 0; t < staged.tokens; ++t) layout.add_position(block, t, staged.positions[t]);
}

void put_token(const BlockLayout& layout, std::size_t slot, std::int32_t position, const float* key,
               const float* value, std::byte* block) {
  const KeyRun& run = layout.key_runs.front();
  float largest = 0.0F;
  for (std::size_t c = 0; c < run.channels; ++c) largest = larger_magnitude(largest, key[c]);
  const std::int8_t exponent = fixed_exponent(largest);
  BlockLayout::at<std::int8_t>(block, run.scales)[slot] = exponent;
  const float inverse = 1.0F / fixed_scale(exponent);
  auto* rows = BlockLayout::at<std::int16_t>(block, run.rows);
  for (std::size_t c = 0; c < run.channels; ++c) {
    const FixedPlace place = fixed_key(run, c);
    rows[place.first + slot * place.step] = to_fixed(key[c] * inverse);
  }
  encode_fixed_value(layout, slot, value, block);
  layout.add_position(block, slot, position);
}

void clear_token(const BlockLayout& layout, std::size_t slot, std::byte* block) {
  const KeyRun& run = layout.key_runs.front();
  BlockLayout::at<std::int8_t>(block, run.scales)[slot] = 0;
  BlockLayout::at<std::int8_t>(block, layout.value_scales)[slot] = 0;
  auto* rows = BlockLayout::at<std::int16_t>(block, run.rows);
  for (std::size_t c = 0; c < run.channels; ++c) {
    const FixedPlace place = fixed_key(run, c);
    rows[place.first + slot * place.step] = 0;
  }
  visit_fixed_value(layout, slot, BlockLayout::at<std::int16_t>(block, layout.values),
                    [](std::size_t, std::int16_t& number) { number = 0; });
  layout.forget_after(block, slot);
}

void decode_block(const BlockLayout& layout, const std::byte* block, StagedBlock& staged) {
  staged.reset(layout);
  staged.tokens = layout.count(block);
  for (std::size_t t = 0; t < staged.tokens; ++t) staged.positions[t] = layout.position(block, t);
  std::fill(staged.positions + staged.tokens, staged.positions + kBlockTokens, -1);
  for (const KeyRun& run : layout.key_runs) decode_keys(run, block, staged);
  decode_values(layout, block, staged);
}

}  // namespace thinkey
