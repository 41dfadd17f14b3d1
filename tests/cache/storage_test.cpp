// What the cache costs: reported, allocated and estimated bytes are the same number.
#include <gtest/gtest.h>

#include "backend/cpu/store/block.h"
#include "cache/random_prompt.h"
#include "cache/sequence_cache.h"
#include "cache/think.h"

namespace thinkey {
namespace {

using test::RandomPrompt;

TEST(CacheStorage, ReportEqualsAllocatorAndEstimate) {
  const CacheShape shape = CacheShape::uniform(3, {6, 2, 64});
  for (const char* text :
       {"full", "snapkv:128", "snapkv:10%", "think:0.4,form=paper", "snapkv:128+think:0.5,form=paper",
        "think:0.5,recent=0,form=paper", "pyramidkv:128", "think:keys=0.4,values=0.3,form=paper+kivi:4",
        "kivi:2,residual=32"}) {
    for (const std::size_t tokens : {1U, 20U, 32U, 33U, 500U, 1024U}) {
      const CacheSpec spec = CacheSpec::parse(text);
      RandomPrompt prompt(shape.layers[0], tokens, tokens);
      AllocationCounter counter;
      {
        SequenceCache cache(shape, spec, &counter);
        EXPECT_EQ(counter.live(), 0U);
        for (std::size_t l = 0; l < shape.layers.size(); ++l) cache.compress_prompt(l, prompt.view());
        const CacheReport report = cache.report();
        EXPECT_EQ(report.bytes, counter.live());
        EXPECT_EQ(report.bytes, estimate_cache(shape, spec, static_cast<std::int64_t>(tokens)).bytes)
            << text << " " << tokens;
        EXPECT_EQ(report.layers.size(), 3U);
        EXPECT_EQ(report.full_bytes, 2 * 2 * 3 * 2 * 64 * tokens);

        const std::vector<float> row(2 * 64, 0.5F);
        for (int i = 0; i < 100; ++i) {
          for (std::size_t l = 0; l < shape.layers.size(); ++l) {
            cache.append(l, 1, row.data(), row.data(), row.size());
          }
          ASSERT_EQ(cache.report().bytes, counter.live());
        }
      }
      EXPECT_EQ(counter.live(), 0U);
    }
  }
}

TEST(CacheStorage, PrunedChannelsAreNotThere) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 64});
  RandomPrompt prompt(shape.layers[0], 2048, 1);
  const auto bytes = [&](const char* spec) {
    SequenceCache cache(shape, CacheSpec::parse(spec));
    cache.compress_prompt(0, prompt.view());
    return static_cast<double>(cache.report().bytes);
  };
  const double snapkv = bytes("snapkv:1024");
  EXPECT_NEAR(bytes("full") / snapkv, 2.0, 0.01);
  // 25 of 128 halves per thin token go: 19.5 % less, but for the 32 recent tokens and the positions.
  EXPECT_LT(bytes("snapkv:1024+think:0.4,form=paper") / snapkv, 0.82);
  EXPECT_LT(bytes("snapkv:1024+think:0.5,form=paper") / snapkv, 0.77);
  EXPECT_LT(bytes("snapkv:1024+think:0.6,form=paper") / snapkv, 0.725);
}

TEST(CacheStorage, TwoBitsAreTwoBits) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 128});
  RandomPrompt prompt(shape.layers[0], 4096 + 128, 1);
  const auto share = [&](const char* spec) {
    SequenceCache cache(shape, CacheSpec::parse(spec));
    cache.compress_prompt(0, prompt.view());
    return cache.report().share_of_full();
  };
  // Bits, plus 32 bits of scale and minimum per 32 elements, plus 4 bytes of position per token.
  EXPECT_NEAR(share("kivi:2,residual=0"), (2.0 + 1.0) / 16.0 + 4.0 / 512.0, 0.002);
  EXPECT_NEAR(share("kivi:4,residual=0"), (4.0 + 1.0) / 16.0 + 4.0 / 512.0, 0.002);
  EXPECT_NEAR(share("kivi:8,residual=0"), (8.0 + 1.0) / 16.0 + 4.0 / 512.0, 0.002);
}

TEST(CacheStorage, PyramidKeepsTheTotal) {
  const CacheShape shape = CacheShape::uniform(6, {2, 1, 16});
  RandomPrompt prompt(shape.layers[0], 1000, 1);
  for (const char* spec : {"pyramidkv:128", "pyramidkv:600", "pyramidkv:50%,beta=5"}) {
    SequenceCache cache(shape, CacheSpec::parse(spec));
    for (std::size_t l = 0; l < shape.layers.size(); ++l) cache.compress_prompt(l, prompt.view());
    const CacheReport report = cache.report();
    double total = 0.0;
    for (std::size_t l = 0; l < shape.layers.size(); ++l) {
      total += report.layers[l].tokens_kept;
      if (l > 0) {
        EXPECT_LE(report.layers[l].tokens_kept, report.layers[l - 1].tokens_kept);
      }
    }
    EXPECT_EQ(total, 6.0 * static_cast<double>(CacheSpec::parse(spec).eviction.budget_for(1000)));
  }
}

TEST(CacheStorage, AdaptiveSpendsTheSameChannels) {
  const CacheShape shape = CacheShape::uniform(5, {6, 3, 64});
  SequenceCache even(shape, CacheSpec::parse("think:0.6,form=paper"));
  SequenceCache adaptive(shape, CacheSpec::parse("think:0.6,adaptive,form=paper"));
  double even_total = 0.0;
  double adaptive_total = 0.0;
  bool differs = false;
  for (std::size_t l = 0; l < shape.layers.size(); ++l) {
    RandomPrompt prompt(shape.layers[0], 200, l);
    for (std::size_t i = 0; i < prompt.k.size(); ++i) {
      prompt.k[i] *= static_cast<float>(1 + (i / 64 / 200 + l) % 3);
    }
    even.compress_prompt(l, prompt.view());
    adaptive.compress_prompt(l, prompt.view());
    for (std::size_t h = 0; h < 3; ++h) {
      even_total += static_cast<double>(test::cpu_heads(even, l)[h].kept_keys().size());
      adaptive_total += static_cast<double>(test::cpu_heads(adaptive, l)[h].kept_keys().size());
      differs = differs || test::cpu_heads(adaptive, l)[h].kept_keys().size() !=
                               test::cpu_heads(even, l)[h].kept_keys().size();
    }
  }
  EXPECT_EQ(even_total, adaptive_total);
  EXPECT_TRUE(differs);
}

TEST(CacheStorage, LongGenerationStaysThin) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 64});
  RandomPrompt prompt(shape.layers[0], 64, 1);
  SequenceCache cache(shape, CacheSpec::parse("think:0.5,form=paper"));
  cache.compress_prompt(0, prompt.view());
  for (int i = 0; i < 4000; ++i) {
    const std::vector<float> row = prompt.normal(64);
    cache.append(0, 1, row.data(), row.data(), 64);
  }
  // 4064 tokens: all but at most 63 in thin blocks.
  const std::size_t thin = BlockLayout(32, 64).bytes;
  const std::size_t whole = BlockLayout(64, 64).bytes;
  EXPECT_LE(cache.report().bytes, 128 * thin + 2 * whole + 64);
}

TEST(CacheStorage, NotANumberCrashesNothing) {
  const CacheShape shape = CacheShape::uniform(2, {4, 2, 32});
  RandomPrompt prompt(shape.layers[0], 400, 1);
  for (std::size_t i = 0; i < prompt.k.size(); i += 3) prompt.k[i] = std::numeric_limits<float>::quiet_NaN();
  for (std::size_t i = 0; i < prompt.q.size(); i += 5) prompt.q[i] = std::numeric_limits<float>::infinity();
  for (const char* spec : {"snapkv:100+think:0.4,form=paper",
                           "snapkv:100,pool=max+think:0.6,adaptive,form=paper+kivi:4", "think:0.5,bias"}) {
    SequenceCache cache(shape, CacheSpec::parse(spec));
    for (std::size_t l = 0; l < shape.layers.size(); ++l) cache.compress_prompt(l, prompt.view());
    std::vector<float> out(4 * 32);
    cache.attend(0, 1, 400, prompt.v.data(), out.data());
  }
}

TEST(Think, ScoresFollowTheFormula) {
  const CacheShape shape = CacheShape::uniform(1, {4, 2, 16});
  RandomPrompt prompt(shape.layers[0], 50, 3);
  const std::vector<std::int32_t> kept{1, 5, 20, 48, 49};
  const auto store = default_stores().make(shape.layers[0], {}, nullptr);
  const std::vector<float> scores =
      think_key_scores(store->key_statistics(prompt.view(), 8, {kept, kept}, false)[1]);
  for (std::size_t j = 0; j < 16; ++j) {
    double q2 = 0.0;
    for (std::size_t t = 42; t < 50; ++t) {
      for (std::size_t h = 2; h < 4; ++h) q2 += std::pow(prompt.q[(t * 4 + h) * 16 + j], 2) / 16.0;
    }
    double k2 = 0.0;
    for (const auto t : kept) k2 += std::pow(prompt.k[(50 + static_cast<std::size_t>(t)) * 16 + j], 2) / 5.0;
    EXPECT_NEAR(scores[j], q2 * k2, 1e-5 * q2 * k2);
  }
}

}  // namespace
}  // namespace thinkey
