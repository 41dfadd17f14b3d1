#include "cache/layer_compression.h"

#include <algorithm>

#include "cache/level_budget.h"
#include "cache/policy.h"

namespace thinkey {
namespace {

bool all_windowed(const CacheShape& shape) noexcept {
  return std::ranges::all_of(shape.layers,
                             [](const AttentionShape& layer) { return layer.sliding_window > 0; });
}

ElementFormat kivi_format(std::size_t bits) noexcept {
  switch (bits) {
    case 8:
      return ElementFormat::Q8;
    case 4:
      return ElementFormat::Q4;
    case 2:
      return ElementFormat::Q2;
    default:
      return ElementFormat::I16;
  }
}

}  // namespace

std::size_t compressed_layers(const CacheShape& shape) noexcept {
  if (all_windowed(shape)) return shape.layers.size();
  return static_cast<std::size_t>(std::ranges::count(shape.layers, 0U, &AttentionShape::sliding_window));
}

std::vector<LayerCompression> compression_of_layers(const CacheShape& shape, const CacheSpec& spec) {
  const bool all = all_windowed(shape);
  const std::size_t count = compressed_layers(shape);
  std::vector<LayerCompression> layers;
  std::size_t index = 0;
  for (const AttentionShape& layer : shape.layers) {
    layers.push_back({.spec = spec, .index = index, .count = count});
    if (layer.sliding_window > 0) layers.back().spec.turbo.sinks = 0;  // a window leaves them behind
    if (all || layer.sliding_window == 0) {
      ++index;
    } else {
      layers.back().spec.eviction = {};
      layers.back().spec.channels = {};
    }
  }
  return layers;
}

ElementFormat level_format(std::size_t bits) noexcept {
  constexpr ElementFormat formats[] = {ElementFormat::L1, ElementFormat::L2, ElementFormat::L3,
                                       ElementFormat::L4, ElementFormat::L5, ElementFormat::L6,
                                       ElementFormat::L8, ElementFormat::L8};
  return formats[bits - 1];
}

std::size_t tokens_in_reach(const AttentionShape& shape, std::size_t tokens) noexcept {
  return shape.sliding_window == 0 ? tokens : std::min(tokens, shape.sliding_window);
}

std::size_t full_f16_bytes(const AttentionShape& shape, std::size_t tokens) noexcept {
  return 2 * sizeof(f16_bits) * shape.kv_heads * shape.head_dim * tokens_in_reach(shape, tokens);
}

StoreFormat store_format(const CacheSpec& spec) {
  const Policy* policy = policy_of(spec.eviction.policy);
  const bool remembers = spec.eviction.every > 0 && policy != nullptr;
  const bool turbo = spec.turbo.active();
  const ElementFormat kivi = kivi_format(spec.quantization.bits);
  const ElementFormat interim = level_format(interim_bits(spec));
  const auto level = [&](std::size_t bits) { return spec.turbo.budgeted() ? interim : level_format(bits); };
  return {.keys = turbo ? level(spec.turbo.keys) : kivi,
          .values = turbo ? level(spec.turbo.values) : kivi,
          .value_group = spec.quantization.group,
          .reduces = spec.compresses(),
          .recent = spec.compresses() ? spec.recent_tokens() : 0,
          .sinks = turbo ? spec.turbo.sinks : 0,
          .runs = turbo && policy == nullptr,
          .remembered = remembers ? policy->remembered(spec.eviction.policy) : 0};
}

}  // namespace thinkey
