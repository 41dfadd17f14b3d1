// What prompt queries look at: the statistic behind SnapKV, PyramidKV and H2O.
#pragma once

#include <cstddef>

#include "cache/sequence_cache.h"

namespace thinkey {

// sums[g * pitch + t] += sum over the queries of softmax(q K^T)[t], logits as the shape says, sinks in the
// denominator, causal, for each query head g of KV head `kv_head`; t < first + n.
void add_attention_sums(const AttentionShape& shape, const QueryRange& queries, std::size_t kv_head,
                        std::size_t pitch, float* sums);

// The last `window` queries of a prompt.
[[nodiscard]] QueryRange last_queries(const PromptView& prompt, std::size_t window);

}  // namespace thinkey
