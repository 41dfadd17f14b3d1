// What the cache costs: reported, allocated and estimated bytes are the same number.
#include <gtest/gtest.h>

#include "cache/block.h"
#include "cache/random_prompt.h"
#include "cache/sequence_cache.h"
#include "cache/think.h"

namespace thinkey {
namespace {

using test::RandomPrompt;

TEST(CacheStorage, ReportEqualsAllocatorAndEstimate) {
  const CacheShape shape{3, 6, 2, 64, 0};
  for (const char* text :
       {"full", "snapkv:128", "snapkv:10%", "think:0.4", "snapkv:128+think:0.5", "think:0.5,recent=0"}) {
    for (const std::size_t tokens : {1U, 20U, 32U, 33U, 500U, 1024U}) {
      const CacheSpec spec = CacheSpec::parse(text);
      RandomPrompt prompt(shape, tokens, tokens);
      AllocationCounter counter;
      {
        SequenceCache cache(shape, spec, &counter);
        EXPECT_EQ(counter.live(), 0U);
        for (std::size_t l = 0; l < shape.layers; ++l) cache.compress_prompt(l, prompt.view());
        const CacheReport report = cache.report();
        EXPECT_EQ(report.bytes, counter.live());
        EXPECT_EQ(report.bytes, estimate_cache(shape, spec, static_cast<std::int64_t>(tokens)).bytes)
            << text << " " << tokens;
        EXPECT_EQ(report.layers.size(), 3U);
        EXPECT_EQ(report.full_bytes, 2 * 2 * 3 * 2 * 64 * tokens);

        const std::vector<float> row(2 * 64, 0.5F);
        for (int i = 0; i < 100; ++i) {
          for (std::size_t l = 0; l < shape.layers; ++l)
            cache.append(l, 1, row.data(), row.data(), row.size());
          ASSERT_EQ(cache.report().bytes, counter.live());
        }
      }
      EXPECT_EQ(counter.live(), 0U);
    }
  }
}

TEST(CacheStorage, PrunedChannelsAreNotThere) {
  const CacheShape shape{1, 2, 1, 64, 0};
  RandomPrompt prompt(shape, 2048, 1);
  const auto bytes = [&](const char* spec) {
    SequenceCache cache(shape, CacheSpec::parse(spec));
    cache.compress_prompt(0, prompt.view());
    return static_cast<double>(cache.report().bytes);
  };
  const double snapkv = bytes("snapkv:1024");
  EXPECT_NEAR(bytes("full") / snapkv, 2.0, 0.01);
  // 25 of 128 halves per thin token go: 19.5 % less, but for the 32 recent tokens and the positions.
  EXPECT_LT(bytes("snapkv:1024+think:0.4") / snapkv, 0.82);
  EXPECT_LT(bytes("snapkv:1024+think:0.5") / snapkv, 0.77);
  EXPECT_LT(bytes("snapkv:1024+think:0.6") / snapkv, 0.725);
}

TEST(CacheStorage, LongGenerationStaysThin) {
  const CacheShape shape{1, 2, 1, 64, 0};
  RandomPrompt prompt(shape, 64, 1);
  SequenceCache cache(shape, CacheSpec::parse("think:0.5"));
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

TEST(Think, ScoresFollowTheFormula) {
  const CacheShape shape{1, 4, 2, 16, 0};
  RandomPrompt prompt(shape, 50, 3);
  const std::vector<std::int32_t> kept{1, 5, 20, 48, 49};
  const std::vector<float> scores = think_key_scores(shape, prompt.view(), 8, 1, kept);
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
