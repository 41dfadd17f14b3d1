// SnapKV (2404.14469): the last prompt queries vote, the votes are pooled along tokens, and the
// winners are kept together with the window itself.
#include <algorithm>
#include <limits>

#include "cache/eviction.h"
#include "cache/window_attention.h"

namespace thinkey {
namespace {

// Pooling with stride 1 and zero padding counted in the average, as torch's avg_pool1d / max_pool1d do.
float pooled(std::span<const float> votes, std::size_t t, std::size_t half, Pooling pooling) {
  const std::size_t from = t >= half ? t - half : 0;
  const std::size_t to = std::min(votes.size(), t + half + 1);
  if (pooling == Pooling::Max) return *std::max_element(votes.begin() + from, votes.begin() + to);
  float sum = 0.0F;
  for (std::size_t i = from; i < to; ++i) sum += votes[i];
  return sum / static_cast<float>(2 * half + 1);
}

}  // namespace

std::vector<std::int32_t> snapkv(const EvictionInput& input, std::size_t kv_head) {
  const std::size_t tokens = input.prompt.tokens;
  const std::size_t group = input.shape.query_heads / input.shape.kv_heads;
  const auto window = static_cast<std::size_t>(input.spec.window);
  const std::size_t prefix = tokens - window;

  std::vector<float> sums(group * tokens);
  window_attention_sums(input.shape, input.prompt, window, kv_head, sums.data());

  // Mean over the group's query heads of the pooled votes; the window's own columns do not vote.
  std::vector<float> scores(prefix, 0.0F);
  const auto half = static_cast<std::size_t>(input.spec.kernel / 2);
  for (std::size_t g = 0; g < group; ++g) {
    const std::span<const float> votes(sums.data() + g * tokens, prefix);
    for (std::size_t t = 0; t < prefix; ++t) scores[t] += pooled(votes, t, half, input.spec.pooling);
  }
  for (float& s : scores) s /= static_cast<float>(group);

  std::vector<std::int32_t> kept = top_indices(scores, input.budget - window);
  for (std::size_t t = prefix; t < tokens; ++t) kept.push_back(static_cast<std::int32_t>(t));
  return kept;
}

}  // namespace thinkey
