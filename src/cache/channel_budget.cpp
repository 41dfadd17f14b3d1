#include "cache/channel_budget.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace thinkey {

ChannelBudget::ChannelBudget(std::size_t layers, std::size_t heads, std::size_t per_head,
                             std::size_t head_dim)
    : layers_(layers), heads_(heads), per_head_(per_head), head_dim_(head_dim) {}

std::vector<std::size_t> ChannelBudget::split(std::vector<std::vector<float>> losses) {
  // A broken model's NaN must not upset the sorting below.
  for (auto& head : losses) {
    std::replace_if(
        head.begin(), head.end(), [](float x) { return std::isnan(x); }, 0.0F);
  }
  const std::size_t least = std::max<std::size_t>(1, per_head_ / 4);
  const std::size_t even = heads_ * per_head_;
  for (const auto& head : losses) seen_.insert(seen_.end(), head.begin(), head.end());
  ++layer_;

  // How many channels of this layer clear the threshold that all layers so far share.
  std::size_t wanted = layers_ * even - spent_;
  if (layer_ < layers_) {
    const std::size_t rank = std::min(layer_ * even, seen_.size()) - 1;
    std::nth_element(seen_.begin(), seen_.begin() + static_cast<std::ptrdiff_t>(rank), seen_.end(),
                     std::greater<>());
    const float threshold = seen_[rank];
    wanted = 0;
    for (const auto& head : losses) {
      wanted += static_cast<std::size_t>(
          std::count_if(head.begin(), head.end(), [&](float x) { return x >= threshold; }));
    }
    // Later layers must still be able to spend, and afford, what is left.
    const std::size_t left = layers_ - layer_;
    const std::size_t total = layers_ * even - spent_;
    wanted =
        std::clamp(wanted, total - std::min(total, left * heads_ * head_dim_), total - left * heads_ * least);
  }
  wanted = std::clamp(wanted, heads_ * least, heads_ * head_dim_);

  // The best `wanted` channels of the layer, each head's minimum first.
  struct Candidate {
    float loss;
    std::size_t head;
  };
  std::vector<std::size_t> kept(heads_, least);
  std::vector<Candidate> candidates;
  for (std::size_t h = 0; h < heads_; ++h) {
    std::vector<float> sorted = losses[h];
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    for (std::size_t j = least; j < sorted.size(); ++j) candidates.push_back({sorted[j], h});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.loss > b.loss; });
  for (std::size_t i = 0; i < wanted - heads_ * least; ++i) ++kept[candidates[i].head];
  spent_ += wanted;
  return kept;
}

}  // namespace thinkey
