#include "cache/eviction.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/parallel.h"

namespace thinkey {
namespace {

// NaN (a broken model, a forged cache file) ranks last: a comparison must order all there is.
float rank(float score) { return std::isnan(score) ? -std::numeric_limits<float>::infinity() : score; }

// ChunkKV (2502.00299): a token has the mean score of its chunk, those that are always kept apart.
void average_chunks(std::span<float> scores, std::span<const std::int32_t> positions, std::size_t chunk) {
  for (std::size_t begin = 0; begin < scores.size();) {
    std::size_t end = begin;
    double sum = 0.0;
    double count = 0.0;
    const auto chunk_of = [&](std::size_t t) { return static_cast<std::size_t>(positions[t]) / chunk; };
    for (; end < scores.size() && chunk_of(end) == chunk_of(begin); ++end) {
      if (scores[end] == kAlwaysKept) continue;
      sum += scores[end];
      count += 1.0;
    }
    for (std::size_t t = begin; t < end; ++t) {
      if (scores[t] != kAlwaysKept) scores[t] = static_cast<float>(sum / count);
    }
    begin = end;
  }
}

// Ada-KV (2407.11550): the layer's places go to the best tokens of all heads, after each head has its floor.
std::vector<std::size_t> adaptive_places(const EvictionSpec& spec, const TokenNumbers& scores,
                                         std::span<const HeadRoom> rooms, std::size_t unit) {
  struct Candidate {
    float score;
    std::size_t head;
  };
  std::vector<std::size_t> wanted(rooms.size());
  std::vector<Candidate> rest;
  std::size_t total = 0;
  std::size_t all = 0;
  for (std::size_t h = 0; h < rooms.size(); ++h) {
    const HeadRoom& room = rooms[h];
    std::vector<float> sorted(scores[h].begin() + static_cast<std::ptrdiff_t>(room.begin),
                              scores[h].begin() + static_cast<std::ptrdiff_t>(room.end));
    for (float& s : sorted) s = rank(s);
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const auto floor = static_cast<std::size_t>(spec.floor * static_cast<double>(room.places));
    wanted[h] = std::min(sorted.size(), std::max(room.least, floor));
    for (std::size_t i = wanted[h]; i < std::min(sorted.size(), room.most); ++i)
      rest.push_back({sorted[i], h});
    total += room.places;
    all += wanted[h];
  }
  const std::size_t left = std::min(rest.size(), total - std::min(total, all));
  // Ties: by head, so that the result does not depend on the order of a partial sort.
  std::stable_sort(rest.begin(), rest.end(),
                   [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  for (std::size_t i = 0; i < left; ++i) ++wanted[rest[i].head];
  if (unit <= 1) return wanted;

  // Whole units, nearest to what is wanted: first each head's own, then as the sum demands.
  const auto step = static_cast<double>(unit);
  std::vector<std::int64_t> moved(rooms.size());
  std::int64_t sum = 0;
  const auto low = [&](std::size_t h) {  // units that head h can lose, and take
    return -static_cast<std::int64_t>((rooms[h].places - std::min(rooms[h].places, rooms[h].least)) / unit);
  };
  const auto high = [&](std::size_t h) {
    return static_cast<std::int64_t>((rooms[h].most - std::min(rooms[h].most, rooms[h].places)) / unit);
  };
  const auto ideal = [&](std::size_t h) {
    return (static_cast<double>(wanted[h]) - static_cast<double>(rooms[h].places)) / step;
  };
  for (std::size_t h = 0; h < rooms.size(); ++h) {
    moved[h] = std::clamp(static_cast<std::int64_t>(std::floor(ideal(h))), low(h), high(h));
    sum += moved[h];
  }
  while (sum != 0) {
    const std::int64_t by = sum < 0 ? 1 : -1;
    std::size_t best = rooms.size();
    double best_gain = -std::numeric_limits<double>::infinity();
    for (std::size_t h = 0; h < rooms.size(); ++h) {
      if (by > 0 ? moved[h] >= high(h) : moved[h] <= low(h)) continue;
      const double gain = static_cast<double>(by) * (ideal(h) - static_cast<double>(moved[h]));
      if (gain > best_gain) {
        best = h;
        best_gain = gain;
      }
    }
    moved[best] += by;  // there is one: no change at all is within every head's bounds
    sum += by;
  }
  std::vector<std::size_t> places;
  for (std::size_t h = 0; h < rooms.size(); ++h) {
    places.push_back(static_cast<std::size_t>(static_cast<std::int64_t>(rooms[h].places) +
                                              moved[h] * static_cast<std::int64_t>(unit)));
  }
  return places;
}

// CriticalKV (2502.03805, algorithm 1): half of the places by score, the others by score times norm. Scores
// that may be negative are raised first, so that a larger norm is always worth more.
void weigh_second_half(std::span<float> scores, std::span<const float> norms, std::size_t places) {
  constexpr float kEpsilon = 1e-4F;
  const std::vector<std::int32_t> sure = top_indices(scores, places / 2);
  float lowest = 0.0F;
  for (const float s : scores) lowest = std::min(lowest, s);
  for (std::size_t t = 0; t < scores.size(); ++t) {
    if (scores[t] != kAlwaysKept) scores[t] = (scores[t] - lowest + kEpsilon) * norms[t];
  }
  for (const std::int32_t t : sure) scores[static_cast<std::size_t>(t)] = kAlwaysKept;
}

}  // namespace

std::size_t layer_budget(const EvictionSpec& spec, std::size_t tokens, std::size_t layer,
                         std::size_t layers) {
  const std::size_t budget = spec.budget_for(tokens);
  const Policy* policy = policy_of(spec.policy);
  if (policy == nullptr || !policy->layer_budget) return budget;
  return policy->layer_budget(spec.policy, budget, tokens, layer, layers);
}

TokenLists best_tokens(const EvictionSpec& spec, TokenNumbers& scores, std::span<const HeadRoom> rooms,
                       std::size_t unit,
                       const std::function<std::vector<std::int32_t>(std::size_t)>& positions,
                       const std::function<TokenNumbers()>& norms) {
  const auto rooms_of = [&](std::size_t h, std::vector<float>& numbers) {
    return std::span(numbers).subspan(rooms[h].begin, rooms[h].end - rooms[h].begin);
  };
  const auto average = [&](std::size_t h) {
    if (spec.chunk <= 1) return;
    const std::vector<std::int32_t> at = positions(h);
    average_chunks(rooms_of(h, scores[h]),
                   std::span(at).subspan(rooms[h].begin, rooms[h].end - rooms[h].begin), spec.chunk);
  };
  const bool weighed = spec.critical;
  for (std::size_t h = 0; h < rooms.size(); ++h) average(h);
  std::vector<std::size_t> places(rooms.size());
  if (spec.adakv) {
    places = adaptive_places(spec, scores, rooms, unit);
  } else {
    for (std::size_t h = 0; h < rooms.size(); ++h) places[h] = rooms[h].places;
  }
  TokenNumbers weights;
  if (weighed) weights = norms();
  TokenLists kept(rooms.size());
  parallel_for(rooms.size(), [&](std::size_t h) {
    const std::span<float> own = rooms_of(h, scores[h]);
    if (weighed) weigh_second_half(own, rooms_of(h, weights[h]), places[h]);
    average(h);  // weighed scores, too, are a chunk's
    kept[h] = top_indices(own, places[h]);
    for (std::int32_t& t : kept[h]) t += static_cast<std::int32_t>(rooms[h].begin);
  });
  return kept;
}

TokenNumbers group_means(const TokenNumbers& numbers, std::size_t group) {
  TokenNumbers means;
  for (const auto& head : numbers) {
    const std::size_t n = head.size() / group;
    std::vector<float>& out = means.emplace_back(n, 0.0F);
    for (std::size_t i = 0; i < head.size(); ++i) out[i % n] += head[i] / static_cast<float>(group);
  }
  return means;
}

std::vector<std::int32_t> top_indices(std::span<const float> scores, std::size_t count) {
  std::vector<std::int32_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  count = std::min(count, order.size());
  const auto better = [&](std::int32_t a, std::int32_t b) {
    const float x = rank(scores[static_cast<std::size_t>(a)]);
    const float y = rank(scores[static_cast<std::size_t>(b)]);
    return x > y || (x == y && a < b);
  };
  std::nth_element(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count), order.end(), better);
  order.resize(count);
  std::sort(order.begin(), order.end());
  return order;
}

}  // namespace thinkey
