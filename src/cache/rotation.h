// Beyond ThinK: instead of the best D' channels, the best D' directions. Key channels are a poor
// basis for what queries do with keys; in the basis of the form q^T k itself fewer numbers carry more
// of the logits. The thin segment then stores D' numbers per token as before, plus two [D', D] maps
// per head.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cache/sequence_cache.h"

namespace thinkey {

// Maps such that (Q q) . (K k) is the rank-D' form closest to q . k in mean square, over queries like
// the last ones and keys like the kept ones: with C_q = L L^T the second moment of the queries
// (shrunk towards a multiple of the identity, since the window is small) and C_k that of the keys,
// the rows of K are u^T L^T and those of Q are u^T L^-1 for the leading eigenvectors u of L^T C_k L.
struct Rotation {
  std::vector<float> key_map, query_map;  // [D, D], best direction first: take the first D' rows
  std::vector<float> losses;  // [D], descending: what dropping the direction costs, as think_key_scores
};

// `centred`: keys' covariance instead of their second moment (see think_key_scores).
[[nodiscard]] Rotation best_rotation(const CacheShape& shape, const PromptView& prompt, std::size_t window,
                                     std::size_t kv_head, std::span<const std::int32_t> kept_tokens,
                                     bool centred);

}  // namespace thinkey
