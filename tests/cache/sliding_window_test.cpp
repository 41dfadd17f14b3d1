// Layers with a sliding window beside layers without: each holds what its queries can see and no more, and
// only the latter are evicted and pruned.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "cache/random_prompt.h"

namespace thinkey {
namespace {

using test::RandomPrompt;

constexpr std::size_t kWindow = 100;
constexpr std::size_t kDim = 32;
const std::vector<const char*> kSpecs = {"full",
                                         "snapkv:64+think:0.4,form=paper",
                                         "h2o:70,window=16,every=40",
                                         "pyramidkv:80+think:0.5,adaptive,form=paper",
                                         "streaming:60,every=50+think:keys=0.4,values=0.3,bias,form=paper",
                                         "think:0.6",
                                         "kivi:8",
                                         "snapkv:25%+think:0.4,form=paper+kivi:8,residual=32"};

// Every second layer sees everything; `all`: none does.
CacheShape alternating(std::size_t layers, bool all = false) {
  CacheShape shape = CacheShape::uniform(layers, {.query_heads = 4, .kv_heads = 2, .head_dim = kDim});
  for (std::size_t l = 0; l < layers; ++l) shape.layers[l].sliding_window = l % 2 == 0 || all ? kWindow : 0;
  return shape;
}

// Whole keys and values of a layer, [Hkv][tokens, D], however long it gets.
struct Whole {
  std::vector<std::vector<float>> k{2}, v{2};

  explicit Whole(const RandomPrompt& prompt) {
    const auto size = static_cast<std::ptrdiff_t>(prompt.tokens * kDim);
    for (std::ptrdiff_t h = 0; h < 2; ++h) {
      k[static_cast<std::size_t>(h)].assign(prompt.k.begin() + h * size, prompt.k.begin() + (h + 1) * size);
      v[static_cast<std::size_t>(h)].assign(prompt.v.begin() + h * size, prompt.v.begin() + (h + 1) * size);
    }
  }
  void append(const std::vector<float>& key, const std::vector<float>& value) {  // [Hkv, D]
    for (std::size_t h = 0; h < 2; ++h) {
      k[h].insert(k[h].end(), key.begin() + static_cast<std::ptrdiff_t>(h * kDim),
                  key.begin() + static_cast<std::ptrdiff_t>((h + 1) * kDim));
      v[h].insert(v[h].end(), value.begin() + static_cast<std::ptrdiff_t>(h * kDim),
                  value.begin() + static_cast<std::ptrdiff_t>((h + 1) * kDim));
    }
  }
  // The dense answer for the query at `position`, over what its window lets it see of all tokens.
  [[nodiscard]] std::vector<double> attend(const std::vector<float>& q, std::size_t head,
                                           std::size_t position) const {
    const std::vector<float>& keys = k[head / 2];
    const std::size_t tokens = keys.size() / kDim;
    std::vector<double> out(kDim, 0.0);
    double total = 0.0;
    for (std::size_t t = position + 1 - std::min(position + 1, kWindow); t < tokens; ++t) {
      double dot = 0.0;
      for (std::size_t j = 0; j < kDim; ++j) {
        dot += static_cast<double>(q[head * kDim + j]) * keys[t * kDim + j];
      }
      const double weight = std::exp(dot / std::sqrt(static_cast<double>(kDim)));
      total += weight;
      for (std::size_t j = 0; j < kDim; ++j) out[j] += weight * v[head / 2][t * kDim + j];
    }
    for (double& x : out) x /= total;
    return out;
  }
};

// A windowed layer answers as if it held everything, over a prompt shorter or longer than the window and a
// long generation, and its memory stays that of the window.
TEST(SlidingWindow, HoldsWhatIsSeenAndNoMore) {
  for (const char* text : kSpecs) {
    for (const std::size_t tokens : {5U, 99U, 100U, 101U, 333U}) {
      SCOPED_TRACE(::testing::Message() << text << ", " << tokens << " tokens");
      const CacheShape shape = alternating(2);
      RandomPrompt prompt(shape.layers[0], tokens, tokens);
      Whole whole(prompt);
      SequenceCache cache(shape, CacheSpec::parse(text));
      for (std::size_t l = 0; l < 2; ++l) cache.compress_prompt(l, prompt.view());
      EXPECT_EQ(cache.report().layers[0].tokens_kept, static_cast<double>(std::min(tokens, kWindow)));
      std::vector<float> out(4 * kDim);
      std::size_t most = 0;
      for (std::size_t i = 0; i < 400; ++i) {
        const std::vector<float> k = prompt.normal(2 * kDim);
        const std::vector<float> v = prompt.normal(2 * kDim);
        const std::vector<float> q = prompt.normal(4 * kDim);
        whole.append(k, v);
        for (std::size_t l = 0; l < 2; ++l) {
          const std::int64_t position = cache.next_position(l);
          cache.append(l, 1, k.data(), v.data(), 2 * kDim);
          cache.attend(l, 1, position, q.data(), out.data());
          cache.renew(l, 1, position, q.data(), false);
          if (l == 1 || i % 7 != 0) continue;
          for (std::size_t h = 0; h < 4; ++h) {
            const std::vector<double> expected = whole.attend(q, h, tokens + i);
            // Eight bits cost what they cost.
            const double tolerance = std::string(text).find("kivi") == std::string::npos ? 1e-3 : 2e-2;
            for (std::size_t j = 0; j < kDim; ++j)
              ASSERT_NEAR(out[h * kDim + j], expected[j], tolerance) << i;
          }
        }
        const LayerCacheReport layer = cache.report().layers[0];
        EXPECT_LE(layer.tokens_kept, static_cast<double>(kWindow + 31));
        most = std::max(most, layer.bytes);
      }
      // Two heads; a window may begin and end within a block, and a spare block per segment may wait for
      // tokens.
      EXPECT_LE(most, 2 * (kWindow / 32 + 4) * BlockLayout(kDim, kDim).bytes + 2 * 4 * kDim);
      const LayerCacheReport windowed = cache.report().layers[0];
      EXPECT_EQ(windowed.channels_kept, kDim);
      EXPECT_EQ(windowed.value_channels_kept, kDim);
      EXPECT_EQ(windowed.sliding_window, static_cast<std::size_t>(kWindow));
      EXPECT_EQ(windowed.full_bytes, 2 * 2 * 2 * kDim * kWindow);
      EXPECT_EQ(cache.report().layers[1].full_bytes, 2 * 2 * 2 * kDim * (tokens + 400));
    }
  }
}

TEST(SlidingWindow, ReportEqualsAllocatorAndEstimate) {
  for (const bool all : {false, true}) {
    const CacheShape shape = alternating(5, all);
    for (const char* text : kSpecs) {
      const CacheSpec spec = CacheSpec::parse(text);
      for (const std::size_t tokens : {1U, 64U, 100U, 128U, 500U}) {
        SCOPED_TRACE(::testing::Message() << text << ", " << tokens << " tokens, " << all);
        RandomPrompt prompt(shape.layers[0], tokens, 7);
        AllocationCounter counter;
        SequenceCache cache(shape, spec, &counter);
        for (std::size_t l = 0; l < 5; ++l) cache.compress_prompt(l, prompt.view());
        const CacheReport report = cache.report();
        const CacheReport estimate = estimate_cache(shape, spec, static_cast<std::int64_t>(tokens));
        EXPECT_EQ(report.bytes, counter.live());
        EXPECT_EQ(report.full_bytes, estimate.full_bytes);
        for (std::size_t l = 0; l < 5; ++l) {
          EXPECT_EQ(report.layers[l].tokens_kept, estimate.layers[l].tokens_kept);
          EXPECT_EQ(report.layers[l].sliding_window, estimate.layers[l].sliding_window);
          if (spec.channels.adaptive) continue;
          EXPECT_LE(report.layers[l].bytes, estimate.layers[l].bytes);
          if (!spec.channels.mixed()) {
            EXPECT_EQ(report.layers[l].bytes, estimate.layers[l].bytes);
          }
        }
      }
    }
  }
}

// PyramidKV's total is that of the layers that see everything.
TEST(SlidingWindow, BudgetsAreSpreadOverTheOtherLayers) {
  const CacheShape shape = alternating(6);
  RandomPrompt prompt(shape.layers[0], 1000, 1);
  SequenceCache cache(shape, CacheSpec::parse("pyramidkv:128"));
  for (std::size_t l = 0; l < 6; ++l) cache.compress_prompt(l, prompt.view());
  const CacheReport report = cache.report();
  double total = 0.0;
  for (std::size_t l = 0; l < 6; ++l) {
    if (l % 2 == 0) {
      EXPECT_EQ(report.layers[l].tokens_kept, static_cast<double>(kWindow));
    } else {
      total += report.layers[l].tokens_kept;
    }
  }
  EXPECT_EQ(total, 3.0 * 128.0);
}

// Where every layer has a window, tokens and channels go as in other models, but none beyond the window
// stays.
TEST(SlidingWindow, WithoutOtherLayersBudgetsApply) {
  const CacheShape shape = alternating(2, true);
  RandomPrompt prompt(shape.layers[0], 400, 2);
  SequenceCache cache(shape, CacheSpec::parse("snapkv:50%,window=16+think:0.5,recent=0,form=paper"));
  CompressionTrace trace;
  cache.compress_prompt(0, prompt.view(), &trace);
  for (const std::vector<std::int32_t>& kept : trace.kept_tokens) {
    EXPECT_EQ(kept.size(), kWindow / 2);  // half of what there is to keep
    EXPECT_GE(kept.front(), 300);
    EXPECT_EQ(kept.back(), 399);
  }
  EXPECT_EQ(cache.report().layers[0].channels_kept, kDim / 2.0);
}

// A turn's tokens are appended together, and each may then be attended with.
TEST(SlidingWindow, TokensAppendedTogetherSeeTheirWindows) {
  const CacheShape shape = alternating(2);
  RandomPrompt prompt(shape.layers[0], 200, 3);
  Whole whole(prompt);
  SequenceCache cache(shape, CacheSpec{});
  cache.compress_prompt(0, prompt.view());
  constexpr std::size_t kTurn = 70;
  const std::vector<float> k = prompt.normal(kTurn * 2 * kDim);
  const std::vector<float> q = prompt.normal(kTurn * 4 * kDim);
  cache.append(0, kTurn, k.data(), k.data(), 2 * kDim);
  std::vector<float> out(q.size());
  cache.attend(0, kTurn, 200, q.data(), out.data());
  const auto part = [](const std::vector<float>& x, std::size_t i, std::size_t n) {
    return std::vector<float>(x.begin() + static_cast<std::ptrdiff_t>(i * n),
                              x.begin() + static_cast<std::ptrdiff_t>((i + 1) * n));
  };
  for (std::size_t i = 0; i < kTurn; ++i) whole.append(part(k, i, 2 * kDim), part(k, i, 2 * kDim));
  for (std::size_t i = 0; i < kTurn; ++i) {
    for (std::size_t h = 0; h < 4; ++h) {
      const std::vector<double> expected = whole.attend(part(q, i, 4 * kDim), h, 200 + i);
      for (std::size_t j = 0; j < kDim; ++j) EXPECT_NEAR(out[(i * 4 + h) * kDim + j], expected[j], 1e-3);
    }
  }
}

}  // namespace
}  // namespace thinkey
