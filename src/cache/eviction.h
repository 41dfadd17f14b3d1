// Token eviction: which prompt tokens each KV head keeps. A policy is one function in one file and
// one line in the table of eviction.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "cache/sequence_cache.h"

namespace thinkey {

struct EvictionInput {
  const CacheShape& shape;
  const EvictionSpec& spec;
  const PromptView& prompt;
  std::size_t budget;  // B for this prompt, window <= B < T
};

// Positions a KV head keeps, ascending; exactly `budget` of them.
using EvictionPolicy = std::vector<std::int32_t> (*)(const EvictionInput& input, std::size_t kv_head);

// Kept positions per KV head; all of them when the policy is None or the prompt fits its budget.
[[nodiscard]] std::vector<std::vector<std::int32_t>> evict(const CacheShape& shape, const EvictionSpec& spec,
                                                           const PromptView& prompt);

// The `count` highest-scoring indices of `scores`, ascending; ties go to the lower index.
[[nodiscard]] std::vector<std::int32_t> top_indices(std::span<const float> scores, std::size_t count);

[[nodiscard]] std::vector<std::int32_t> snapkv(const EvictionInput& input, std::size_t kv_head);

}  // namespace thinkey
