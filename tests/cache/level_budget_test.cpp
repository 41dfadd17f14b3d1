// Bits by head within a budget of bytes (`turbo:B%`, `auto:B`).
#include "cache/level_budget.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "cache/layer_cache.h"
#include "cache/random_prompt.h"
#include "cache/sequence_cache.h"

namespace thinkey {
namespace {

constexpr std::size_t kTokens = 1000;
const AttentionShape kLayer{.query_heads = 4, .kv_heads = 2, .head_dim = 64};

// A cache of two layers, the second's keys and values `loud` times as large, and what its heads answer.
struct Trial {
  std::vector<float> out;
  CacheReport report;
  std::size_t live = 0, peak = 0;
  std::vector<HeadSizes> sizes;  // layer by layer
  CacheSpec spec;
};

Trial trial(const std::string& text, float loud = 1.0F, double residual = 1.0) {
  const CacheShape shape = CacheShape::uniform(2, kLayer);
  AllocationCounter counter;
  SequenceCache cache(shape, CacheSpec::parse(text), &counter);
  Trial made;
  for (std::size_t l = 0; l < 2; ++l) {
    test::RandomPrompt prompt(kLayer, kTokens, 3 + l);
    if (l == 1) {
      for (float& x : prompt.v) x *= loud;
    }
    for (float& x : prompt.q) x *= 0.3F;
    PromptView view = prompt.view();
    view.residual = residual;
    cache.compress_prompt(l, view);
  }
  made.peak = counter.peak();
  made.live = counter.live();
  made.report = cache.report();
  made.spec = cache.spec();
  for (std::size_t l = 0; l < 2; ++l) {
    test::RandomPrompt prompt(kLayer, kTokens, 3 + l);
    for (float& x : prompt.q) x *= 0.3F;  // else a query sees one token
    constexpr std::size_t kQueries = 100;
    std::vector<float> out(kQueries * 4 * 64);
    cache.attend(l, kQueries, kTokens - kQueries, prompt.q.data() + (kTokens - kQueries) * 256, out.data());
    made.out.insert(made.out.end(), out.begin(), out.end());
    for (std::size_t h = 0; h < 2; ++h) made.sizes.push_back(cache.layer(l).store().sizes(h));
  }
  return made;
}

double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return std::sqrt(sum);
}

std::size_t value_bits(const HeadSizes& head) { return element_bits(head.value_format); }

TEST(LevelBudget, IsSpentAndNotExceeded) {
  const Trial full = trial("full");
  double last = 1e9;
  for (const double percent : {16.0, 20.0, 30.0, 45.0}) {
    const Trial budgeted = trial("turbo:" + std::to_string(percent) + "%");
    const auto most = static_cast<double>(budgeted.report.full_bytes) * percent / 100.0;
    EXPECT_LE(static_cast<double>(budgeted.live), most);
    EXPECT_GE(static_cast<double>(budgeted.live), 0.9 * most);  // a head's next bit is a twelfth of it
    EXPECT_EQ(budgeted.live, budgeted.report.bytes);
    const double lost = distance(budgeted.out, full.out);
    EXPECT_LT(lost, last) << percent;
    last = lost;
  }
  EXPECT_LT(last, 0.03 * distance(full.out, std::vector<float>(full.out.size())));
}

TEST(LevelBudget, InBytesIsTheSameBudget) {
  const Trial share = trial("turbo:20%");
  const std::size_t bytes = share.report.full_bytes / 5;
  const Trial absolute = trial("turbo:" + std::to_string(bytes) + "B");
  EXPECT_EQ(absolute.out, share.out);
  EXPECT_EQ(absolute.live, share.live);
  EXPECT_NEAR(absolute.spec.turbo.percent, 20.0, 0.01);
}

// Values eight times as large disturb the output as much with three bits more.
TEST(LevelBudget, GoesWhereNoiseDisturbsTheOutput) {
  const Trial even = trial("turbo:25%");
  const Trial loud = trial("turbo:25%", 8.0F);
  for (std::size_t h = 0; h < 2; ++h) {
    EXPECT_EQ(value_bits(even.sizes[h]), value_bits(even.sizes[2 + h]));
    EXPECT_GE(value_bits(loud.sizes[2 + h]), value_bits(loud.sizes[h]) + 2);
  }
}

TEST(LevelBudget, AHeadGetsNoMoreThanItWaitedIn) {
  CacheSpec spec;
  for (const double percent : {1.0, 6.0, 14.0, 22.0, 40.0, 99.0}) {
    spec.turbo.percent = percent;
    const Trial budgeted = trial("turbo:" + std::to_string(percent) + "%", 1000.0F);
    for (const HeadSizes& head : budgeted.sizes)
      EXPECT_LE(static_cast<std::int64_t>(value_bits(head)), interim_bits(spec));
  }
  EXPECT_EQ(interim_bits(spec), 8);
}

TEST(LevelBudget, BrokenCostsDoNotUpsetIt) {
  for (const double residual : {0.0, -1.0, std::nan(""), 1e-300}) {
    const Trial budgeted = trial("turbo:20%", 1.0F, residual);
    EXPECT_LE(budgeted.live, budgeted.report.full_bytes / 5);
    EXPECT_GT(budgeted.live, budgeted.report.full_bytes / 10);
  }
}

TEST(Auto, ComposesStagesByTheBudget) {
  EXPECT_EQ(trial("auto:200%").spec, CacheSpec{});
  EXPECT_EQ(trial("auto:25%").spec, CacheSpec::parse("turbo:25%"));
  const CacheSpec thin = trial("auto:11%").spec;
  EXPECT_EQ(thin, CacheSpec::parse("snapkv:50%,chunk=10+turbo:11%"));
  EXPECT_FALSE(CacheSpec::parse("turbo:4").question_dependent());
  EXPECT_TRUE(CacheSpec::parse("turbo:25%").question_dependent());
  EXPECT_TRUE(CacheSpec::parse("auto:25%").question_dependent());
  const Trial full = trial("full");
  const Trial bytes = trial("auto:" + std::to_string(full.report.full_bytes / 4));
  EXPECT_LE(bytes.live, full.report.full_bytes / 4);
  EXPECT_NEAR(bytes.spec.turbo.percent, 25.0, 0.01);
}

TEST(Auto, RemembersWhatWasAskedFor) {
  const CacheSpec asked = CacheSpec::parse("auto:30KiB");
  SequenceCache cache(CacheShape::uniform(1, kLayer), asked);
  test::RandomPrompt prompt(kLayer, kTokens, 3);
  cache.compress_prompt(0, prompt.view());
  EXPECT_NE(cache.spec(), asked);
  EXPECT_EQ(cache.asked_spec(), asked);
  EXPECT_EQ(cache.fork(kTokens, nullptr).asked_spec(), asked);
  EXPECT_EQ(cache.fork(kTokens, nullptr).spec(), cache.spec());
}

// However few bytes: fewer tokens are kept until the rest fits, or the number is refused before any work.
TEST(Auto, HoldsFewBytesOrSaysHowManyItTakes) {
  const Trial full = trial("full");
  for (const std::size_t share : {15, 20, 25}) {
    const std::size_t bytes = full.report.full_bytes / share;
    EXPECT_LE(trial("auto:" + std::to_string(bytes)).live, bytes) << share;
  }
  const CacheShape shape = CacheShape::uniform(2, kLayer);
  for (const char* text : {"auto:2000B", "turbo:40KiB", "snapkv:50%+turbo:20KiB"}) {
    SequenceCache cache(shape, CacheSpec::parse(text));
    test::RandomPrompt prompt(kLayer, kTokens, 3);
    try {
      cache.compress_prompt(0, prompt.view());
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("a prompt of 1000 tokens takes at least")) << text;
    }
    EXPECT_THROW(static_cast<void>(estimate_cache(shape, CacheSpec::parse(text), kTokens)), Error);
  }
}

// A share of a prompt of hardly more than the tokens that stay whole cannot be held; the estimate says so.
TEST(LevelBudget, AShareOfAShortPromptIsWhatOneBitTakes) {
  const CacheShape shape = CacheShape::uniform(1, kLayer);
  for (const char* text : {"turbo:10%", "auto:10%", "auto:3%"}) {
    for (const std::size_t tokens : {5, 40, 100}) {
      SequenceCache cache(shape, CacheSpec::parse(text));
      test::RandomPrompt prompt(kLayer, tokens, 3);
      cache.compress_prompt(0, prompt.view());
      EXPECT_GE(estimate_cache(shape, CacheSpec::parse(text), tokens).bytes, cache.report().bytes)
          << text << " " << tokens;
    }
  }
}

// The estimate is what inspect prints and servers reserve by.
TEST(Auto, IsEstimatedAsItIs) {
  const CacheShape shape = CacheShape::uniform(2, kLayer);
  for (const char* text : {"turbo:20%", "auto:25%", "auto:12%", "auto:6%", "auto:100000"}) {
    const Trial budgeted = trial(text);
    const CacheReport estimate = estimate_cache(shape, CacheSpec::parse(text), kTokens);
    EXPECT_GE(estimate.bytes, budgeted.live) << text;
    EXPECT_LE(static_cast<double>(estimate.bytes), 1.2 * static_cast<double>(budgeted.live)) << text;
    EXPECT_EQ(estimate.spec, budgeted.spec.to_string());
  }
}

}  // namespace
}  // namespace thinkey
