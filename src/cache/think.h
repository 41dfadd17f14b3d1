// ThinK (2407.21018, section 3): query-driven scores of key channels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/sequence_cache.h"

namespace thinkey {

// score[j] = mean over the last queries and the group's heads of q_j^2, times the mean over the kept
// tokens of k_j^2; ranks like ||Q_S[:, j] K[:, j]^T||_F, the greedy minimiser of the logits' error. [D]
[[nodiscard]] std::vector<float> think_key_scores(const CacheShape& shape, const PromptView& prompt,
                                                  std::size_t window, std::size_t kv_head,
                                                  std::span<const std::int32_t> kept_tokens);

}  // namespace thinkey
