#include "cache/policy.h"

#include <algorithm>
#include <numeric>

namespace thinkey {
namespace {

template <typename... Options>
std::vector<const Policy*> described(const std::variant<NoEviction, Options...>*) {
  return {&describe<Options>()...};
}

// Stride 1, zero padding counted in the average, as torch's avg_pool1d / max_pool1d do.
float pooled(std::span<const float> votes, std::size_t t, std::size_t half, Pooling pooling) {
  const auto from = votes.begin() + static_cast<std::ptrdiff_t>(t >= half ? t - half : 0);
  const auto to = votes.begin() + static_cast<std::ptrdiff_t>(std::min(votes.size(), t + half + 1));
  if (pooling == Pooling::Max) return *std::max_element(from, to);
  return std::accumulate(from, to, 0.0F) / static_cast<float>(2 * half + 1);
}

}  // namespace

const std::vector<const Policy*>& all_policies() {
  static const std::vector<const Policy*> all = described(static_cast<const PolicyOptions*>(nullptr));
  return all;
}

const Policy* policy_of(const PolicyOptions& options) {
  return options.index() == 0 ? nullptr : all_policies()[options.index() - 1];
}

void refuse_without_model(const CacheSpec& spec) {
  const Policy* policy = policy_of(spec.eviction.policy);
  if (policy != nullptr && policy->replays) {
    fail_usage("cache: {} has the model repeat the prompt, and here is no model; choose another policy",
               policy->name);
  }
  if (policy != nullptr && policy->weighs_outputs(spec.eviction.policy)) {
    fail_usage("cache: {} looks at the model's output weights, and here is no model; leave norm=output out",
               policy->name);
  }
  if (spec.eviction.critical) {
    fail_usage("cache: critical looks at the model's output weights, and here is no model; leave it out");
  }
}

TokenNumbers ScoredTokens::attention(std::size_t queries) const {
  if (prompt == nullptr) return store.votes();
  std::vector<float> sums(shape.query_heads * prompt->tokens, 0.0F);
  store.add_attention_sums(last_queries(*prompt, std::min(queries, prompt->queries)), prompt->tokens, sums);
  TokenNumbers out;
  const std::size_t share = shape.group() * prompt->tokens;
  for (std::size_t h = 0; h < shape.kv_heads; ++h) {
    const auto from = sums.begin() + static_cast<std::ptrdiff_t>(h * share);
    out.emplace_back(from, from + static_cast<std::ptrdiff_t>(share));
  }
  return out;
}

std::vector<std::int32_t> ScoredTokens::positions(std::size_t kv_head) const {
  if (prompt == nullptr) return store.positions(kv_head);
  std::vector<std::int32_t> all(prompt->tokens);
  std::iota(all.begin(), all.end(), 0);
  return all;
}

std::size_t ScoredTokens::leading(std::size_t kv_head, std::size_t sinks) const {
  const std::vector<std::int32_t> all = positions(kv_head);
  const auto end = std::find_if(all.begin(), all.end(),
                                [&](std::int32_t p) { return static_cast<std::size_t>(p) >= sinks; });
  return static_cast<std::size_t>(end - all.begin());
}

std::vector<float> pooled_votes(std::span<const float> votes, std::size_t group, std::size_t tokens,
                                std::size_t count, std::size_t kernel, Pooling pooling) {
  std::vector<float> scores(count, 0.0F);
  const std::size_t half = kernel / 2;
  for (std::size_t g = 0; g < group; ++g) {
    const std::span<const float> row = votes.subspan(g * tokens, count);
    for (std::size_t t = 0; t < count; ++t) scores[t] += pooled(row, t, half, pooling);
  }
  for (float& s : scores) s /= static_cast<float>(group);
  return scores;
}

std::vector<float> with_kept_tail(std::vector<float> scores, std::size_t tokens) {
  scores.resize(tokens, kAlwaysKept);
  return scores;
}

}  // namespace thinkey
