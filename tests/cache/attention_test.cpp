// Attention over the thin cache equals a naive double-precision reference, for every shape.
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "cache/random_prompt.h"
#include "cache/sequence_cache.h"

namespace thinkey {
namespace {

using test::RandomPrompt;
using test::ReferenceHead;

struct Case {
  std::size_t group, kv_heads, dim, tokens;
  const char* spec;
  std::size_t appended = 0;
  std::size_t queries = 1;
  std::size_t window = 0;  // sliding
};

void check(const Case& c, std::uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << "G " << c.group << " Hkv " << c.kv_heads << " D " << c.dim << " T "
                                    << c.tokens << " " << c.spec << " + " << c.appended << ", " << c.queries
                                    << " queries, window " << c.window << ", seed " << seed);
  const CacheShape shape{1, c.group * c.kv_heads, c.kv_heads, c.dim, c.window};
  RandomPrompt prompt(shape, c.tokens, seed);
  const CacheSpec spec = CacheSpec::parse(c.spec);
  AllocationCounter counter;
  SequenceCache cache(shape, spec, &counter);
  CompressionTrace trace;
  cache.compress_prompt(0, prompt.view(), &trace);

  const std::size_t kv_width = c.kv_heads * c.dim;
  const std::vector<float> new_k = prompt.normal(c.appended * kv_width);
  const std::vector<float> new_v = prompt.normal(c.appended * kv_width);
  // In pieces, as decode and chat turns do.
  for (std::size_t done = 0; done < c.appended;) {
    const std::size_t n = std::min<std::size_t>(c.appended - done, 1 + seed % 50);
    cache.append(0, n, new_k.data() + done * kv_width, new_v.data() + done * kv_width, kv_width);
    done += n;
  }
  EXPECT_EQ(cache.next_position(0), static_cast<std::int64_t>(c.tokens + c.appended));

  std::vector<ReferenceHead> heads(c.kv_heads);
  for (std::size_t h = 0; h < c.kv_heads; ++h) {
    for (const std::int32_t t : trace.kept_tokens[h]) {
      const std::size_t at = (h * c.tokens + static_cast<std::size_t>(t)) * c.dim;
      heads[h].add(t, prompt.k.data() + at, prompt.v.data() + at, c.dim);
    }
    for (std::size_t i = 0; i < c.appended; ++i) {
      heads[h].add(static_cast<std::int64_t>(c.tokens + i), new_k.data() + i * kv_width + h * c.dim,
                   new_v.data() + i * kv_width + h * c.dim, c.dim);
    }
    if (spec.channels.active()) {
      // Tokens leave the recent segment 32 at a time once it holds recent + 32.
      const auto limit = static_cast<std::size_t>(spec.channels.recent);
      std::size_t whole = std::min(trace.kept_tokens[h].size(), limit) + c.appended;
      while (whole >= limit + 32) whole -= 32;
      heads[h].prune(cache.kept_channels(0, h), whole);
      EXPECT_EQ(cache.kept_channels(0, h).size(),
                static_cast<std::size_t>(spec.channels.kept_keys(static_cast<std::int64_t>(c.dim))));
    }
  }

  const std::size_t q_heads = shape.query_heads;
  const std::vector<float> q = prompt.normal(c.queries * q_heads * c.dim);
  std::vector<float> out(q.size());
  std::vector<float> lse(c.queries * q_heads);
  const auto first = static_cast<std::int64_t>(c.tokens + c.appended);
  cache.attend(0, c.queries, first, q.data(), out.data(), lse.data());
  std::vector<double> expected(c.dim);
  double worst = 0.0;
  for (std::size_t i = 0; i < c.queries; ++i) {
    for (std::size_t h = 0; h < q_heads; ++h) {
      const std::size_t at = i * q_heads + h;
      const double expected_lse = heads[h / c.group].attend(
          q.data() + at * c.dim, first + static_cast<std::int64_t>(i), c.window, expected);
      if (std::isinf(expected_lse)) {
        EXPECT_EQ(lse[at], -std::numeric_limits<float>::infinity());
      } else {
        EXPECT_NEAR(lse[at], expected_lse, 2e-5);
      }
      for (std::size_t j = 0; j < c.dim; ++j)
        worst = std::max(worst, std::abs(out[at * c.dim + j] - expected[j]));
    }
  }
  EXPECT_LT(worst, 2e-5);
  EXPECT_EQ(cache.report().bytes, counter.live());
}

TEST(CacheAttention, EdgesOfEverySpec) {
  for (const char* spec : {"full", "snapkv:64", "snapkv:25%", "think:0.4", "snapkv:64,window=16+think:0.6",
                           "snapkv:48,kernel=7,pool=max+think:0.3,recent=0", "think:0.8,recent=100"}) {
    for (const std::size_t tokens : {1U, 2U, 31U, 32U, 33U, 47U, 63U, 64U, 65U, 97U, 300U}) {
      check({2, 2, 64, tokens, spec}, tokens);
      check({4, 1, 40, tokens, spec, 70}, tokens + 1);
    }
  }
}

TEST(CacheAttention, RandomShapes) {
  std::mt19937_64 random(7);
  const char* specs[] = {"full", "snapkv:128", "snapkv:40%+think:0.5", "think:0.37,recent=17",
                         "snapkv:budget=96,window=8,kernel=3+think:0.9"};
  for (int i = 0; i < 60; ++i) {
    Case c{};
    c.group = 1 + random() % 8;
    c.kv_heads = 1 + random() % 3;
    c.dim = 8 * (1 + random() % 20);
    c.tokens = 1 + random() % (i % 10 == 0 ? 3000 : 400);
    c.spec = specs[random() % std::size(specs)];
    c.appended = random() % 3 == 0 ? 0 : random() % 150;
    c.queries = random() % 2 == 0 ? 1 : 1 + random() % 20;
    c.window = random() % 3 == 0 ? 1 + random() % 200 : 0;
    check(c, random());
  }
}

TEST(CacheAttention, EveryInstructionSet) {
  for (std::int64_t targets = hwy::SupportedTargets(); targets != 0; targets &= targets - 1) {
    hwy::SetSupportedTargetsForTest(targets & -targets);
    SCOPED_TRACE(hwy::TargetName(targets & -targets));
    check({4, 2, 64, 200, "snapkv:100+think:0.4", 40}, 3);
    check({3, 1, 24, 77, "full", 3}, 4);
    check({1, 2, 128, 90, "think:0.6", 70, 5, 50}, 5);
  }
  hwy::SetSupportedTargetsForTest(0);
}

TEST(CacheAttention, SameAnswerForAThreadCountAlways) {
  const CacheShape shape{1, 8, 2, 64, 0};
  RandomPrompt prompt(shape, 2500, 11);
  SequenceCache cache(shape, CacheSpec::parse("think:0.4"));
  cache.compress_prompt(0, prompt.view());
  const std::vector<float> q = prompt.normal(8 * 64);
  std::vector<float> once(q.size());
  std::vector<float> again(q.size());
  cache.attend(0, 1, 2500, q.data(), once.data());
  for (int i = 0; i < 20; ++i) {
    cache.attend(0, 1, 2500, q.data(), again.data());
    ASSERT_EQ(once, again);
  }
}

TEST(CacheAttention, WithoutPromptTokensAreAppended) {
  const CacheShape shape{1, 4, 2, 32, 0};
  RandomPrompt random(shape, 1, 5);
  SequenceCache cache(shape, CacheSpec::parse("think:0.5"));
  ReferenceHead heads[2];
  for (int i = 0; i < 70; ++i) {
    const auto k = random.normal(64);
    const auto v = random.normal(64);
    cache.append(0, 1, k.data(), v.data(), 64);
    for (std::size_t h = 0; h < 2; ++h) heads[h].add(i, k.data() + h * 32, v.data() + h * 32, 32);
  }
  const auto q = random.normal(4 * 32);
  std::vector<float> out(q.size());
  cache.attend(0, 1, 69, q.data(), out.data());
  std::vector<double> expected(32);
  for (std::size_t h = 0; h < 4; ++h) {
    heads[h / 2].attend(q.data() + h * 32, 69, 0, expected);
    for (std::size_t j = 0; j < 32; ++j) EXPECT_NEAR(out[h * 32 + j], expected[j], 2e-5);
  }
}

TEST(CacheAttention, MergeJoinsDisjointKeys) {
  const CacheShape shape{1, 4, 2, 32, 0};
  RandomPrompt whole(shape, 200, 9);
  const auto part = [&](std::size_t begin, std::size_t end) {
    RandomPrompt p(shape, end - begin, 1);
    for (std::size_t h = 0; h < 2; ++h) {
      std::copy_n(whole.k.data() + (h * 200 + begin) * 32, (end - begin) * 32,
                  p.k.data() + h * (end - begin) * 32);
      std::copy_n(whole.v.data() + (h * 200 + begin) * 32, (end - begin) * 32,
                  p.v.data() + h * (end - begin) * 32);
    }
    return p;
  };
  const auto attend = [&](const RandomPrompt& p, std::vector<float>& lse) {
    SequenceCache cache(shape, CacheSpec{});
    cache.compress_prompt(0, p.view());
    std::vector<float> out(4 * 32);
    lse.resize(4);
    cache.attend(0, 1, 200, whole.q.data(), out.data(), lse.data());
    return out;
  };
  std::vector<float> lse_a;
  std::vector<float> lse_b;
  std::vector<float> lse_all;
  std::vector<float> out_a = attend(part(0, 70), lse_a);
  const std::vector<float> out_b = attend(part(70, 200), lse_b);
  const std::vector<float> all = attend(whole, lse_all);
  merge_attention(4, 32, out_a.data(), lse_a.data(), out_b.data(), lse_b.data());
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_NEAR(out_a[i], all[i], 1e-6);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(lse_a[i], lse_all[i], 1e-5);
}

}  // namespace
}  // namespace thinkey
