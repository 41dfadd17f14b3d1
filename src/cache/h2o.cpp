// H2O (2306.14048): tokens are ranked by the attention they have received, accumulated over all
// prompt queries, or (observe=window) over the last ones only.
#include "cache/eviction.h"

namespace thinkey {

std::vector<float> h2o_scores(const EvictionInput& input) {
  const std::size_t prefix = input.tokens - static_cast<std::size_t>(input.spec.window);
  return pooled_votes(input.votes, input.group, input.tokens, prefix, 1, Pooling::Average);
}

}  // namespace thinkey
