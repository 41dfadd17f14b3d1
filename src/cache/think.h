// ThinK (2407.21018, section 3): query-driven scores of channels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/sequence_cache.h"

namespace thinkey {

// score[j] = mean over the last queries and the group's heads of q_j^2, times the mean over the kept
// tokens of k_j^2; ranks like ||Q_S[:, j] K[:, j]^T||_F, the greedy minimiser of the logits' error.
// With `centred`, k_j's variance takes the place of its second moment: right when the dropped
// channels' mean is added back (bias). [D]
[[nodiscard]] std::vector<float> think_key_scores(const CacheShape& shape, const PromptView& prompt,
                                                  std::size_t window, std::size_t kv_head,
                                                  std::span<const std::int32_t> kept_tokens,
                                                  bool centred = false);

// score[j] = ||softmax(Q_S K^T / sqrt(D)) V[:, j]||_F over the kept tokens, root mean square over the
// last queries and the group's heads. [D]
[[nodiscard]] std::vector<float> think_value_scores(const CacheShape& shape, const PromptView& prompt,
                                                    std::size_t window, std::size_t kv_head,
                                                    std::span<const std::int32_t> kept_tokens);

// Mean key of the given tokens of a KV head. [D]
[[nodiscard]] std::vector<float> mean_key(const CacheShape& shape, const PromptView& prompt,
                                          std::size_t kv_head, std::span<const std::int32_t> tokens);

}  // namespace thinkey
