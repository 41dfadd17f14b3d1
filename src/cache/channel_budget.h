// How many key channels each head keeps (`think:...,adaptive`).
#pragma once

#include <cstddef>
#include <vector>

namespace thinkey {

// Spreads a fixed total of channels over the heads of all layers by marginal loss. Within a layer the
// split is exact: the channels whose loss is largest are kept, whichever head they belong to. Layers
// arrive in order, so across layers a running threshold decides: layer l keeps the channels that
// would be kept if all layers up to l shared (l + 1) layers' worth; the last layer takes what is left.
class ChannelBudget {
 public:
  ChannelBudget(std::size_t layers, std::size_t heads, std::size_t per_head, std::size_t head_dim);

  // losses: [heads][D], any order within a head. Returns D' per head, between a quarter of the even
  // share and D. Call once per layer, in order.
  [[nodiscard]] std::vector<std::size_t> split(std::vector<std::vector<float>> losses);

 private:
  std::size_t layers_, heads_, per_head_, head_dim_;
  std::size_t layer_ = 0, spent_ = 0;
  std::vector<float> seen_;  // losses of the layers so far
};

}  // namespace thinkey
