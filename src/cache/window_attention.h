// What the last prompt queries look at: the statistic behind SnapKV and H2O's window variant.
#pragma once

#include <cstddef>

#include "cache/sequence_cache.h"

namespace thinkey {

// sums[g * T + t] = sum over the last `window` queries of softmax(q K^T / sqrt(D))[t], causal, for
// each query head g of KV head `kv_head`. sums has G * T elements.
void window_attention_sums(const CacheShape& shape, const PromptView& prompt, std::size_t window,
                           std::size_t kv_head, float* sums);

}  // namespace thinkey
