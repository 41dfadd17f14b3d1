// `every=N`: a long generation holds its bytes bounded and keeps what the latest queries look at.
#include <gtest/gtest.h>

#include <set>

#include "cache/random_prompt.h"

namespace thinkey {
namespace {

using test::RandomPrompt;

// One decode step of a single-layer cache: append, attend, renew.
void step(SequenceCache& cache, const std::vector<float>& k, const std::vector<float>& v,
          const std::vector<float>& q, std::vector<float>& out) {
  const std::int64_t position = cache.next_position(0);
  cache.append(0, 1, k.data(), v.data(), k.size());
  cache.attend(0, 1, position, q.data(), out.data());
  cache.renew(0, 1, position, q.data(), false);
}

std::set<std::int32_t> positions(const Segment& segment) {
  std::set<std::int32_t> found;
  for (std::size_t b = 0; b < segment.blocks(); ++b) {
    const std::byte* block = segment.block(b);
    const std::size_t tokens = segment.layout().count(block);
    for (std::size_t t = 0; t < tokens; ++t) found.insert(segment.layout().position(block, t));
  }
  return found;
}

TEST(Reeviction, TwentyThousandTokensStayBounded) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 32});
  for (const char* text :
       {"snapkv:128,window=16,every=64+think:0.5,form=paper", "h2o:128,every=100",
        "snapkv:128,every=64+think:0.7", "streaming:128,every=32",
        "pyramidkv:128,every=64+think:keys=0.4,values=0.3,form=paper+kivi:4,residual=32"}) {
    SCOPED_TRACE(text);
    const CacheSpec spec = CacheSpec::parse(text);
    AllocationCounter counter;
    SequenceCache cache(shape, spec, &counter);
    RandomPrompt prompt(shape.layers[0], 300, 1);
    if (cache.observes_all_queries()) {
      cache.observe(0, {prompt.q.data(), 64, 32, 0, 300, nullptr, prompt.k.data(), 300});
    }
    cache.compress_prompt(0, prompt.view());
    const std::vector<float> noise = prompt.normal(4096 + 64);
    std::vector<float> out(64);
    std::size_t most = 0;
    for (std::size_t i = 0; i < 20000; ++i) {
      const float* at = noise.data() + (i * 37) % 4096;
      const std::vector<float> row(at, at + 32);
      step(cache, row, row, {at, at + 64}, out);
      for (const HeadStore& head : test::cpu_heads(cache, 0)) most = std::max(most, head.tokens());
      ASSERT_TRUE(std::isfinite(out[0]));
    }
    EXPECT_EQ(cache.next_position(0), 20300);
    EXPECT_LE(most, static_cast<std::size_t>(128 + spec.eviction.every));
    // Blocks for the most tokens there may be, whole and in 16 bits, half-filled ones and the ring included.
    const std::size_t block = BlockLayout(32, 32).bytes;
    EXPECT_LE(counter.live(), (128 + 100) / 32 * block + 6 * block + 32 * 64 * sizeof(float) + 4096);
    EXPECT_EQ(cache.report().bytes, counter.live());
  }
}

TEST(Reeviction, KeepsWhatTheLatestQueriesAttendTo) {
  const CacheShape shape = CacheShape::uniform(1, {1, 1, 16});
  RandomPrompt prompt(shape.layers[0], 200, 2);
  // Token 77 alone points where the later queries will; the prompt's own queries point elsewhere.
  for (float& x : prompt.k) x *= 0.1F;
  for (std::size_t c = 0; c < 16; ++c) prompt.k[77 * 16 + c] = c == 3 ? 8.0F : 0.0F;
  for (const char* text : {"snapkv:200,window=8,kernel=1,every=40",
                           "snapkv:200,window=8,kernel=1,every=40+think:0.25,form=paper"}) {
    SequenceCache cache(shape, CacheSpec::parse(text));
    for (std::size_t i = 0; i < prompt.q.size(); ++i) prompt.q[i] = i % 16 == 3 ? 1.0F : 0.01F;
    cache.compress_prompt(0, prompt.view());
    std::vector<float> q(16, 0.0F);
    q[3] = 8.0F;
    std::vector<float> out(16);
    for (int i = 0; i < 400; ++i) {
      std::vector<float> row = prompt.normal(16);
      for (float& x : row) x *= 0.1F;
      step(cache, row, row, q, out);
    }
    const HeadStore& head = test::cpu_heads(cache, 0)[0];
    EXPECT_TRUE(positions(head.thin()).contains(77)) << text;
    EXPECT_LE(head.tokens(), 240U);
    // Nearly all attention is on token 77, so its value comes out, through every re-encoding.
    for (std::size_t c = 0; c < 16; ++c) EXPECT_NEAR(out[c], prompt.v[77 * 16 + c], 0.01);
  }
}

TEST(Reeviction, StreamingKeepsSinksAndTheLatest) {
  const CacheShape shape = CacheShape::uniform(1, {1, 1, 16});
  RandomPrompt prompt(shape.layers[0], 100, 3);
  SequenceCache cache(shape, CacheSpec::parse("streaming:50,sinks=4,every=10"));
  cache.compress_prompt(0, prompt.view());
  std::vector<float> out(16);
  for (int i = 0; i < 100; ++i) {
    const std::vector<float> row = prompt.normal(16);
    step(cache, row, row, row, out);
  }
  std::set<std::int32_t> expected{0, 1, 2, 3};
  for (std::int32_t t = 154; t < 200; ++t) expected.insert(t);
  EXPECT_EQ(positions(test::cpu_heads(cache, 0)[0].thin()), expected);
}

TEST(Reeviction, TurnsEndWithinBudget) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 16});
  RandomPrompt prompt(shape.layers[0], 100, 4);
  SequenceCache cache(shape, CacheSpec::parse("snapkv:64,window=16,every=1000"));
  cache.compress_prompt(0, prompt.view());
  cache.append(0, 100, prompt.k.data(), prompt.v.data(), 16);
  EXPECT_EQ(test::cpu_heads(cache, 0)[0].tokens(), 164U);
  cache.renew(0, 100, 100, prompt.q.data(), true);
  EXPECT_EQ(test::cpu_heads(cache, 0)[0].tokens(), 64U);
  const std::set<std::int32_t> kept = positions(test::cpu_heads(cache, 0)[0].thin());
  for (std::int32_t t = 184; t < 200; ++t) EXPECT_TRUE(kept.contains(t));
}

TEST(Reeviction, WithoutEveryNothingIsEvicted) {
  const CacheShape shape = CacheShape::uniform(1, {2, 1, 16});
  RandomPrompt prompt(shape.layers[0], 100, 4);
  SequenceCache cache(shape, CacheSpec::parse("snapkv:64"));
  cache.compress_prompt(0, prompt.view());
  cache.append(0, 100, prompt.k.data(), prompt.v.data(), 16);
  cache.renew(0, 100, 100, prompt.q.data(), true);
  EXPECT_EQ(test::cpu_heads(cache, 0)[0].tokens(), 164U);
}

}  // namespace
}  // namespace thinkey
