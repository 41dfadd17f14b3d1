// Forks of a cache, and the bound on what a cache can come to take.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cache/growth.h"
#include "cache/random_prompt.h"

namespace thinkey {
namespace {

using test::RandomPrompt;

constexpr std::size_t kChunk = 512;

CacheShape shape_of(std::size_t window = 0) {
  AttentionShape full{.query_heads = 4, .kv_heads = 2, .head_dim = 32};
  AttentionShape windowed = full;
  windowed.sliding_window = window;
  CacheShape shape;
  shape.layers = {full, window > 0 ? windowed : full};
  return shape;
}

// A sequence of random tokens of which caches may see any stretch.
class Sequence {
 public:
  Sequence(const CacheShape& shape, std::size_t tokens)
      : shape_(shape), prompt_(shape.layers[0], tokens, 7) {}

  void begin(SequenceCache& cache, std::size_t tokens) {
    PromptView view = prompt_.view();
    view.tokens = tokens;
    view.queries = tokens;
    for (std::size_t l = 0; l < shape_.layers.size(); ++l) {
      if (cache.observes_all_queries()) {
        cache.observe(l, {.q = view.q,
                          .token_stride = view.q_token_stride,
                          .head_stride = view.q_head_stride,
                          .first = 0,
                          .n = tokens,
                          .lse = nullptr,
                          .k = view.k,
                          .capacity = view.capacity});
      }
      cache.compress_prompt(l, view);
    }
  }
  // Tokens [first, last), `salt` telling continuations apart.
  void append(SequenceCache& cache, std::size_t first, std::size_t last, float salt = 0.0F) {
    const std::size_t dim = shape_.head_dim();
    for (std::size_t t = first; t < last; ++t) {
      std::vector<float> k, v;
      for (std::size_t h = 0; h < shape_.kv_heads(); ++h) {
        const std::size_t at = (h * prompt_.tokens + t) * dim;
        k.insert(k.end(), prompt_.k.begin() + static_cast<std::ptrdiff_t>(at),
                 prompt_.k.begin() + static_cast<std::ptrdiff_t>(at + dim));
        v.insert(v.end(), prompt_.v.begin() + static_cast<std::ptrdiff_t>(at),
                 prompt_.v.begin() + static_cast<std::ptrdiff_t>(at + dim));
      }
      for (float& x : v) x += salt;
      for (std::size_t l = 0; l < shape_.layers.size(); ++l) {
        cache.append(l, 1, k.data(), v.data(), shape_.kv_heads() * dim);
        cache.renew(l, 1, static_cast<std::int64_t>(t), query(t), false);
      }
    }
  }
  [[nodiscard]] std::vector<float> attend(const SequenceCache& cache) const {
    const std::size_t width = shape_.query_heads() * shape_.head_dim();
    std::vector<float> out(shape_.layers.size() * width);
    const std::int64_t position = cache.next_position(0) - 1;
    for (std::size_t l = 0; l < shape_.layers.size(); ++l) {
      cache.attend(l, 1, position, query(3), out.data() + l * width);
    }
    return out;
  }

 private:
  [[nodiscard]] const float* query(std::size_t t) const {
    return prompt_.q.data() + t * shape_.query_heads() * shape_.head_dim();
  }
  const CacheShape& shape_;
  RandomPrompt prompt_;
};

const char* const kSpecs[] = {"full",
                              "think:0.5,recent=40,form=paper",
                              "kivi:4,residual=64",
                              "think:0.4+kivi:4",
                              "think:0.5,adaptive,bias,form=paper",
                              "snapkv:64,window=16",
                              "snapkv:64,window=16,every=20+think:keys=0.5,values=0.3,form=paper",
                              "streaming:80",
                              "h2o:64+kivi:2",
                              "tova:64",
                              "keydiff:64",
                              "lagkv:64",
                              "rkv:64",
                              "turbo:4",
                              "snapkv:64,window=16+turbo:4",
                              "turbo:25%",
                              "snapkv:64,window=16+turbo:30%"};

class Fork : public ::testing::TestWithParam<const char*> {};

// At its end: what each appends afterwards the other does not see.
TEST_P(Fork, GoesOnByItself) {
  for (const std::size_t window : {0, 48}) {
    const CacheShape shape = shape_of(window);
    const CacheSpec spec = CacheSpec::parse(GetParam());
    Sequence sequence(shape, 400);
    const auto grown = [&](std::size_t end, float salt) {
      SequenceCache cache(shape, spec);
      sequence.begin(cache, 150);
      sequence.append(cache, 150, 171);
      sequence.append(cache, 171, end, salt);
      return sequence.attend(cache);
    };
    AllocationCounter total;
    {
      AllocationCounter mine(&total);
      AllocationCounter other(&total);
      auto original = std::make_unique<SequenceCache>(shape, spec, &mine);
      sequence.begin(*original, 150);
      sequence.append(*original, 150, 171);
      const std::size_t alone = total.live();
      SequenceCache fork = original->fork(171, &other);
      EXPECT_EQ(sequence.attend(fork), sequence.attend(*original));
      EXPECT_EQ(fork.report().tokens_seen, 171);
      // Remembered queries are copied.
      if (spec.eviction.every == 0) {
        EXPECT_LT(other.live(), alone / 2) << "full blocks are shared";
      }
      for (std::size_t t = 171; t < 300; t += 10) {  // by turns
        sequence.append(*original, t, t + 10, 1.0F);
        sequence.append(fork, t, t + 10, 2.0F);
      }
      EXPECT_EQ(sequence.attend(*original), grown(301, 1.0F));
      EXPECT_EQ(sequence.attend(fork), grown(301, 2.0F));
      original.reset();
      EXPECT_EQ(sequence.attend(fork), grown(301, 2.0F)) << "shared blocks outlive the original";
    }
    EXPECT_EQ(total.live(), 0U);
  }
}

// A bound that holds at every moment, peaks within a call included, for prompts, for continuations and forks.
TEST_P(Fork, StaysWithinItsBound) {
  for (const std::size_t window : {0, 48}) {
    const CacheShape shape = shape_of(window);
    const CacheSpec spec = CacheSpec::parse(GetParam());
    Sequence sequence(shape, 500);
    for (const std::size_t prompt : {1, 31, 33, 150, 200}) {
      AllocationCounter counter;
      AllocationCounter forked;
      SequenceCache cache(shape, spec, &counter);
      sequence.begin(cache, prompt);
      sequence.append(cache, prompt, prompt + 90);
      EXPECT_LE(counter.peak(), most_cache_bytes(shape, spec, static_cast<std::int64_t>(prompt), 90, kChunk))
          << prompt;
      SequenceCache fork = cache.fork(static_cast<std::int64_t>(prompt) + 90, &forked);
      sequence.append(fork, prompt + 90, prompt + 200);
      EXPECT_LE(forked.peak(), most_cache_bytes(shape, spec, 0, 110, kChunk)) << prompt;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Specs, Fork, ::testing::ValuesIn(kSpecs));

// Where nothing was dropped, a fork can stand anywhere, and a full cache is then what it was.
TEST(ForkWithin, IsThePrefix) {
  const CacheShape shape = shape_of();
  Sequence sequence(shape, 300);
  for (const std::size_t end : {1, 31, 32, 64, 100, 149, 150, 160, 170}) {
    SequenceCache cache(shape, CacheSpec{});
    sequence.begin(cache, 150);
    sequence.append(cache, 150, 171);
    ASSERT_TRUE(cache.can_fork(static_cast<std::int64_t>(end)));
    SequenceCache fork = cache.fork(static_cast<std::int64_t>(end), nullptr);
    sequence.append(fork, end, 200);
    SequenceCache whole(shape, CacheSpec{});
    sequence.begin(whole, 200);
    EXPECT_EQ(sequence.attend(fork), sequence.attend(whole)) << end;
  }
}

// Quantizing later is what quantizing the prompt would have done, but for the rounding to 16 bits before.
TEST(Quantize, IsAsFromTheStart) {
  for (const std::size_t window : {0, 48}) {
    const CacheShape shape = shape_of(window);
    Sequence sequence(shape, 300);
    AllocationCounter counter;
    SequenceCache later(shape, CacheSpec{}, &counter);
    sequence.begin(later, 200);
    const std::size_t whole = counter.live();
    const CacheSpec spec = CacheSpec::parse("kivi:8,residual=32");
    later.quantize(spec.quantization, &counter);
    EXPECT_LT(counter.live(), whole);
    EXPECT_EQ(later.spec(), spec);
    EXPECT_EQ(later.next_position(0), 200);
    SequenceCache first(shape, spec);
    sequence.begin(first, 200);
    sequence.append(later, 200, 260);
    sequence.append(first, 200, 260);
    const auto a = sequence.attend(later);
    const auto b = sequence.attend(first);
    for (std::size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 5e-3);
  }
}

TEST(ForkWithin, OnlyWhereNothingWasDropped) {
  const auto can = [](const char* spec, std::size_t window, std::int64_t end) {
    const CacheShape shape = shape_of(window);
    Sequence sequence(shape, 300);
    SequenceCache cache(shape, CacheSpec::parse(spec));
    sequence.begin(cache, 150);
    return cache.can_fork(end);
  };
  EXPECT_TRUE(can("kivi:4", 0, 100));
  EXPECT_TRUE(can("think:0.5,form=paper", 0, 100));
  EXPECT_TRUE(can("full", 200, 100));
  EXPECT_FALSE(can("full", 48, 100));
  EXPECT_TRUE(can("full", 48, 150));
  EXPECT_FALSE(can("snapkv:64,window=16", 0, 100));
  EXPECT_FALSE(can("full", 0, 151));
  EXPECT_FALSE(can("full", 0, 0));
}

}  // namespace
}  // namespace thinkey
