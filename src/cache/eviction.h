// From scores to kept tokens: how a layer's places are given out, the same for every policy (cache/policy.h).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "backend/layer_store.h"
#include "cache/policy.h"
#include "thinkey/cache_spec.h"

namespace thinkey {

// B of one layer: the spec's budget, or the policy's share of it.
[[nodiscard]] std::size_t layer_budget(const EvictionSpec& spec, std::size_t tokens, std::size_t layer,
                                       std::size_t layers);

// A KV head's tokens that compete, and its places for them.
struct HeadRoom {
  std::size_t begin = 0, end = 0;   // of the scored tokens
  std::size_t places = 0;           // of them stay; as many more or fewer as adakv says,
  std::size_t least = 0, most = 0;  // but within these
};

// Indices of the scored tokens that stay, ascending. scores, norms, positions: [Hkv][n]; `norms` gives |W_o
// v| (the sum of its absolute values) and is called for `critical` only. adakv moves places between heads
// `unit` at a time; their sum stays. A head without places loses all; scores are changed.
[[nodiscard]] TokenLists best_tokens(const EvictionSpec& spec, TokenNumbers& scores,
                                     std::span<const HeadRoom> rooms, std::size_t unit,
                                     const std::function<std::vector<std::int32_t>(std::size_t)>& positions,
                                     const std::function<TokenNumbers()>& norms);

// Mean over the group's heads of [Hkv][G * n]: [Hkv][n].
[[nodiscard]] TokenNumbers group_means(const TokenNumbers& numbers, std::size_t group);

// The `count` highest-scoring indices of `scores`, ascending; ties go to the lower index.
[[nodiscard]] std::vector<std::int32_t> top_indices(std::span<const float> scores, std::size_t count);

}  // namespace thinkey
