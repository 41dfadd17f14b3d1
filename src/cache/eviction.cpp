#include "cache/eviction.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/parallel.h"

namespace thinkey {

const EvictionPolicy* eviction_policy(Eviction policy) noexcept {
  static constexpr std::array<EvictionPolicy, 4> table{{
      {Eviction::SnapKV, "snapkv", snapkv_scores, Voters::LastQueries},
      {Eviction::H2O, "h2o", h2o_scores, Voters::AllQueries},
      {Eviction::PyramidKV, "pyramidkv", snapkv_scores,
       Voters::LastQueries},  // its own budgets, SnapKV's scores
      {Eviction::Streaming, "streaming", streaming_scores, Voters::None},
  }};
  const auto* entry =
      std::find_if(table.begin(), table.end(), [&](const auto& e) { return e.policy == policy; });
  return entry == table.end() ? nullptr : entry;
}

std::size_t layer_budget(const EvictionSpec& spec, std::size_t tokens, std::size_t layer,
                         std::size_t layers) {
  const auto budget = static_cast<std::size_t>(spec.budget_for(static_cast<std::int64_t>(tokens)));
  if (spec.policy != Eviction::PyramidKV || budget >= tokens || layers < 2) return budget;
  // PyramidKV (2406.02069, section 4): falls linearly from the first layer to the last at the same total.
  const auto window = static_cast<std::size_t>(spec.window);
  const auto mean = static_cast<double>(budget - window);
  double low = mean / spec.beta;
  double high = 2.0 * mean - low;
  if (high > static_cast<double>(tokens - window)) {
    high = static_cast<double>(tokens - window);
    low = 2.0 * mean - high;
  }
  const double step = (high - low) / static_cast<double>(layers - 1);
  // Rounded so that the layers' sum is the total.
  const auto up_to = [&](std::size_t n) {
    const auto m = static_cast<double>(n);
    return std::llround(m * high - step * m * (m - 1.0) / 2.0);
  };
  return window + static_cast<std::size_t>(up_to(layer + 1) - up_to(layer));
}

TokenLists evict(const AttentionShape& shape, const EvictionSpec& spec, std::size_t tokens,
                 std::size_t oldest, std::size_t budget, std::span<const float> votes) {
  TokenLists kept(shape.kv_heads);
  const EvictionPolicy* policy = eviction_policy(spec.policy);
  if (policy == nullptr || tokens - oldest <= budget) {
    for (auto& head : kept) {
      head.resize(tokens - oldest);
      std::iota(head.begin(), head.end(), static_cast<std::int32_t>(oldest));
    }
    return kept;
  }
  const std::size_t share = votes.size() / shape.kv_heads;
  parallel_for(shape.kv_heads, [&](std::size_t h) {
    const EvictionInput input{spec, tokens, shape.group(), votes.subspan(h * share, share)};
    const std::vector<float> scores = policy->scores(input);
    kept[h] = keep_best(std::span(scores).subspan(std::min(oldest, scores.size())), budget,
                        tokens - std::max(oldest, scores.size()));
    for (std::int32_t& t : kept[h]) t += static_cast<std::int32_t>(oldest);
  });
  return kept;
}

std::vector<std::int32_t> keep_best(std::span<const float> scores, std::size_t budget, std::size_t window) {
  std::vector<std::int32_t> kept = top_indices(scores, budget - std::min(budget, window));
  for (std::size_t t = 0; t < window; ++t) kept.push_back(static_cast<std::int32_t>(scores.size() + t));
  return kept;
}

std::vector<std::int32_t> top_indices(std::span<const float> scores, std::size_t count) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  count = std::min(count, order.size());
  // NaN (a broken model, a forged cache file) ranks last: a comparison must order all there is.
  const auto rank = [&](std::int32_t i) {
    return std::isnan(scores[i]) ? -std::numeric_limits<float>::infinity() : scores[i];
  };
  const auto better = [&](std::int32_t a, std::int32_t b) {
    return rank(a) > rank(b) || (rank(a) == rank(b) && a < b);
  };
  std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), better);
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

namespace {

// Stride 1, zero padding counted in the average, as torch's avg_pool1d / max_pool1d do.
float pooled(std::span<const float> votes, std::size_t t, std::size_t half, Pooling pooling) {
  const auto from = votes.begin() + static_cast<std::ptrdiff_t>(t >= half ? t - half : 0);
  const auto to = votes.begin() + static_cast<std::ptrdiff_t>(std::min(votes.size(), t + half + 1));
  if (pooling == Pooling::Max) return *std::max_element(from, to);
  return std::accumulate(from, to, 0.0F) / static_cast<float>(2 * half + 1);
}

}  // namespace

std::vector<float> pooled_votes(std::span<const float> votes, std::size_t group, std::size_t pitch,
                                std::size_t prefix, std::int64_t kernel, Pooling pooling) {
  std::vector<float> scores(prefix, 0.0F);
  const auto half = static_cast<std::size_t>(kernel / 2);
  for (std::size_t g = 0; g < group; ++g) {
    const std::span<const float> row = votes.subspan(g * pitch, prefix);
    for (std::size_t t = 0; t < prefix; ++t) scores[t] += pooled(row, t, half, pooling);
  }
  for (float& s : scores) s /= static_cast<float>(group);
  return scores;
}

}  // namespace thinkey
