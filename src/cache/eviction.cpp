#include "cache/eviction.h"

#include <algorithm>
#include <numeric>

#include "base/parallel.h"

namespace thinkey {
namespace {

EvictionPolicy policy_of(Eviction eviction) noexcept {
  switch (eviction) {
    case Eviction::None:
      return nullptr;
    case Eviction::SnapKV:
      return snapkv;
  }
  return nullptr;
}

}  // namespace

std::vector<std::vector<std::int32_t>> evict(const CacheShape& shape, const EvictionSpec& spec,
                                             const PromptView& prompt) {
  std::vector<std::vector<std::int32_t>> kept(shape.kv_heads);
  const EvictionPolicy policy = policy_of(spec.policy);
  const auto budget = static_cast<std::size_t>(spec.budget_for(static_cast<std::int64_t>(prompt.tokens)));
  if (policy == nullptr || prompt.tokens <= budget) {
    for (auto& head : kept) {
      head.resize(prompt.tokens);
      std::iota(head.begin(), head.end(), 0);
    }
    return kept;
  }
  const EvictionInput input{shape, spec, prompt, budget};
  parallel_for(shape.kv_heads, [&](std::size_t h) { kept[h] = policy(input, h); });
  return kept;
}

std::vector<std::int32_t> top_indices(std::span<const float> scores, std::size_t count) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  count = std::min(count, order.size());
  const auto better = [&](std::int32_t a, std::int32_t b) {
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
  };
  std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), better);
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace thinkey
