// Token eviction: which prompt tokens each KV head keeps. A policy is one scoring function in one
// file and one line in the table of eviction.cpp (docs/adding-a-policy.md).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cache/sequence_cache.h"

namespace thinkey {

struct EvictionInput {
  const AttentionShape& shape;
  const EvictionSpec& spec;
  const PromptView& prompt;
  std::size_t kv_head;
  // Attention each token received from all prompt queries, [G, T], when the policy asked for it.
  std::span<const float> received;
};

// Scores of the tokens before the window, [T - window]; the highest are kept, the window always is.
using EvictionScores = std::vector<float> (*)(const EvictionInput& input);

struct EvictionPolicy {
  Eviction policy;
  std::string_view name;
  EvictionScores scores;
  bool all_queries;  // needs EvictionInput::received unless spec.observe_window
};

// The policy's entry; nullptr for None.
[[nodiscard]] const EvictionPolicy* eviction_policy(Eviction policy) noexcept;

// B of one layer: the spec's budget, or PyramidKV's share of it.
[[nodiscard]] std::size_t layer_budget(const EvictionSpec& spec, std::size_t tokens, std::size_t layer,
                                       std::size_t layers);

// Kept positions per KV head, ascending; all of them when the prompt fits its budget.
// received: [H, T] or empty.
[[nodiscard]] std::vector<std::vector<std::int32_t>> evict(const AttentionShape& shape,
                                                           const EvictionSpec& spec, const PromptView& prompt,
                                                           std::size_t budget,
                                                           std::span<const float> received);

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
