// Evicting again (`every=N`): during a long generation, and at each chat turn, the policy scores the tokens
// that are held, and the budget is restored.
#include <algorithm>
#include <optional>
#include <vector>

#include "cache/eviction.h"
#include "cache/layer_cache.h"

namespace thinkey {

void LayerCache::renew(std::size_t n, std::int64_t first_position, const float* q, bool turn_ended) {
  const EvictionSpec& spec = compression_.spec.eviction;
  if (spec.every == 0) return;
  store_->remember(n, first_position, q);
  if (!turn_ended && static_cast<std::size_t>(next_position_ - evicted_at_) < spec.every) return;
  evict_again();
  evicted_at_ = next_position_;
}

void LayerCache::evict_again() {
  const EvictionSpec& spec = compression_.spec.eviction;
  const Policy* policy = policy_of(spec.policy);
  const std::size_t reach = tokens_in_reach(shape_, static_cast<std::size_t>(next_position_));
  const std::size_t budget = layer_budget(spec, reach, compression_.index, compression_.count);
  ScoredTokens tokens{
      .shape = shape_, .store = *store_, .counts = {}, .next = next_position_, .budget = budget};
  // Recent tokens stay; thin ones compete for the places that are left.
  std::vector<HeadRoom> rooms;
  std::size_t held = 0;
  bool over = false;
  for (std::size_t h = 0; h < shape_.kv_heads; ++h) {
    const HeadSizes sizes = store_->sizes(h);
    tokens.counts.push_back(sizes.thin + sizes.recent);
    rooms.push_back({.begin = 0,
                     .end = sizes.thin,
                     .places = budget - std::min(budget, sizes.recent),
                     .least = 0,
                     .most = sizes.thin});
    held += tokens.counts.back();
    over |= tokens.counts.back() > budget;
  }
  if (policy == nullptr || !(spec.adakv ? held > budget * shape_.kv_heads : over)) return;

  TokenNumbers scores = policy->scorer(spec.policy)->scores(tokens);
  for (std::size_t h = 0; h < rooms.size(); ++h) {
    const auto sure = std::count(scores[h].begin(),
                                 scores[h].begin() + static_cast<std::ptrdiff_t>(rooms[h].end), kAlwaysKept);
    rooms[h].least = std::min(rooms[h].places, static_cast<std::size_t>(sure));
  }
  const TokenLists best = best_tokens(
      spec, scores, rooms, 1, [&](std::size_t h) { return tokens.positions(h); },
      [&] { return group_means(store_->value_norms(nullptr, ValueNorm::OutputL1), shape_.group()); });
  std::vector<std::optional<std::vector<std::int32_t>>> kept(shape_.kv_heads);
  for (std::size_t h = 0; h < kept.size(); ++h) {
    if (best[h].size() < rooms[h].end) kept[h] = best[h];
  }
  store_->keep_thin(kept);
}

}  // namespace thinkey
