#include "cache/level_budget.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <queue>

#include "base/fail.h"
#include "base/format_text.h"
#include "cache/layer_compression.h"
#include "cache/sequence_cache.h"

namespace thinkey {
namespace {

constexpr std::array<std::size_t, 7> kBits = {1, 2, 3, 4, 5, 6, 8};

// Mean square error of a level of so many bits for a normal number of variance 1 (Lloyd-Max; 6 and 8 bits: of
// even steps), divided by what is left of it, since scales do not shrink (backend/cpu/store/levels.h).
constexpr std::array<double, 7> kErrors = {0.3634, 0.1175, 0.03454, 0.009497, 0.002499, 0.00104, 0.00008};
double noise(std::size_t step) noexcept { return kErrors[step] / (1.0 - kErrors[step]); }

double key_cost(const NoiseCosts& costs, std::size_t step) noexcept {
  double sum = 0.0;
  double power = 1.0;
  for (const double cost : costs.keys) {
    power *= noise(step);
    sum += power * cost;
  }
  return sum;
}
double value_cost(const NoiseCosts& costs, std::size_t step) noexcept { return noise(step) * costs.values; }

// A broken model's NaN or infinity must not upset the comparisons.
double finite(double x) noexcept { return std::isfinite(x) ? x : 0.0; }

class Allocation {
 public:
  Allocation(const CacheShape& shape, const LayerStores& stores, const std::vector<StoreFormat>& formats,
             const std::vector<std::vector<LevelHead>>& heads, std::size_t steps)
      : shape_(shape), stores_(stores), formats_(formats), steps_(steps) {
    for (std::size_t l = 0; l < heads.size(); ++l) {
      for (const LevelHead& head : heads[l]) heads_.push_back({l, &head, {0, 0}});
    }
    for (const Head& head : heads_) bytes_ += bytes_of(head);
  }

  // The most error saved per byte first, as long as it fits. Errors fall ever more slowly with bits, so that
  // this is near the optimum.
  void raise(std::size_t most) {
    std::priority_queue<Raise> queue;
    for (std::size_t i = 0; i < heads_.size(); ++i) {
      for (const std::size_t side : {0U, 1U}) offer(queue, i, side);
    }
    while (!queue.empty()) {
      const Raise best = queue.top();
      queue.pop();
      Head& head = heads_[best.head];
      const std::size_t before = bytes_of(head);
      ++head.steps[best.side];
      const std::size_t after = bytes_of(head);
      if (bytes_ - before + after > most) {
        --head.steps[best.side];  // a smaller one may still fit
        continue;
      }
      bytes_ = bytes_ - before + after;
      offer(queue, best.head, best.side);
    }
  }

  [[nodiscard]] std::vector<std::vector<LevelChoice>> choices(std::size_t layers) const {
    std::vector<std::vector<LevelChoice>> out(layers);
    for (const Head& head : heads_) {
      out[head.layer].push_back({level_format(kBits[head.steps[0]]), level_format(kBits[head.steps[1]])});
    }
    return out;
  }

 private:
  struct Head {
    std::size_t layer;
    const LevelHead* of;
    std::array<std::size_t, 2> steps;  // into kBits: keys, values
  };
  struct Raise {
    double gain;
    std::size_t head, side;
    bool operator<(const Raise& other) const noexcept {
      if (gain != other.gain) return gain < other.gain;
      return std::pair(head, side) > std::pair(other.head, other.side);  // the first of equals
    }
  };

  [[nodiscard]] std::size_t bytes_of(const Head& head) const {
    HeadSizes sizes = head.of->sizes;
    std::size_t channels = 0;
    for (const std::size_t n : sizes.keys) channels += n;
    sizes.keys = uniform_keys(channels, level_format(kBits[head.steps[0]]));
    sizes.value_format = level_format(kBits[head.steps[1]]);
    return stores_.head_bytes(shape_.layers[head.layer], formats_[head.layer], sizes);
  }

  void offer(std::priority_queue<Raise>& queue, std::size_t index, std::size_t side) const {
    Head head = heads_[index];
    const std::size_t step = head.steps[side];
    if (step + 1 >= steps_) return;
    const std::size_t before = bytes_of(head);
    ++head.steps[side];
    const std::size_t after = bytes_of(head);
    const NoiseCosts& costs = head.of->costs;
    const double saved = side == 0 ? key_cost(costs, step) - key_cost(costs, step + 1)
                                   : value_cost(costs, step) - value_cost(costs, step + 1);
    const auto more = static_cast<double>(after > before ? after - before : 1);
    queue.push({finite(saved) / more, index, side});
  }

  const CacheShape& shape_;
  const LayerStores& stores_;
  const std::vector<StoreFormat>& formats_;
  std::size_t steps_;
  std::vector<Head> heads_;
  std::size_t bytes_ = 0;
};

// Few bits lose more than few tokens do: as many tokens as have kAutoDense for themselves, and no more than
// fit beside the tokens that stay whole.
void evict_for(CacheSpec& spec, const CacheShape& shape, std::size_t tokens, const LayerStores& stores,
               std::size_t full) {
  EvictionSpec& eviction = spec.eviction;
  eviction.policy = SnapKV{};
  eviction.percent = 100.0 * spec.turbo.percent / kAutoDense;
  eviction.chunk = kAutoChunk;
  const std::size_t bytes = budget_bytes(spec.turbo, full);
  constexpr double kLess = 0.9;
  while (eviction.budget_for(tokens) > spec.observation_window() + kAutoChunk &&
         least_bytes(spec, shape, tokens, stores) > bytes) {
    eviction.percent *= kLess;
  }
}

}  // namespace

std::size_t budget_bytes(const TurboSpec& turbo, std::size_t full) noexcept {
  return static_cast<std::size_t>(static_cast<double>(full) * turbo.percent / 100.0);
}

std::size_t interim_bits(const CacheSpec& spec) noexcept {
  const EvictionSpec& eviction = spec.eviction;
  if (!(spec.turbo.percent > 0.0)) return 4;  // a number of bytes: no prompt says how much that is
  if (eviction.active() && !(eviction.percent > 0.0)) return kBits.back();  // of few tokens
  const double kept = eviction.active() ? eviction.percent / 100.0 : 1.0;
  // b bits and a scale of one byte for each 32 to 128 channels: about b + 0.2 of 16.
  const double wanted = 1.5 * spec.turbo.percent / 100.0 / kept * 16.0 - 0.2;
  for (const std::size_t bits : kBits) {
    if (static_cast<double>(bits) >= wanted) return bits;
  }
  return kBits.back();
}

std::size_t least_bytes(const CacheSpec& spec, const CacheShape& shape, std::size_t tokens,
                        const LayerStores& stores) {
  CacheSpec least = spec;
  least.turbo.keys = least.turbo.values = 1;
  least.turbo.percent = 0.0;
  least.turbo.bytes = 0;
  return estimate_cache(shape, least, tokens, stores).bytes;
}

CacheSpec resolved_spec(const CacheSpec& spec, const CacheShape& shape, std::size_t tokens,
                        const LayerStores& stores) {
  CacheSpec out = spec;
  TurboSpec& turbo = out.turbo;
  if (!turbo.budgeted()) return out;
  std::size_t full = 0;
  for (const AttentionShape& layer : shape.layers) full += full_f16_bytes(layer, tokens);
  full = std::max<std::size_t>(1, full);
  if (turbo.bytes > 0) {
    turbo.percent = std::min(1e4, 100.0 * static_cast<double>(turbo.bytes) / static_cast<double>(full));
    turbo.bytes = 0;
  }
  if (spec.automatic) {
    out.automatic = false;
    if (turbo.percent >= kAutoWhole) return {};
    if (turbo.percent < kAutoEvicts) evict_for(out, shape, tokens, stores, full);
  }
  if (spec.turbo.bytes > 0) {
    const std::size_t least = least_bytes(out, shape, tokens, stores);
    if (least > spec.turbo.bytes) {
      fail_usage("cache spec '{}': a prompt of {} tokens takes at least {} of cache; give it as many{}",
                 spec.to_string(), tokens, format_bytes(least),
                 spec.automatic ? "" : ", or let auto evict tokens");
    }
  }
  return out;
}

std::vector<std::vector<LevelChoice>> allocate_levels(const CacheShape& shape, const LayerStores& stores,
                                                      const std::vector<StoreFormat>& formats,
                                                      const std::vector<std::vector<LevelHead>>& heads,
                                                      std::size_t most, std::size_t bytes) {
  const auto steps = static_cast<std::size_t>(std::ranges::upper_bound(kBits, most) - kBits.begin());
  Allocation allocation(shape, stores, formats, heads, steps);
  allocation.raise(bytes);
  return allocation.choices(heads.size());
}

}  // namespace thinkey
