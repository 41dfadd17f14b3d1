// A compressed layer's errors against a naive double-precision reckoning from what was kept.
#include "eval/analysis/cache_error.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "cache/layer_cache.h"
#include "cache/random_prompt.h"

namespace thinkey::eval {
namespace {

constexpr std::size_t kTokens = 150;

struct Compressed {
  explicit Compressed(const std::string& spec, std::size_t sliding_window = 0)
      : prompt({.query_heads = 4, .kv_heads = 2, .head_dim = 16, .sliding_window = sliding_window}, kTokens,
               7),
        cache(CacheShape::uniform(1, prompt.shape), CacheSpec::parse(spec)) {
    cache.compress_prompt(0, prompt.view(), &trace);
  }
  [[nodiscard]] LayerError error(std::size_t window) const {
    return layer_error(prompt.shape, prompt.view(), cache.layer(0), window);
  }

  test::RandomPrompt prompt;
  SequenceCache cache;
  CompressionTrace trace;
};

// The last `queries` queries; keys lose the channels the cache does not keep, values are whole.
AttentionError reference(const Compressed& c, std::size_t first, std::size_t end, std::size_t recent) {
  const AttentionShape& shape = c.prompt.shape;
  const std::size_t dim = shape.head_dim;
  double wrong = 0, all = 0, mass = 0, output_wrong = 0, output_all = 0, rows = 0;
  for (std::size_t h = 0; h < shape.query_heads; ++h) {
    const std::size_t kv = h / 2;
    const HeadStore& head = test::cpu_heads(c.cache, 0)[kv];
    std::vector<bool> kept_channel(dim, false);
    for (const std::uint16_t channel : head.kept_keys().channels()) kept_channel[channel] = true;
    const std::vector<std::int32_t>& kept = c.trace.kept_tokens[kv];
    for (std::size_t now = first; now < end; ++now, ++rows) {
      const float* q = c.prompt.q.data() + (now * shape.query_heads + h) * dim;
      std::vector<double> out(dim), approximate(dim);
      double sum = 0, kept_sum = 0, approximate_sum = 0;
      for (std::size_t t = 0; t <= now; ++t) {
        if (shape.sliding_window > 0 && t + shape.sliding_window <= now) continue;
        const float* k = c.prompt.k.data() + (kv * kTokens + t) * dim;
        const float* v = c.prompt.v.data() + (kv * kTokens + t) * dim;
        const auto place = std::lower_bound(kept.begin(), kept.end(), static_cast<std::int32_t>(t));
        const bool held = place != kept.end() && *place == static_cast<std::int32_t>(t);
        const bool thin = held && static_cast<std::size_t>(kept.end() - place) > recent;
        double logit = 0, approximate_logit = 0;
        for (std::size_t i = 0; i < dim; ++i) {
          logit += static_cast<double>(q[i]) * k[i] / std::sqrt(static_cast<double>(dim));
          if (!thin || kept_channel[i]) {
            approximate_logit += static_cast<double>(q[i]) * k[i] / std::sqrt(static_cast<double>(dim));
          }
        }
        sum += std::exp(logit);
        for (std::size_t i = 0; i < dim; ++i) out[i] += std::exp(logit) * v[i];
        if (!held) continue;
        wrong += (logit - approximate_logit) * (logit - approximate_logit);
        all += logit * logit;
        kept_sum += std::exp(logit);
        approximate_sum += std::exp(approximate_logit);
        for (std::size_t i = 0; i < dim; ++i) approximate[i] += std::exp(approximate_logit) * v[i];
      }
      mass += kept_sum / sum;
      for (std::size_t i = 0; i < dim; ++i) {
        const double exact = out[i] / sum;
        const double close = approximate_sum > 0 ? approximate[i] / approximate_sum : 0.0;
        output_wrong += (exact - close) * (exact - close);
        output_all += exact * exact;
      }
    }
  }
  return {.queries = end - first,
          .logits = std::sqrt(wrong / all),
          .kept_mass = mass / rows,
          .output = std::sqrt(output_wrong / output_all)};
}

void expect_equal(const AttentionError& error, const AttentionError& wanted) {
  EXPECT_EQ(error.queries, wanted.queries);
  EXPECT_NEAR(error.logits, wanted.logits, 1e-3);  // the cache rounds to 16 bits
  EXPECT_NEAR(error.kept_mass, wanted.kept_mass, 1e-4);
  EXPECT_NEAR(error.output, wanted.output, 1e-3);
}

TEST(CacheError, FullCacheHasOnlyRounding) {
  const Compressed c("full");
  const LayerError error = c.error(32);
  EXPECT_EQ(error.window.queries, 32U);
  EXPECT_EQ(error.earlier.queries, kTokens - 32);
  for (const AttentionError& part : {error.window, error.earlier}) {
    EXPECT_LT(part.logits, 1e-3);
    EXPECT_GT(part.logits, 0.0);
    EXPECT_NEAR(part.kept_mass, 1.0, 1e-5);
    EXPECT_LT(part.output, 1e-3);
  }
}

TEST(CacheError, PrunedChannels) {
  const Compressed c("think:0.5,form=paper");
  const LayerError error = c.error(32);
  expect_equal(error.window, reference(c, kTokens - 32, kTokens, 32));
  expect_equal(error.earlier, reference(c, 0, kTokens - 32, 32));
  EXPECT_GT(error.window.logits, 0.3);  // random keys: half the channels are about half the energy
  EXPECT_LT(error.window.logits, 0.75);
}

TEST(CacheError, EvictedTokensAndPrunedChannels) {
  for (const std::size_t sliding_window : {std::size_t{0}, std::size_t{40}}) {
    const Compressed c("snapkv:budget=64,window=8+think:keys=0.5,recent=16,window=8,form=paper",
                       sliding_window);
    const LayerError error = c.error(8);
    expect_equal(error.window, reference(c, kTokens - 8, kTokens, 16));
    expect_equal(error.earlier, reference(c, 0, kTokens - 8, 16));
    EXPECT_LT(error.earlier.kept_mass, 0.9);
  }
}

// Methods that a list of channels does not describe: in the right order, and none perfect.
TEST(CacheError, OrdersMethods) {
  const auto logits = [](const char* spec) { return Compressed(spec).error(32).window.logits; };
  EXPECT_LT(logits("think:0.5"), logits("think:0.5,form=paper"));
  EXPECT_LT(logits("kivi:8,residual=32"), logits("kivi:4,residual=32"));
  EXPECT_LT(logits("kivi:4,residual=32"), logits("kivi:2,residual=32"));
  EXPECT_GT(logits("kivi:8,residual=32"), 1e-4);
  const auto output = [](const char* spec) { return Compressed(spec).error(32).window.output; };
  EXPECT_LT(output("think:keys=0.3,values=0.3,form=paper"), output("think:keys=0.3,values=0.6,form=paper"));
}

}  // namespace
}  // namespace thinkey::eval
