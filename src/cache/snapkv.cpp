// SnapKV (2404.14469): the last prompt queries vote, the votes are pooled along tokens, and the
// winners are kept together with the window itself. PyramidKV scores in the same way.
#include "cache/eviction.h"

namespace thinkey {

std::vector<float> snapkv_scores(const EvictionInput& input) {
  // The window's own columns do not vote: pooling sees the prefix alone.
  const std::size_t prefix = input.tokens - static_cast<std::size_t>(input.spec.window);
  return pooled_votes(input.votes, input.group, input.tokens, prefix, input.spec.kernel, input.spec.pooling);
}

}  // namespace thinkey
