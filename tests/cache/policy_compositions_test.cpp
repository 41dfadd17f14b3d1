// Every policy with every wrapper, ThinK and KIVI: it runs, says what it takes before and after, evicts
// again, and is the same when it has been saved and read.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/matrix_view.h"
#include "base/parallel.h"
#include "cache/cache_file.h"
#include "cache/policy.h"
#include "cache/random_prompt.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

using test::RandomPrompt;

constexpr std::size_t kDim = 32;
constexpr AttentionShape kShape{.query_heads = 6, .kv_heads = 3, .head_dim = kDim};

struct Composition {
  std::vector<float> weights;
  MatrixView output;
  CacheShape shape = CacheShape::uniform(1, kShape);
  RandomPrompt prompt;

  Composition(std::size_t tokens, std::uint64_t seed) : prompt(kShape, tokens, seed) {
    weights = prompt.normal(40 * 6 * kDim);
    output = {.type = TensorType::F32,
              .rows = 40,
              .cols = 6 * kDim,
              .data = reinterpret_cast<const std::byte*>(weights.data())};
    shape.layers[0].output = &output;
  }
  Composition(const Composition&) = delete;

  void show(SequenceCache& cache) const {
    const QueryRange all{.q = prompt.q.data(),
                         .token_stride = 6 * kDim,
                         .head_stride = kDim,
                         .first = 0,
                         .n = prompt.tokens,
                         .lse = nullptr,
                         .k = prompt.k.data(),
                         .capacity = prompt.tokens};
    if (cache.observes_all_queries()) cache.observe(0, all);
    if (!cache.wants_replay()) return;
    // The last tokens stand for a replay of the others.
    QueryRange last = all;
    const std::size_t own = prompt.tokens - 40;
    last.q += own * 6 * kDim;
    last.first = own;
    last.n = 40;
    const std::vector<float> norms(40, 1.5F);
    cache.replay(0, {.queries = last, .begin = 0, .end = own, .own_first = own, .input_norms = norms.data()});
  }
};

std::vector<std::string> evictions() {
  std::vector<std::string> all;
  for (const Policy* policy : all_policies()) {
    const std::string name(policy->name);
    all.push_back(name + ":70");
    all.push_back(name + ":35%");
    {
      const std::string base = name + ":35%";
      if (policy->ranks) {
        for (const char* wrapper : {",adakv", ",critical", ",chunk=8", ",adakv,floor=0.5,critical,chunk=5"}) {
          all.push_back(base + wrapper);
        }
      }
      if (policy->evicts_again) {
        all.push_back(base + ",every=16");
        if (policy->ranks) all.push_back(base + ",every=16,adakv,critical,chunk=4");
      }
    }
  }
  return all;
}

std::vector<float> attended(const SequenceCache& cache, const std::vector<float>& q) {
  std::vector<float> out(q.size());
  cache.attend(0, 1, cache.next_position(0), q.data(), out.data());
  return out;
}

TEST(PolicyCompositions, RunSaveRestoreAndCountBytes) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "thinkey_policy_composition.kv").string();
  set_threads(1);  // a fork-join costs more than these products
  std::uint64_t seed = 0;
  std::size_t compositions = 0;
  for (const std::string& eviction : evictions()) {
    for (const std::string pruning :
         {"", "+think:0.4,form=paper", "+think:keys=0.6,values=0.3,recent=90,form=paper"}) {
      for (const std::string quantization :
           {"", "+kivi:4,residual=32", "+turbo:keys=3,values=2,recent=30,sinks=20"}) {
        const std::string text = eviction + pruning + quantization;
        SCOPED_TRACE(text);
        ++compositions;
        const CacheSpec spec = CacheSpec::parse(text);
        EXPECT_EQ(spec.to_string(), CacheSpec::parse(spec.to_string()).to_string());
        EXPECT_EQ(CacheSpec::parse(spec.to_string()), spec);
        ++seed;
        Composition c(150 + seed * 37 % 130, seed);
        AllocationCounter counter;
        SequenceCache cache(c.shape, spec, &counter);
        c.show(cache);
        CompressionTrace trace;
        cache.compress_prompt(0, c.prompt.view(), &trace);

        const auto tokens = static_cast<std::int64_t>(c.prompt.tokens);
        const CacheReport estimate = estimate_cache(c.shape, spec, tokens);
        EXPECT_EQ(cache.report().bytes, estimate.bytes);
        EXPECT_EQ(cache.report().bytes, counter.live());
        EXPECT_DOUBLE_EQ(cache.report().layers[0].tokens_kept, estimate.layers[0].tokens_kept);
        const auto budget = static_cast<std::size_t>(spec.eviction.budget_for(tokens));
        std::size_t kept = 0;
        for (const auto& head : trace.kept_tokens) {
          EXPECT_TRUE(std::is_sorted(head.begin(), head.end()));
          if (!spec.eviction.adakv) {
            EXPECT_EQ(head.size(), budget);
          }
          kept += head.size();
        }
        EXPECT_EQ(kept, 3 * budget);

        const std::vector<float> rows = c.prompt.normal(80 * 6 * kDim);
        for (std::size_t i = 0; i < 40; ++i) {
          cache.append(0, 1, rows.data() + i * 6 * kDim, rows.data() + i * 5 * kDim, 3 * kDim);
          cache.renew(0, 1, tokens + static_cast<std::int64_t>(i), rows.data() + i * 6 * kDim, i == 39);
        }
        EXPECT_EQ(cache.report().bytes, counter.live());
        if (spec.eviction.every > 0) {
          std::size_t held = 0;
          for (std::size_t h = 0; h < 3; ++h) held += cache.layer(0).store().positions(h).size();
          // Recent tokens stay whatever the budget is.
          const std::size_t recent = static_cast<std::size_t>(spec.recent_tokens()) + 64;
          EXPECT_LE(held, 3 * std::max<std::size_t>(
                                  recent, static_cast<std::size_t>(spec.eviction.budget_for(tokens + 40))));
        }
        save_cache(path, cache, 42, {});
        const LoadedCache loaded = load_cache(path, c.shape, 42, nullptr);
        EXPECT_EQ(loaded.cache.spec(), spec);
        const std::vector<float> q = c.prompt.normal(6 * kDim);
        EXPECT_EQ(attended(loaded.cache, q), attended(cache, q));
        EXPECT_LE(loaded.cache.report().bytes, cache.report().bytes);  // without spare blocks
      }
    }
  }
  EXPECT_GT(compositions, 400U);
  std::filesystem::remove(path);
  set_threads(available_cores());
}

TEST(PolicyCompositions, OptionsThatMeanNothingAreRefused) {
  for (const char* text :
       {"streaming:64,adakv", "streaming:64,chunk=4", "kvzip:64,every=8", "compactor:64,every=8",
        "snapkv:64,floor=0.5", "snapkv:64,adakv=1", "snapkv:64,adakv,floor=1.5", "tova:0",
        "keydiff:64,window=3", "expected:3", "rkv:64,kernel=4", "expected:64,norm=l3"}) {
    EXPECT_THROW((void)CacheSpec::parse(text), Error) << text;
  }
}

}  // namespace
}  // namespace thinkey
