#include "cache/block_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/convert.h"

namespace thinkey {
namespace {

// Where code `i` of a row lies: planes of `width` codes, one above the other (block.h).
struct Place {
  std::size_t byte, shift;
};
Place place(std::size_t i, std::size_t width, std::size_t bits) noexcept {
  return {i % width, i / width * bits};
}

// Bytes of channel c's or token t's codes, and of the next one's.
class KeyCodes {
 public:
  KeyCodes(const KeyRun& run, std::size_t channel)
      : step_(run.pair()),
        first_(channel % run.pair()),
        row_(run.keys + channel / run.pair() * run.row),
        width_(run.row),
        bits_(element_bits(run.format)) {}
  [[nodiscard]] Place of(std::size_t token) const noexcept {
    const Place p = place(step_ * token + first_, width_, bits_);
    return {row_ + p.byte, p.shift};
  }

 private:
  std::size_t step_, first_, row_, width_, bits_;
};

class ValueCodes {
 public:
  ValueCodes(const BlockLayout& layout, std::size_t token)
      : layout_(layout),
        parity_(token % 2),
        row_(layout.values + (layout.values_paired() ? token / 2 : token) * layout.value_row) {}
  [[nodiscard]] Place of(std::size_t channel) const noexcept {
    if (!layout_.values_paired()) return {row_ + channel, 0};
    const std::size_t unit = channel / kUnit;
    const std::size_t width = layout_.plane_bytes(std::min(kUnit, layout_.value_channels - unit * kUnit));
    const Place p = place(2 * (channel % kUnit) + parity_, width, element_bits(layout_.value_format));
    return {row_ + unit * layout_.plane_bytes(kUnit) + p.byte, p.shift};
  }

 private:
  const BlockLayout& layout_;
  std::size_t parity_, row_;
};

// The block is clear: codes are or-ed in.
void put(std::byte* block, const Place& at, std::uint8_t code) noexcept {
  auto* byte = BlockLayout::at<std::uint8_t>(block, at.byte);
  *byte = static_cast<std::uint8_t>(*byte | (code << at.shift));
}
float get(const std::byte* block, const Place& at, std::size_t bits) noexcept {
  return static_cast<float>((*BlockLayout::at<std::uint8_t>(block, at.byte) >> at.shift) &
                            ((1U << bits) - 1U));
}

// Scales and minima are kept in f16; keys beyond its range are clamped rather than made infinite.
f16_bits to_f16(float x) { return f16_from_f32(std::clamp(x, -65504.0F, 65504.0F)); }

void encode_keys(const KeyRun& run, const StagedBlock& staged, std::byte* block) {
  const float* from = staged.keys.data() + run.first * kBlockTokens;
  if (run.format == ElementFormat::F16) {
    for (std::size_t c = 0; c < run.channels; ++c) {
      f32_to_f16(from + c * kBlockTokens, staged.tokens,
                 BlockLayout::at<f16_bits>(block, run.keys + c * run.row));
    }
    return;
  }
  std::uint8_t codes[kBlockTokens];
  auto* scales = BlockLayout::at<f16_bits>(block, run.scales);
  for (std::size_t c = 0; c < run.channels; ++c) {
    const QuantizedGroup group =
        quantize_group({from + c * kBlockTokens, staged.tokens}, element_bits(run.format), codes);
    scales[c] = to_f16(group.scale);
    scales[run.channels + c] = to_f16(group.minimum);
    const KeyCodes places(run, c);
    for (std::size_t t = 0; t < staged.tokens; ++t) put(block, places.of(t), codes[t]);
  }
}

void encode_values(const BlockLayout& layout, const StagedBlock& staged, std::byte* block) {
  if (!layout.values_quantized()) {
    f32_to_f16(staged.values.data(), staged.tokens * layout.value_channels,
               BlockLayout::at<f16_bits>(block, layout.values));
    return;
  }
  const std::size_t bits = element_bits(layout.value_format);
  std::vector<std::uint8_t> codes(layout.value_group);
  auto* value_scales = BlockLayout::at<f16_bits>(block, layout.value_scales);
  auto* value_minima = value_scales + layout.value_groups() * kBlockTokens;
  for (std::size_t t = 0; t < staged.tokens; ++t) {
    const float* row = staged.values.data() + t * layout.value_channels;
    const ValueCodes places(layout, t);
    for (std::size_t g = 0; g < layout.value_groups(); ++g) {
      const std::size_t first = g * layout.value_group;
      const std::size_t n = std::min(layout.value_group, layout.value_channels - first);
      const QuantizedGroup group = quantize_group({row + first, n}, bits, codes.data());
      value_scales[g * kBlockTokens + t] = to_f16(group.scale);
      value_minima[g * kBlockTokens + t] = to_f16(group.minimum);
      for (std::size_t i = 0; i < n; ++i) put(block, places.of(first + i), codes[i]);
    }
  }
}

void decode_keys(const KeyRun& run, const std::byte* block, StagedBlock& staged) {
  float* to = staged.keys.data() + run.first * kBlockTokens;
  if (run.format == ElementFormat::F16) {
    f16_to_f32(BlockLayout::at<f16_bits>(block, run.keys), run.channels * kBlockTokens, to);
    return;
  }
  const std::size_t bits = element_bits(run.format);
  const auto* scales = BlockLayout::at<f16_bits>(block, run.scales);
  for (std::size_t c = 0; c < run.channels; ++c) {
    const KeyCodes places(run, c);
    const float scale = f32_from_f16(scales[c]);
    const float minimum = f32_from_f16(scales[run.channels + c]);
    for (std::size_t t = 0; t < kBlockTokens; ++t) {
      to[c * kBlockTokens + t] = get(block, places.of(t), bits) * scale + minimum;
    }
  }
}

void decode_values(const BlockLayout& layout, const std::byte* block, StagedBlock& staged) {
  if (!layout.values_quantized()) {
    f16_to_f32(BlockLayout::at<f16_bits>(block, layout.values), staged.values.size(), staged.values.data());
    return;
  }
  const std::size_t bits = element_bits(layout.value_format);
  const auto* value_scales = BlockLayout::at<f16_bits>(block, layout.value_scales);
  const auto* value_minima = value_scales + layout.value_groups() * kBlockTokens;
  for (std::size_t t = 0; t < staged.tokens; ++t) {
    const ValueCodes places(layout, t);
    for (std::size_t c = 0; c < layout.value_channels; ++c) {
      const std::size_t at = c / layout.value_group * kBlockTokens + t;
      staged.values[t * layout.value_channels + c] =
          get(block, places.of(c), bits) * f32_from_f16(value_scales[at]) + f32_from_f16(value_minima[at]);
    }
  }
}

}  // namespace

void StagedBlock::reset(const BlockLayout& layout) {
  tokens = 0;
  keys.assign(layout.key_channels * kBlockTokens, 0.0F);
  values.assign(layout.value_channels * kBlockTokens, 0.0F);
}

QuantizedGroup quantize_group(std::span<const float> x, std::size_t bits, std::uint8_t* codes) {
  if (x.empty()) return {};
  const auto [low, high] = std::minmax_element(x.begin(), x.end());
  const auto most = static_cast<float>((1U << bits) - 1U);
  const QuantizedGroup group{(*high - *low) / most, *low};
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
  std::copy_n(staged.positions, staged.tokens, layout.positions(block));
}

void decode_block(const BlockLayout& layout, const std::byte* block, StagedBlock& staged) {
  staged.reset(layout);
  staged.tokens = layout.count(block);
  std::copy_n(layout.positions(block), kBlockTokens, staged.positions);
  for (const KeyRun& run : layout.key_runs) decode_keys(run, block, staged);
  decode_values(layout, block, staged);
}

}  // namespace thinkey
