// SnapKV (2404.14469): the last prompt queries vote, the votes are pooled along tokens, and the
// winners are kept together with the window itself. PyramidKV scores in the same way.
#include "cache/attention_sums.h"
#include "cache/eviction.h"

namespace thinkey {

std::vector<float> snapkv_scores(const EvictionInput& input) {
  const std::size_t tokens = input.prompt.tokens;
  const std::size_t group = input.shape.group();
  const auto window = static_cast<std::size_t>(input.spec.window);

  std::vector<float> votes(group * tokens, 0.0F);
  add_attention_sums(input.shape, last_queries(input.prompt, window), input.kv_head, tokens, votes.data());
  // The window's own columns do not vote: pooling sees the prefix alone.
  return pooled_votes(votes, group, tokens, tokens - window, input.spec.kernel, input.spec.pooling);
}

}  // namespace thinkey
