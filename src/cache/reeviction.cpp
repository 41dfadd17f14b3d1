// Evicting again (`every=N`): during a long generation, and at each chat turn, the tokens held are
// ranked anew by the latest queries, and the budget is restored.
#include <algorithm>
#include <optional>
#include <vector>

#include "base/parallel.h"
#include "cache/eviction.h"
#include "cache/layer_cache.h"

namespace thinkey {

void LayerCache::renew(std::size_t n, std::int64_t first_position, const float* q, bool turn_ended) {
  const EvictionSpec& spec = compression_.spec.eviction;
  if (spec.every == 0) return;
  store_->remember(n, first_position, q);
  if (!turn_ended && next_position_ - evicted_at_ < spec.every) return;
  evict_again();
  evicted_at_ = next_position_;
}

void LayerCache::evict_again() {
  const EvictionSpec& spec = compression_.spec.eviction;
  const std::size_t reach = tokens_in_reach(shape_, static_cast<std::size_t>(next_position_));
  const std::size_t budget = layer_budget(spec, reach, compression_.index, compression_.count);
  std::vector<HeadSizes> sizes;
  for (std::size_t h = 0; h < shape_.kv_heads; ++h) sizes.push_back(store_->sizes(h));
  const auto over = [&](const HeadSizes& s) { return s.thin + s.recent > budget; };
  if (std::ranges::none_of(sizes, over)) return;

  const bool streaming = spec.policy == Eviction::Streaming;
  const std::vector<std::vector<float>> votes =
      streaming ? std::vector<std::vector<float>>{} : store_->votes();
  std::vector<std::optional<std::vector<std::int32_t>>> kept(shape_.kv_heads);
  parallel_for(shape_.kv_heads, [&](std::size_t h) {
    const auto [thin, recent] = std::pair(sizes[h].thin, sizes[h].recent);
    if (!over(sizes[h])) return;
    // The latest tokens stay, in whichever segment they are.
    const auto window = static_cast<std::size_t>(streaming ? 0 : spec.window);
    const std::size_t kept_tail = std::min(thin, window - std::min(window, recent));
    const std::size_t prefix = thin - kept_tail;
    const std::size_t places = budget - std::min(budget, recent + kept_tail);

    std::vector<std::int32_t>& stay = kept[h].emplace();
    if (streaming) {
      const std::size_t sinks = std::min(places, static_cast<std::size_t>(spec.sinks));
      for (std::size_t t = 0; t < prefix; ++t) {
        if (t < sinks || t + (places - sinks) >= prefix) stay.push_back(static_cast<std::int32_t>(t));
      }
    } else {
      const bool pools = spec.policy != Eviction::H2O;
      stay = top_indices(pooled_votes(votes[h], shape_.group(), thin + recent, prefix,
                                      pools ? spec.kernel : 1, spec.pooling),
                         places);
    }
    for (std::size_t t = prefix; t < thin; ++t) stay.push_back(static_cast<std::int32_t>(t));
  });
  store_->keep_thin(kept);
}

}  // namespace thinkey
