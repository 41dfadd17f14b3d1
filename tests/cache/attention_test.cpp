// Attention over the thin cache equals a naive double-precision reference, for every shape and every
// composition of stages; reported bytes equal allocated bytes in each.
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "backend/cpu/store/block_codec.h"
#include "backend/cpu/store/block_quads_vnni.h"
#include "cache/random_prompt.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

using test::RandomPrompt;
using test::ReferenceHead;

// Of logits and weights of 16 bits, for unit normal keys, values and queries.
constexpr double kFixedTolerance = 1e-3;
// Of 8 bits. How little that is beside the codes' own rounding: CodesAreWhatKiviCosts.
constexpr double kByteTolerance = 4e-2;

struct Case {
  std::size_t group, kv_heads, dim, tokens;
  std::string spec;
  std::size_t appended = 0;
  std::size_t queries = 1;
  std::size_t window = 0;  // sliding
  float scale = 0.0F, softcap = 0.0F;
  bool sinks = false;
};

void check(const Case& c, std::uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << "G " << c.group << " Hkv " << c.kv_heads << " D " << c.dim << " T "
                                    << c.tokens << " " << c.spec << " + " << c.appended << ", " << c.queries
                                    << " queries, window " << c.window << ", scale " << c.scale << ", cap "
                                    << c.softcap << (c.sinks ? ", sinks" : "") << ", seed " << seed);
  std::vector<float> sinks;
  for (std::size_t h = 0; h < c.group * c.kv_heads; ++h) sinks.push_back(static_cast<float>(h % 7) - 1.0F);
  const CacheShape shape = CacheShape::uniform(1, {.query_heads = c.group * c.kv_heads,
                                                   .kv_heads = c.kv_heads,
                                                   .head_dim = c.dim,
                                                   .sliding_window = c.window,
                                                   .scale = c.scale,
                                                   .softcap = c.softcap,
                                                   .sinks = c.sinks ? sinks.data() : nullptr});
  RandomPrompt prompt(shape.layers[0], c.tokens, seed);
  const CacheSpec spec = CacheSpec::parse(c.spec);
  AllocationCounter counter;
  SequenceCache cache(shape, spec, &counter);
  CompressionTrace trace;
  cache.compress_prompt(0, prompt.view(), &trace);
  const std::size_t estimate = estimate_cache(shape, spec, static_cast<std::int64_t>(c.tokens)).bytes;
  if (spec.channels.mixed()) {
    EXPECT_TRUE(spec.channels.adaptive || cache.report().bytes <= estimate);
  } else if (!spec.channels.adaptive) {
    EXPECT_EQ(cache.report().bytes, estimate);
  }

  const std::size_t kv_width = c.kv_heads * c.dim;
  const std::vector<float> new_k = prompt.normal(c.appended * kv_width);
  const std::vector<float> new_v = prompt.normal(c.appended * kv_width);
  // In pieces, as decode and chat turns do.
  const std::size_t piece = 1 + seed % 50;
  for (std::size_t done = 0; done < c.appended;) {
    const std::size_t n = std::min<std::size_t>(c.appended - done, piece);
    cache.append(0, n, new_k.data() + done * kv_width, new_v.data() + done * kv_width, kv_width);
    done += n;
  }
  EXPECT_EQ(cache.next_position(0), static_cast<std::int64_t>(c.tokens + c.appended));
  EXPECT_EQ(cache.report().bytes, counter.live());

  std::vector<ReferenceHead> heads;
  const std::size_t reach = c.window == 0 ? c.tokens : std::min(c.tokens, c.window);
  const auto budget = static_cast<std::size_t>(spec.eviction.budget_for(static_cast<std::int64_t>(reach)));
  for (std::size_t h = 0; h < c.kv_heads; ++h) {
    EXPECT_EQ(trace.kept_tokens[h].size(), budget);
    EXPECT_TRUE(std::is_sorted(trace.kept_tokens[h].begin(), trace.kept_tokens[h].end()));
    CacheSpec layer = spec;
    if (c.window > 0) layer.turbo.sinks = 0;
    heads.emplace_back(test::cpu_heads(cache, 0)[h], layer, c.dim);
    heads[h].fill(trace.kept_tokens[h], prompt.k.data() + h * c.tokens * c.dim,
                  prompt.v.data() + h * c.tokens * c.dim);
    for (std::size_t i = 0; i < c.appended; ++i) {
      const std::size_t at = i * kv_width + h * c.dim;
      if (c.window > 0 && i % piece == 0) {
        heads[h].forget_before(static_cast<std::int64_t>(c.tokens + i + 1) -
                               static_cast<std::int64_t>(c.window));
      }
      heads[h].append(static_cast<std::int64_t>(c.tokens + i), new_k.data() + at, new_v.data() + at);
    }
  }

  const std::size_t q_heads = shape.query_heads();
  const std::vector<float> q = prompt.normal(c.queries * q_heads * c.dim);
  const auto first = static_cast<std::int64_t>(c.tokens + c.appended);
  const auto verify = [&](double tolerance) {
    std::vector<float> out(q.size());
    std::vector<float> lse(c.queries * q_heads);
    cache.attend(0, c.queries, first, q.data(), out.data(), lse.data());
    apply_sinks(shape.layers[0], c.queries, out.data(), lse.data());
    std::vector<double> expected(c.dim);
    double worst = 0.0;
    for (std::size_t i = 0; i < c.queries; ++i) {
      for (std::size_t h = 0; h < q_heads; ++h) {
        const std::size_t at = i * q_heads + h;
        const double expected_lse = heads[h / c.group].attend(
            shape.layers[0], q.data() + at * c.dim, first + static_cast<std::int64_t>(i), h, expected);
        if (std::isinf(expected_lse)) {
          EXPECT_EQ(lse[at], -std::numeric_limits<float>::infinity());
        } else {
          EXPECT_NEAR(lse[at], expected_lse, tolerance);
        }
        for (std::size_t j = 0; j < c.dim; ++j) {
          worst = std::max(worst, std::abs(out[at * c.dim + j] - expected[j]));
        }
      }
    }
    EXPECT_LT(worst, tolerance);
  };
  // Rows meet queries and weights rounded to 15 or 16 bits, codes of 4 and 2 bits rounded to 8 where the CPU
  // multiplies bytes; its other kernels must read the same codes.
  const std::int64_t targets = hwy::SupportedTargets();
  bool bytes = false;
  for (const HeadStore& head : test::cpu_heads(cache, 0)) {
    const BlockLayout& layout = head.thin().layout();
    const auto short_codes = [](ElementFormat format) { return element_bits(format) < 8; };
    bytes |= short_codes(layout.value_format);
    for (const KeyRun& run : layout.key_runs) bytes |= run.channels > 0 && short_codes(run.format);
  }
  bytes &= cpu_multiplies_quads() && (targets & HWY_AVX3) != 0;
  verify(bytes ? kByteTolerance : kFixedTolerance);
  if (!bytes || targets == HWY_AVX3) return;
  hwy::SetSupportedTargetsForTest(targets & ~HWY_AVX3);
  verify(kFixedTolerance);
  hwy::SetSupportedTargetsForTest(targets);
}

// Every stage in a few forms; a composition takes one of each row.
const std::vector<std::string> kEvictions = {"",
                                             "snapkv:64",
                                             "snapkv:25%,kernel=7,pool=max",
                                             "h2o:48,window=8",
                                             "h2o:40,observe=window",
                                             "pyramidkv:50",
                                             "streaming:40,sinks=3"};
const std::vector<std::string> kPrunings = {"",
                                            "think:0.4,form=paper",
                                            "think:keys=0.6,values=0.3,recent=0,form=paper",
                                            "think:values=0.5",
                                            "think:0.7,bias,form=paper",
                                            "think:0.6,adaptive,recent=17,form=paper",
                                            "think:0.75",
                                            "think:0.6,values=0.2,bias,adaptive"};
const std::vector<std::string> kQuantizations = {"",
                                                 "kivi:8",
                                                 "kivi:4,residual=32",
                                                 "kivi:2,group=64,residual=0",
                                                 "turbo:4",
                                                 "turbo:keys=3,values=2,sinks=0,recent=0",
                                                 "turbo:keys=8,values=6,recent=64,sinks=32"};

std::string compose(const std::string& a, const std::string& b, const std::string& c) {
  std::string spec;
  const bool excluded = c.starts_with("turbo") && !b.empty() && CacheSpec::parse(b).channels.mixed();
  for (const std::string& stage : {a, excluded ? "" : b, c}) {
    if (!stage.empty()) spec += (spec.empty() ? "" : "+") + stage;
  }
  return spec.empty() ? "full" : spec;
}

TEST(CacheAttention, EveryCompositionOfStages) {
  std::mt19937_64 random(3);
  for (const std::string& eviction : kEvictions) {
    for (const std::string& pruning : kPrunings) {
      for (const std::string& quantization : kQuantizations) {
        Case c{1 + random() % 8, 1 + random() % 2, 32 * (1 + random() % 3), 150 + random() % 200,
               compose(eviction, pruning, quantization)};
        c.appended = random() % 100;
        check(c, random());
        // What families add to it: each alone, and all together.
        const std::uint64_t form = random() % 5;
        if (form == 0 || form == 4) c.scale = 1.7F / std::sqrt(static_cast<float>(c.dim));
        if (form == 1 || form == 4) c.softcap = 2.0F;
        if (form == 2 || form == 4) c.sinks = true;
        if (form == 3 || form == 4) c.window = 60;
        check(c, random());
      }
    }
  }
}

TEST(CacheAttention, EveryHeadDimension) {
  for (const std::size_t dim : {8U, 80U, 96U, 128U, 256U, 512U}) {
    for (const std::string spec :
         {"full", "snapkv:64+think:0.4,form=paper", "think:0.6,values=0.3,form=paper+kivi:8,residual=0",
          "kivi:4,residual=32", "think:0.5+kivi:2,residual=0", "turbo:keys=5,values=3",
          "think:0.4,form=paper+turbo:keys=2,values=1"}) {
      check({.group = 2, .kv_heads = 2, .dim = dim, .tokens = 150, .spec = spec, .appended = 40}, dim);
    }
  }
}

TEST(CacheAttention, RefusesHeadsThatHaveNoKernel) {
  const auto make = [](const AttentionShape& shape) {
    SequenceCache cache(CacheShape::uniform(2, shape), CacheSpec{});
  };
  make({.query_heads = 4, .kv_heads = 2, .head_dim = 512});
  EXPECT_THROW(make({.query_heads = 4, .kv_heads = 2, .head_dim = 520}), Error);
  EXPECT_THROW(make({.query_heads = 4, .kv_heads = 2, .head_dim = 20}), Error);
  EXPECT_THROW(make({.query_heads = 4, .kv_heads = 3, .head_dim = 64}), Error);
  EXPECT_THROW(make({.query_heads = 4, .kv_heads = 0, .head_dim = 64}), Error);
}

TEST(CacheAttention, EdgesOfLength) {
  for (const std::string spec :
       {"full", "snapkv:64", "think:0.4,form=paper", "snapkv:64,window=16+think:0.6,form=paper",
        "kivi:2,residual=32", "snapkv:48,kernel=7,pool=max+think:0.3,recent=0,form=paper+kivi:4,residual=0",
        "think:0.8,bias", "turbo:3", "snapkv:64+turbo:keys=4,values=2,recent=5",
        "snapkv:64+think:0.6,recent=0,adaptive+kivi:4,residual=0"}) {
    for (const std::size_t tokens : {1U, 2U, 31U, 32U, 33U, 47U, 63U, 64U, 65U, 97U, 300U}) {
      check({2, 2, 64, tokens, spec}, tokens);
      check({4, 1, 40, tokens, spec, 70}, tokens + 1);
    }
  }
  check({8, 1, 256, 3000, "snapkv:1000+think:0.7", 40}, 1);
  check({1, 1, 32, 3000, "h2o:32+think:keys=0.5,values=0.5,form=paper+kivi:2,residual=0", 40}, 2);
}

TEST(CacheAttention, RandomShapes) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 60; ++i) {
    Case c{};
    c.group = 1 + random() % 8;
    c.kv_heads = 1 + random() % 3;
    c.dim = 8 * (1 + random() % 32);
    c.tokens = 1 + random() % (i % 10 == 0 ? 3000 : 400);
    c.spec = compose(kEvictions[random() % kEvictions.size()], kPrunings[random() % kPrunings.size()],
                     kQuantizations[random() % kQuantizations.size()]);
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
    check({4, 2, 64, 200, "snapkv:100+think:0.4,form=paper", 40}, 3);
    check({3, 1, 24, 77, "full", 3}, 4);
    check({1, 2, 128, 90, "think:0.6,form=paper", 70, 5, 50}, 5);
    check({4, 2, 64, 200, "think:0.4,bias,form=paper", 40, 3, 0, 0.2F, 1.5F, true}, 5);
    check({3, 2, 128, 290, "think:0.7", 70}, 5);
    check({2, 1, 72, 150, "think:0.2,bias+kivi:4,residual=0", 70}, 5);
    for (const int bits : {8, 6, 5, 4, 3, 2, 1}) {
      check({3, 2, 96, 200, "turbo:" + std::to_string(bits), 70}, 7);
      check({1, 1, 40, 100, "think:0.3,values=0.2,bias,form=paper+turbo:" + std::to_string(bits), 40, 3, 50},
            8);
    }
    for (const char* bits : {"kivi:8", "kivi:4", "kivi:2"}) {
      check({4, 1, 96, 200, std::string("think:keys=0.3,values=0.3,form=paper+") + bits + ",residual=32", 70},
            6);
    }
  }
  hwy::SetSupportedTargetsForTest(0);
}

// Attention against numbers that were never rounded. A few channels are large in all keys, as in real models.
struct Unrounded {
  static constexpr std::size_t kDim = 64;
  static constexpr std::size_t kTokens = 1024;
  static constexpr std::size_t kHeads = 8;
  const CacheShape shape = CacheShape::uniform(1, {kHeads, 1, kDim});
  RandomPrompt prompt{shape.layers[0], kTokens, 17};
  std::vector<float> q = prompt.normal(kHeads * kDim);

  Unrounded() {
    for (std::size_t i = 0; i < prompt.k.size(); ++i) prompt.k[i] *= i % kDim < 3 ? 8.0F : 1.0F;
    for (std::size_t i = 0; i < q.size(); ++i) q[i] *= i % kDim < 3 ? 0.5F : 4.0F;
  }

  [[nodiscard]] std::vector<float> ours(const CacheSpec& spec) const {
    SequenceCache cache(shape, spec);
    cache.compress_prompt(0, prompt.view());
    std::vector<float> out(q.size());
    cache.attend(0, 1, kTokens, q.data(), out.data());
    return out;
  }

  // In double precision; key(t, i) and value(t, i).
  template <typename Key, typename Value>
  [[nodiscard]] std::vector<double> exact(const Key& key, const Value& value) const {
    std::vector<double> out(q.size(), 0.0);
    for (std::size_t h = 0; h < kHeads; ++h) {
      double total = 0.0;
      for (std::size_t t = 0; t < kTokens; ++t) {
        double dot = 0.0;
        for (std::size_t i = 0; i < kDim; ++i) dot += key(t, i) * static_cast<double>(q[h * kDim + i]);
        const double weight = std::exp(dot / std::sqrt(static_cast<double>(kDim)));
        total += weight;
        for (std::size_t i = 0; i < kDim; ++i) out[h * kDim + i] += weight * value(t, i);
      }
      for (std::size_t i = 0; i < kDim; ++i) out[h * kDim + i] /= total;
    }
    return out;
  }
  [[nodiscard]] std::vector<double> exact() const {
    return exact([&](std::size_t t, std::size_t i) { return static_cast<double>(prompt.k[t * kDim + i]); },
                 [&](std::size_t t, std::size_t i) { return static_cast<double>(prompt.v[t * kDim + i]); });
  }

  template <typename T>
  [[nodiscard]] double error(const std::vector<T>& out) const {
    const std::vector<double> expected = exact();
    double sum = 0.0;
    for (std::size_t i = 0; i < out.size(); ++i) sum += std::pow(out[i] - expected[i], 2);
    return std::sqrt(sum);
  }
};

// No farther away than exact arithmetic over f16 would be.
TEST(CacheAttention, FixedPointIsAsCloseAsF16) {
  const Unrounded unrounded;
  const auto half = [](const std::vector<float>& x) {
    return [&x](std::size_t t, std::size_t i) {
      return static_cast<double>(f32_from_f16(f16_from_f32(x[t * Unrounded::kDim + i])));
    };
  };
  const double f16 = unrounded.error(unrounded.exact(half(unrounded.prompt.k), half(unrounded.prompt.v)));
  const double ours = unrounded.error(unrounded.ours(CacheSpec{}));
  EXPECT_LE(ours, 1.25 * f16) << ours << " against " << f16;
}

// Rounding queries and weights adds little to what exact arithmetic over the same codes would lose.
TEST(CacheAttention, CodesAreWhatKiviCosts) {
  const Unrounded unrounded;
  constexpr std::size_t kDim = Unrounded::kDim;
  for (const std::size_t bits : {8U, 4U, 2U}) {
    const ElementFormat format = bits == 8   ? ElementFormat::Q8
                                 : bits == 4 ? ElementFormat::Q4
                                             : ElementFormat::Q2;
    const BlockLayout layout(uniform_keys(kDim, format), kDim, format);
    std::vector<std::byte> block(layout.bytes);
    std::vector<StagedBlock> read(Unrounded::kTokens / kBlockTokens);
    for (std::size_t b = 0; b < read.size(); ++b) {
      StagedBlock staged;
      staged.reset(layout);
      staged.tokens = kBlockTokens;
      for (std::size_t t = 0; t < kBlockTokens; ++t) {
        for (std::size_t c = 0; c < kDim; ++c) {
          const std::size_t at = (b * kBlockTokens + t) * kDim + c;
          staged.keys[c * kBlockTokens + t] = unrounded.prompt.k[at];
          staged.values[t * kDim + c] = unrounded.prompt.v[at];
        }
      }
      encode_block(layout, staged, block.data());
      decode_block(layout, block.data(), read[b]);
    }
    const double codes = unrounded.error(unrounded.exact(
        [&](std::size_t t, std::size_t i) {
          return read[t / kBlockTokens].keys[i * kBlockTokens + t % kBlockTokens];
        },
        [&](std::size_t t, std::size_t i) {
          return read[t / kBlockTokens].values[t % kBlockTokens * kDim + i];
        }));
    const std::string spec = "kivi:" + std::to_string(bits) + ",residual=0";
    const double ours = unrounded.error(unrounded.ours(CacheSpec::parse(spec)));
    EXPECT_LE(ours, 1.05 * codes) << spec << ": " << ours << " against " << codes;
  }
}

TEST(CacheAttention, SameAnswerForAThreadCountAlways) {
  const CacheShape shape = CacheShape::uniform(1, {8, 2, 64});
  RandomPrompt prompt(shape.layers[0], 2500, 11);
  SequenceCache cache(shape, CacheSpec::parse("think:0.4,form=paper"));
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
  const CacheShape shape = CacheShape::uniform(1, {4, 2, 32});
  RandomPrompt random(shape.layers[0], 1, 5);
  const CacheSpec spec = CacheSpec::parse("think:0.5,form=paper");
  SequenceCache cache(shape, spec);
  std::vector<std::vector<float>> keys;
  std::vector<std::vector<float>> values;
  for (int i = 0; i < 70; ++i) {
    keys.push_back(random.normal(64));
    values.push_back(random.normal(64));
    cache.append(0, 1, keys.back().data(), values.back().data(), 64);
  }
  const auto q = random.normal(4 * 32);
  std::vector<float> out(q.size());
  cache.attend(0, 1, 69, q.data(), out.data());
  std::vector<double> expected(32);
  for (std::size_t h = 0; h < 4; ++h) {
    ReferenceHead head(test::cpu_heads(cache, 0)[h / 2], spec, 32);
    for (int i = 0; i < 70; ++i) head.append(i, keys[i].data() + h / 2 * 32, values[i].data() + h / 2 * 32);
    head.attend(shape.layers[0], q.data() + h * 32, 69, h, expected);
    for (std::size_t j = 0; j < 32; ++j) EXPECT_NEAR(out[h * 32 + j], expected[j], kFixedTolerance);
  }
}

TEST(CacheAttention, MergeJoinsDisjointKeys) {
  const CacheShape shape = CacheShape::uniform(1, {4, 2, 32});
  RandomPrompt whole(shape.layers[0], 200, 9);
  const auto part = [&](std::size_t begin, std::size_t end) {
    RandomPrompt p(shape.layers[0], end - begin, 1);
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
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_NEAR(out_a[i], all[i], kFixedTolerance);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(lse_a[i], lse_all[i], 1e-5);
}

}  // namespace
}  // namespace thinkey
