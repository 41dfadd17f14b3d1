// LagKV (2504.04704): tokens are compared within partitions of `lag`: those stand out whose keys and values,
// measured by the range that the partition after theirs has in each channel, spread most over the channels.
// The last partition, and what does not fill one, is kept.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "cache/policy.h"

namespace thinkey {
namespace {

// out += softmax(x) / 2
void add_half_softmax(std::span<const float> x, std::span<float> out) {
  const double peak = *std::max_element(x.begin(), x.end());
  double total = 0.0;
  for (const float e : x) total += std::exp(e - peak);
  for (std::size_t i = 0; i < x.size(); ++i)
    out[i] += static_cast<float>(0.5 * std::exp(x[i] - peak) / total);
}

struct LagKVScorer final : Scorer {
  explicit LagKVScorer(const LagKV& o) : options(o) {}

  TokenNumbers scores(const ScoredTokens& tokens) override {
    const std::size_t sinks = tokens.leading(0, options.sinks);  // every head keeps them
    const std::size_t lag = options.lag;
    const LagSpread spread = tokens.store.lag_spread(tokens.prompt, sinks, lag);
    TokenNumbers scores;
    for (std::size_t h = 0; h < tokens.counts.size(); ++h) {
      // What is in no partition that another follows: the later the better, and better than any other.
      std::vector<float>& out = scores.emplace_back(tokens.counts[h]);
      for (std::size_t t = 0; t < out.size(); ++t)
        out[t] = t < sinks ? kAlwaysKept : 1.0F + static_cast<float>(t);
      for (std::size_t at = 0; at < spread.keys[h].size(); at += lag) {
        std::vector<float> score(lag, 0.0F);
        add_half_softmax(std::span(spread.keys[h]).subspan(at, lag), score);
        add_half_softmax(std::span(spread.values[h]).subspan(at, lag), score);
        // A token's score is its rank: partitions compare by nothing else.
        std::vector<std::size_t> order(lag);
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return score[a] < score[b]; });
        for (std::size_t r = 0; r < lag; ++r) {
          out[sinks + at + order[r]] = static_cast<float>(r) / static_cast<float>(lag);
        }
      }
    }
    return scores;
  }

  LagKV options;
};

}  // namespace

template <>
const Policy& describe<LagKV>() {
  static const Policy policy =
      PolicyBuilder<LagKV>("lagkv", "2504.04704",
                           "keys and values that spread most against those that follow")
          .whole("sinks", &LagKV::sinks, 0)
          .whole("lag", &LagKV::lag, 2, 1 << 20)
          .always_keeps("sinks", [](const LagKV& o) { return std::max<std::size_t>(1, o.sinks); })
          .scored_by<LagKVScorer>();
  return policy;
}

}  // namespace thinkey
