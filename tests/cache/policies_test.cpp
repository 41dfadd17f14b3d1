// Every policy against its definition in double precision, for grouped heads: what is kept scores at least as
// much as what is not.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "cache/eviction.h"
#include "cache/policy_definitions.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

using namespace test;  // NOLINT(google-build-using-namespace): the definitions

// The layer's kept tokens, with the queries shown in pieces as a prefill does.
TokenLists kept(const Layer& l, const CacheSpec& spec) {
  SequenceCache cache(CacheShape::uniform(1, l.shape), spec);
  if (cache.observes_all_queries()) {
    for (std::size_t at = 0; at < kTokens; at += 128) {
      cache.observe(0, {.q = l.q(at, 0),
                        .token_stride = kGroup * kHeads * kDim,
                        .head_stride = kDim,
                        .first = at,
                        .n = std::min<std::size_t>(128, kTokens - at),
                        .lse = nullptr,
                        .k = l.prompt.k.data(),
                        .capacity = kTokens});
    }
  }
  CompressionTrace trace;
  cache.compress_prompt(0, l.prompt.view(), &trace);
  return trace.kept_tokens;
}

void expect_best(const std::vector<std::int32_t>& kept, const Numbers& scores, std::size_t budget) {
  ASSERT_EQ(kept.size(), budget);
  Numbers sorted = scores;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const double least = sorted[budget - 1];
  const std::set<std::int32_t> set(kept.begin(), kept.end());
  for (std::size_t t = 0; t < scores.size(); ++t) {
    const bool in = set.contains(static_cast<std::int32_t>(t));
    const double slack = 1e-5 * std::max(std::abs(least), 1e-4);
    if (in) {
      EXPECT_GE(scores[t], least - slack) << t;
    } else {
      EXPECT_LE(scores[t], least + slack) << t;
    }
  }
}

struct Case {
  std::string spec;
  Reference scores;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"snapkv:90,window=8", snapkv},
      {"h2o:90,window=8", h2o},
      {"streaming:90", streaming},
      {"tova:90", tova},
      {"keydiff:90", keydiff},
      {"expected:90,future=50", [](const Layer& l, std::size_t) { return expected(l, true, false); }},
      {"expected:90,future=50,covariance=no",
       [](const Layer& l, std::size_t) { return expected(l, false, false); }},
      {"expected:90,future=50,norm=output,epsilon=0.01",
       [](const Layer& l, std::size_t) { return expected(l, true, true); }},
      {"compactor:90,block=64", compactor},
      {"lagkv:90,sinks=3,lag=40", lagkv},
      {"rkv:90,lambda=0.3", rkv}};
  return all;
}

TEST(Policies, KeepWhatTheirDefinitionSays) {
  for (const Case& c : cases()) {
    for (const std::uint64_t seed : {1U, 2U}) {
      SCOPED_TRACE(c.spec);
      const Layer l(seed);
      const CacheSpec spec = CacheSpec::parse(c.spec);
      const TokenLists lists = kept(l, spec);
      const std::vector<Numbers> scores = c.scores(l, 90);
      for (std::size_t h = 0; h < kHeads; ++h) expect_best(lists[h], scores[h], 90);
    }
  }
}

// KVzip: two replays of parts of the prompt, their keys behind the prompt's.
TEST(Policies, KVzipKeepsWhatReplaysAttendTo) {
  constexpr std::size_t kRepeat = 200;
  constexpr std::size_t kPart = 180;
  for (const bool normalized : {false, true}) {
    Layer l(5);
    std::vector<float> keys(kHeads * (kTokens + kRepeat) * kDim);
    for (std::size_t h = 0; h < kHeads; ++h) {
      std::copy_n(l.k(h, 0), kTokens * kDim, keys.data() + h * (kTokens + kRepeat) * kDim);
    }
    const auto key = [&](std::size_t h, std::size_t t) {
      return keys.data() + (h * (kTokens + kRepeat) + t) * kDim;
    };
    PromptView view = l.prompt.view();
    view.k = keys.data();
    std::vector<float> values(keys.size(), 0.0F);
    for (std::size_t h = 0; h < kHeads; ++h) {
      std::copy_n(l.v(h, 0), kTokens * kDim, values.data() + h * (kTokens + kRepeat) * kDim);
    }
    view.v = values.data();
    view.capacity = kTokens + kRepeat;

    SequenceCache cache(CacheShape::uniform(1, l.shape),
                        CacheSpec::parse(normalized ? "kvzip:90,normalized" : "kvzip:90"));
    EXPECT_TRUE(cache.wants_replay());
    std::vector<Numbers> expected(kGroup * kHeads, Numbers(kTokens, 0.0));
    for (std::size_t begin = 0; begin < kTokens; begin += kPart) {
      const std::size_t end = std::min(kTokens, begin + kPart);
      const std::vector<float> own = l.prompt.normal(kHeads * kRepeat * kDim);
      for (std::size_t h = 0; h < kHeads; ++h) {
        std::copy_n(own.data() + h * kRepeat * kDim, kRepeat * kDim,
                    keys.data() + (h * (kTokens + kRepeat) + kTokens) * kDim);
      }
      const std::vector<float> q = l.prompt.normal(kRepeat * kGroup * kHeads * kDim);
      std::vector<float> norms;
      for (std::size_t i = 0; i < kRepeat; ++i) norms.push_back(1.0F + static_cast<float>(i % 5));
      for (std::size_t at = 0; at < kRepeat; at += 90) {
        cache.replay(0, {.queries = {.q = q.data() + at * kGroup * kHeads * kDim,
                                     .token_stride = kGroup * kHeads * kDim,
                                     .head_stride = kDim,
                                     .first = kTokens + at,
                                     .n = std::min<std::size_t>(90, kRepeat - at),
                                     .lse = nullptr,
                                     .k = keys.data(),
                                     .capacity = kTokens + kRepeat,
                                     .tokens = kTokens},
                         .begin = begin,
                         .end = end,
                         .own_first = kTokens,
                         .input_norms = norms.data() + at});
      }
      for (std::size_t i = 0; i < kRepeat; ++i) {
        for (std::size_t h = 0; h < kGroup * kHeads; ++h) {
          std::vector<std::size_t> seen;
          for (std::size_t t = 0; t < std::min<std::size_t>(4, begin); ++t) seen.push_back(t);
          const std::size_t first = seen.size();
          for (std::size_t t = begin; t < end; ++t) seen.push_back(t);
          for (std::size_t t = kTokens; t <= kTokens + i; ++t) seen.push_back(t);
          Numbers row;
          for (const std::size_t t : seen) {
            row.push_back(dot(q.data() + (i * kGroup * kHeads + h) * kDim, key(h / kGroup, t)) / 4.0);
          }
          row = softmax(row);
          for (std::size_t t = begin; t < end; ++t) {
            const double weight = normalized ? output_norm(l, h, l.v(h / kGroup, t), false) / norms[i] : 1.0;
            expected[h][t] = std::max(expected[h][t], weight * row[first + t - begin]);
          }
        }
      }
    }
    CompressionTrace trace;
    cache.compress_prompt(0, view, &trace);
    for (std::size_t kv = 0; kv < kHeads; ++kv) {
      Numbers scores(kTokens, kForever);
      for (std::size_t t = 4; t < kTokens; ++t) {
        scores[t] = std::max(expected[kv * kGroup][t], expected[kv * kGroup + 1][t]);
      }
      expect_best(trace.kept_tokens[kv], scores, 90);
    }
  }
}

TEST(Policies, WhatNeedsAModelSaysSo) {
  Layer l(3);
  l.shape.output = nullptr;
  EXPECT_THROW(kept(l, CacheSpec::parse("kvzip:90")), Error);
  EXPECT_THROW(kept(l, CacheSpec::parse("snapkv:90,critical")), Error);
}

TEST(Policies, SayWhetherTheyDependOnTheQuestion) {
  for (const char* text : {"snapkv:90", "pyramidkv:90", "h2o:90,observe=window", "tova:90", "rkv:90",
                           "think:0.4,form=paper", "expected:90+think:0.4,form=paper"}) {
    EXPECT_TRUE(CacheSpec::parse(text).question_dependent()) << text;
  }
  for (const char* text : {"full", "h2o:90", "streaming:90", "expected:90", "keydiff:90", "kvzip:90",
                           "compactor:90", "lagkv:90", "expected:90,adakv,critical+kivi:4"}) {
    EXPECT_FALSE(CacheSpec::parse(text).question_dependent()) << text;
  }
}

// -- wrappers

TEST(Wrappers, CriticalSpendsHalfOnWeighedScores) {
  const Layer l(7);
  for (const Case& c : {cases()[0], cases()[4]}) {  // scores that cannot be negative, and some that are
    const TokenLists lists = kept(l, CacheSpec::parse(c.spec + ",critical"));
    const std::vector<Numbers> scores = c.scores(l, 90);
    for (std::size_t kv = 0; kv < kHeads; ++kv) {
      Numbers weighed = scores[kv];
      Numbers sorted = scores[kv];
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      const double lowest = std::min(0.0, sorted.back());
      for (std::size_t t = 0; t < kTokens; ++t) {
        if (scores[kv][t] >= sorted[44]) {
          weighed[t] = kForever;
        } else {
          const double n =
              output_norm(l, 2 * kv, l.v(kv, t), true) + output_norm(l, 2 * kv + 1, l.v(kv, t), true);
          weighed[t] = (scores[kv][t] - lowest + 1e-4) * n / 2.0;
        }
      }
      expect_best(lists[kv], weighed, 90);
    }
  }
}

TEST(Wrappers, ChunksAreKeptTogether) {
  const Layer l(8);
  const TokenLists lists = kept(l, CacheSpec::parse("snapkv:90,window=8,chunk=10"));
  const std::vector<Numbers> scores = snapkv(l, 90);
  for (std::size_t kv = 0; kv < kHeads; ++kv) {
    Numbers means(kTokens);
    for (std::size_t t = 0; t < kTokens; ++t) {
      double sum = 0.0;
      double count = 0.0;
      for (std::size_t i = t / 10 * 10; i < std::min(kTokens, t / 10 * 10 + 10); ++i) {
        if (scores[kv][i] == kForever) continue;
        sum += scores[kv][i];
        count += 1.0;
      }
      means[t] = scores[kv][t] == kForever ? kForever : sum / count;
    }
    expect_best(lists[kv], means, 90);
    // The window and whole chunks; of one chunk a part, its first tokens.
    std::vector<std::size_t> sizes(kTokens / 10 + 1, 0);
    for (const std::int32_t t : lists[kv]) ++sizes[static_cast<std::size_t>(t) / 10];
    std::size_t parts = 0;
    for (std::size_t c = 0; c < (kTokens - 8) / 10; ++c) parts += sizes[c] % 10 != 0 ? 1 : 0;
    EXPECT_LE(parts, 1U);
  }
}

// Scores of four heads, made up.
TokenNumbers random_scores(std::mt19937_64& random, std::size_t heads, std::size_t tokens) {
  TokenNumbers scores(heads);
  std::normal_distribution<float> gauss;
  for (std::size_t h = 0; h < heads; ++h) {
    const float level = gauss(random);
    for (std::size_t t = 0; t < tokens; ++t) scores[h].push_back(level + gauss(random));
  }
  return scores;
}

TEST(Wrappers, AdaKVGivesPlacesToTheBestOfAllHeads) {
  std::mt19937_64 random(9);
  const auto nothing = [](std::size_t) { return std::vector<std::int32_t>{}; };
  for (int round = 0; round < 200; ++round) {
    const std::size_t heads = 1 + random() % 5;
    const std::size_t tokens = 50 + random() % 500;
    const std::size_t places = 10 + random() % (tokens - 10);
    EvictionSpec spec;
    spec.policy = KeyDiff{};
    spec.adakv = true;
    spec.floor = static_cast<double>(random() % 5) / 4.0;
    const TokenNumbers scores = random_scores(random, heads, tokens);
    const std::vector<HeadRoom> rooms(
        heads, {.begin = 0, .end = tokens, .places = places, .least = 1, .most = tokens});

    // One place at a time: the floor's best of each head, then the best of what is left.
    std::vector<std::pair<float, std::size_t>> rest;
    std::vector<std::size_t> ideal;
    for (std::size_t h = 0; h < heads; ++h) {
      std::vector<float> sorted = scores[h];
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      ideal.push_back(
          std::max<std::size_t>(1, static_cast<std::size_t>(spec.floor * static_cast<double>(places))));
      for (std::size_t i = ideal[h]; i < tokens; ++i) rest.emplace_back(sorted[i], h);
    }
    std::sort(rest.begin(), rest.end(), std::greater<>());
    std::size_t given = 0;
    for (const std::size_t n : ideal) given += n;
    for (std::size_t i = 0; given < heads * places; ++i, ++given) ++ideal[rest[i].second];

    TokenNumbers copy = scores;
    const TokenLists exact = best_tokens(spec, copy, rooms, 1, nothing, {});
    copy = scores;
    const TokenLists blocks = best_tokens(spec, copy, rooms, 32, nothing, {});
    std::size_t sum = 0;
    for (std::size_t h = 0; h < heads; ++h) {
      EXPECT_EQ(exact[h].size(), ideal[h]);
      EXPECT_EQ(exact[h], top_indices(scores[h], ideal[h]));
      EXPECT_EQ(blocks[h].size() % 32, places % 32);
      EXPECT_EQ(blocks[h], top_indices(scores[h], blocks[h].size()));
      EXPECT_LE(blocks[h].size(), tokens);
      EXPECT_GE(blocks[h].size(), 1U);
      sum += blocks[h].size();
    }
    EXPECT_EQ(sum, heads * places);
    if (heads == 2) {  // nothing but a bound keeps a head a whole block from what it should have
      const auto off = std::abs(static_cast<double>(blocks[0].size()) - static_cast<double>(ideal[0]));
      const std::size_t top = std::max(blocks[0].size(), blocks[1].size());
      const std::size_t bottom = std::min(blocks[0].size(), blocks[1].size());
      EXPECT_TRUE(off <= 32.0 || top + 32 > tokens || bottom < 33) << off;
    }
  }
}

// -- evicting again

TEST(Policies, HeldTokensAreScoredByThePolicy) {
  // Keys of 16 bits are nearly those of the prompt, so that what a prompt of the same tokens would keep
  // stays.
  for (const Case& c : {cases()[4], cases()[9]}) {
    SCOPED_TRACE(c.spec);
    Layer l(11);
    const CacheSpec spec = CacheSpec::parse(c.spec + ",every=1");
    SequenceCache cache(CacheShape::uniform(1, l.shape), spec);
    RandomPrompt start(l.shape, 1, 1);
    std::vector<float> row_k(kHeads * kDim);
    std::vector<float> row_v(kHeads * kDim);
    const auto append = [&](std::size_t t) {
      for (std::size_t h = 0; h < kHeads; ++h) {
        std::copy_n(l.k(h, t), kDim, row_k.data() + h * kDim);
        std::copy_n(l.v(h, t), kDim, row_v.data() + h * kDim);
      }
      cache.append(0, 1, row_k.data(), row_v.data(), kHeads * kDim);
    };
    for (std::size_t t = 0; t < kTokens; ++t) append(t);
    cache.renew(0, 1, kTokens - 1, l.q(kTokens - 1, 0), true);
    const std::vector<Numbers> scores = c.scores(l, 90);
    for (std::size_t h = 0; h < kHeads; ++h) {
      const std::vector<std::int32_t> held = cache.layer(0).store().positions(h);
      ASSERT_EQ(held.size(), 90U);
      Numbers sorted = scores[h];
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      for (const std::int32_t t : held)
        EXPECT_GE(scores[h][static_cast<std::size_t>(t)], sorted[89] - 1e-3) << t;
    }
  }
}

}  // namespace
}  // namespace thinkey
