// Tensor names that carry a layer's number.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace thinkey {

struct LayerName {
  std::int64_t layer;
  std::string_view rest;  // what follows the number and its dot
};

// Splits "<prefix><number>.<rest>"; nullopt when `name` has another form or there is no such layer.
[[nodiscard]] inline std::optional<LayerName> split_layer_name(std::string_view name, std::string_view prefix,
                                                               std::int64_t layers) noexcept {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos || dot == 0 || dot > 4) return std::nullopt;
  if (name.front() == '0' && dot > 1) return std::nullopt;  // one spelling per layer
  std::int64_t layer = 0;
  for (const char digit : name.substr(0, dot)) {
    if (digit < '0' || digit > '9') return std::nullopt;
    layer = layer * 10 + (digit - '0');
  }
  if (layer >= layers) return std::nullopt;
  return LayerName{layer, name.substr(dot + 1)};
}

}  // namespace thinkey
