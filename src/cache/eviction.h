// Token eviction: which prompt tokens each KV head keeps. A policy is one scoring function in one
// file and one line in the table of eviction.cpp (docs/adding-a-policy.md).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "backend/layer_store.h"
#include "thinkey/cache_spec.h"

namespace thinkey {

// Whose attention a policy looks at.
enum class Voters : std::uint8_t {
  None,         // nobody's
  LastQueries,  // the last `window` prompt queries'
  AllQueries,   // every prompt query's (the last ones' with spec.observe_window)
};

// What a policy knows of one KV head.
struct EvictionInput {
  const EvictionSpec& spec;
  std::size_t tokens = 0;  // T
  std::size_t group = 1;   // G
  std::span<const float>
      votes;  // [G, T] attention each token received from the voters; empty: there are none
};

// Scores of the tokens before the window, [T - window]; the highest are kept, the window always is.
using EvictionScores = std::vector<float> (*)(const EvictionInput& input);

struct EvictionPolicy {
  Eviction policy;
  std::string_view name;
  EvictionScores scores;
  Voters voters;
};

// The policy's entry; nullptr for None.
[[nodiscard]] const EvictionPolicy* eviction_policy(Eviction policy) noexcept;

// B of one layer: the spec's budget, or PyramidKV's share of it.
[[nodiscard]] std::size_t layer_budget(const EvictionSpec& spec, std::size_t tokens, std::size_t layer,
                                       std::size_t layers);

// Kept positions per KV head, ascending, of which none is before `oldest`: all from there on where they fit
// the budget. votes: [H, T] or empty.
[[nodiscard]] TokenLists evict(const AttentionShape& shape, const EvictionSpec& spec, std::size_t tokens,
                               std::size_t oldest, std::size_t budget, std::span<const float> votes);

// Positions that stay given the prefix's scores: the best of it, and the window.
[[nodiscard]] std::vector<std::int32_t> keep_best(std::span<const float> scores, std::size_t budget,
                                                  std::size_t window);

// The `count` highest-scoring indices of `scores`, ascending; ties go to the lower index.
[[nodiscard]] std::vector<std::int32_t> top_indices(std::span<const float> scores, std::size_t count);

// Scores from votes[g * pitch + t], t < prefix: pooled along tokens as the spec says, mean over the group.
[[nodiscard]] std::vector<float> pooled_votes(std::span<const float> votes, std::size_t group,
                                              std::size_t pitch, std::size_t prefix, std::int64_t kernel,
                                              Pooling pooling);

[[nodiscard]] std::vector<float> snapkv_scores(const EvictionInput& input);
[[nodiscard]] std::vector<float> h2o_scores(const EvictionInput& input);
[[nodiscard]] std::vector<float> streaming_scores(const EvictionInput& input);

}  // namespace thinkey
