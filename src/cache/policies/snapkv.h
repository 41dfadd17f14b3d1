// SnapKV's scores, which PyramidKV shares.
#pragma once

#include "cache/policy.h"

namespace thinkey {

// The last queries vote, the votes are pooled along tokens, and the window itself is kept. Its own columns do
// not vote: pooling sees what stands before it.
[[nodiscard]] TokenNumbers snapkv_scores(const ScoredTokens& tokens, std::size_t window, std::size_t kernel,
                                         Pooling pooling);

}  // namespace thinkey
