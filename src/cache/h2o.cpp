// H2O (2306.14048): tokens are ranked by the attention they have received, accumulated over all
// prompt queries, or (observe=window) over the last ones only.
#include "cache/attention_sums.h"
#include "cache/eviction.h"

namespace thinkey {

std::vector<float> h2o_scores(const EvictionInput& input) {
  const std::size_t tokens = input.prompt.tokens;
  const std::size_t group = input.shape.group();
  const auto window = static_cast<std::size_t>(input.spec.window);

  std::vector<float> own;
  std::span<const float> received = input.received;
  if (received.empty()) {  // nobody accumulated during prefill: the prompt view has the queries
    own.assign(group * tokens, 0.0F);
    const std::size_t queries = input.spec.observe_window ? window : input.prompt.queries;
    add_attention_sums(input.shape, last_queries(input.prompt, queries), input.kv_head, tokens, own.data());
    received = own;
  }
  return pooled_votes(received, group, tokens, tokens - window, 1, Pooling::Average);
}

}  // namespace thinkey
