#include "cache/block_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/convert.h"

namespace thinkey {
namespace {

// Packs the codes of n <= 32 elements into planes (block.h).
void pack(const std::uint8_t* codes, std::size_t n, std::size_t bits, std::uint8_t* out) {
  const std::size_t width = (n * bits + 7) / 8;
  std::memset(out, 0, width);
  for (std::size_t i = 0; i < n; ++i) {
    out[i % width] = static_cast<std::uint8_t>(out[i % width] | (codes[i] << (i / width * bits)));
  }
}

void unpack(const std::uint8_t* packed, std::size_t n, std::size_t bits, std::uint8_t* codes) {
  const std::size_t width = (n * bits + 7) / 8;
  const unsigned mask = (1U << bits) - 1U;
  for (std::size_t i = 0; i < n; ++i) {
    codes[i] = static_cast<std::uint8_t>((packed[i % width] >> (i / width * bits)) & mask);
  }
}

// Scales and minima are kept in f16; keys beyond its range are clamped rather than made infinite.
f16_bits to_f16(float x) { return f16_from_f32(std::clamp(x, -65504.0F, 65504.0F)); }

void encode_keys(const KeyRun& run, const StagedBlock& staged, std::byte* block) {
  const float* from = staged.keys.data() + run.first * kBlockTokens;
  if (run.format == ElementFormat::F16) {
    for (std::size_t c = 0; c < run.channels; ++c) {
      f32_to_f16(from + c * kBlockTokens, staged.tokens,
                 BlockLayout::at<f16_bits>(block, run.rows + c * run.row));
    }
    return;
  }
  std::uint8_t codes[kBlockTokens];
  auto* scales = BlockLayout::at<f16_bits>(block, run.scales);
  for (std::size_t c = 0; c < run.channels; ++c) {
    std::fill_n(codes, kBlockTokens, std::uint8_t{0});
    const QuantizedGroup group =
        quantize_group({from + c * kBlockTokens, staged.tokens}, element_bits(run.format), codes);
    scales[c] = to_f16(group.scale);
    scales[run.channels + c] = to_f16(group.minimum);
    pack(codes, kBlockTokens, element_bits(run.format),
         BlockLayout::at<std::uint8_t>(block, run.rows + c * run.row));
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
    auto* out = BlockLayout::at<std::uint8_t>(block, layout.values + t * layout.value_row);
    for (std::size_t g = 0; g < layout.value_groups(); ++g) {
      const std::size_t first = g * layout.value_group;
      const std::size_t n = std::min(layout.value_group, layout.value_channels - first);
      const QuantizedGroup group = quantize_group({row + first, n}, bits, codes.data());
      value_scales[g * kBlockTokens + t] = to_f16(group.scale);
      value_minima[g * kBlockTokens + t] = to_f16(group.minimum);
      for (std::size_t i = 0; i < n; i += kUnit) {
        pack(codes.data() + i, std::min(kUnit, n - i), bits, out + (first + i) * bits / 8);
      }
    }
  }
}

void decode_keys(const KeyRun& run, const std::byte* block, StagedBlock& staged) {
  float* to = staged.keys.data() + run.first * kBlockTokens;
  if (run.format == ElementFormat::F16) {
    f16_to_f32(BlockLayout::at<f16_bits>(block, run.rows), run.channels * kBlockTokens, to);
    return;
  }
  std::uint8_t codes[kBlockTokens];
  const auto* scales = BlockLayout::at<f16_bits>(block, run.scales);
  for (std::size_t c = 0; c < run.channels; ++c) {
    unpack(BlockLayout::at<std::uint8_t>(block, run.rows + c * run.row), kBlockTokens,
           element_bits(run.format), codes);
    const float scale = f32_from_f16(scales[c]);
    const float minimum = f32_from_f16(scales[run.channels + c]);
    for (std::size_t t = 0; t < kBlockTokens; ++t) {
      to[c * kBlockTokens + t] = static_cast<float>(codes[t]) * scale + minimum;
    }
  }
}

void decode_values(const BlockLayout& layout, const std::byte* block, StagedBlock& staged) {
  if (!layout.values_quantized()) {
    f16_to_f32(BlockLayout::at<f16_bits>(block, layout.values), staged.values.size(), staged.values.data());
    return;
  }
  const std::size_t bits = element_bits(layout.value_format);
  std::uint8_t codes[kUnit];
  const auto* value_scales = BlockLayout::at<f16_bits>(block, layout.value_scales);
  const auto* value_minima = value_scales + layout.value_groups() * kBlockTokens;
  for (std::size_t t = 0; t < staged.tokens; ++t) {
    const auto* row = BlockLayout::at<std::uint8_t>(block, layout.values + t * layout.value_row);
    for (std::size_t first = 0; first < layout.value_channels; first += kUnit) {
      const std::size_t n = std::min(kUnit, layout.value_channels - first);
      const std::size_t g = first / layout.value_group;
      const float scale = f32_from_f16(value_scales[g * kBlockTokens + t]);
      const float minimum = f32_from_f16(value_minima[g * kBlockTokens + t]);
      unpack(row + first * bits / 8, n, bits, codes);
      for (std::size_t i = 0; i < n; ++i) {
        staged.values[t * layout.value_channels + first + i] = static_cast<float>(codes[i]) * scale + minimum;
      }
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
