// What policies decide on equals its definition in double precision, for every form of a layer's logits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <vector>

#include "cache/random_prompt.h"
#include "cache/think.h"

namespace thinkey {
namespace {

using test::RandomPrompt;

constexpr std::size_t kTokens = 1100;  // more than one tile of keys
constexpr std::size_t kDim = 16;
const std::vector<float> kSinks = {1.0F, 6.0F, -2.0F, 3.0F};

// Each form alone, then all together.
std::vector<AttentionShape> forms() {
  const AttentionShape plain{.query_heads = 4, .kv_heads = 2, .head_dim = kDim};
  std::vector<AttentionShape> all(6, plain);
  all[1].scale = all[5].scale = 0.6F;
  all[2].softcap = all[5].softcap = 1.5F;
  all[3].sinks = all[5].sinks = kSinks.data();
  all[4].sliding_window = all[5].sliding_window = 300;
  return all;
}

double logit(const AttentionShape& shape, const float* q, const float* k) {
  double dot = 0.0;
  for (std::size_t j = 0; j < kDim; ++j) dot += static_cast<double>(q[j]) * k[j];
  dot *= shape.scale != 0.0F ? shape.scale : 1.0 / std::sqrt(static_cast<double>(kDim));
  return shape.softcap > 0.0F ? shape.softcap * std::tanh(dot / shape.softcap) : dot;
}

// The weights query head h at `position` gives to the keys at these positions, and the log-sum-exp.
std::vector<double> weights(const RandomPrompt& prompt, const float* q, std::size_t h, std::size_t position,
                            const std::vector<std::int32_t>& keys, double* lse = nullptr) {
  const AttentionShape& shape = prompt.shape;
  std::vector<double> row(keys.size(), 0.0);
  double total = shape.sinks != nullptr ? std::exp(static_cast<double>(shape.sinks[h])) : 0.0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const auto t = static_cast<std::size_t>(keys[i]);
    if (t > position || (shape.sliding_window > 0 && t + shape.sliding_window <= position)) continue;
    row[i] = std::exp(logit(shape, q, prompt.k.data() + (h / 2 * prompt.tokens + t) * kDim));
    total += row[i];
  }
  for (double& w : row) w /= total;
  if (lse != nullptr) *lse = std::log(total);
  return row;
}

std::unique_ptr<LayerStore> stored(const AttentionShape& shape) {
  return default_stores().make(shape, {}, nullptr);
}

const float* query(const RandomPrompt& prompt, std::size_t t, std::size_t h) {
  return prompt.q.data() + (t * prompt.shape.query_heads + h) * kDim;
}

std::vector<std::int32_t> up_to(std::size_t n) {
  std::vector<std::int32_t> all(n);
  for (std::size_t t = 0; t < n; ++t) all[t] = static_cast<std::int32_t>(t);
  return all;
}

TEST(Statistics, AttentionSums) {
  for (const AttentionShape& shape : forms()) {
    const RandomPrompt prompt(shape, kTokens, 3);
    QueryRange range = last_queries(prompt.view(), 70);
    std::vector<float> lse(70 * 4);
    for (std::size_t h = 0; h < 4; ++h) {
      std::vector<double> expected(kTokens, 0.0);
      for (std::size_t i = 0; i < 70; ++i) {
        const std::size_t t = kTokens - 70 + i;
        double sum = 0.0;
        const std::vector<double> row = weights(prompt, query(prompt, t, h), h, t, up_to(kTokens), &sum);
        for (std::size_t k = 0; k < kTokens; ++k) expected[k] += row[k];
        lse[i * 4 + h] = static_cast<float>(sum);
      }
      for (const bool known : {false, true}) {
        range.lse = known ? lse.data() : nullptr;
        if (known && h < 3) continue;  // all heads' must be known
        std::vector<float> sums(4 * kTokens, 0.0F);
        stored(shape)->add_attention_sums(range, kTokens, sums);
        for (std::size_t k = 0; k < kTokens; ++k) {
          ASSERT_NEAR(sums[h * kTokens + k], expected[k], 1e-5) << h << " " << k << " " << known;
        }
      }
    }
  }
}

TEST(Statistics, ValueScores) {
  for (const AttentionShape& shape : forms()) {
    const RandomPrompt prompt(shape, 400, 4);
    std::vector<std::int32_t> kept;
    for (std::int32_t t = 0; t < 400; t += t < 380 ? 3 : 1) kept.push_back(t);
    for (std::size_t h = 0; h < 2; ++h) {
      std::vector<double> energy(kDim, 0.0);
      for (std::size_t t = 392; t < 400; ++t) {
        for (std::size_t head = 2 * h; head < 2 * h + 2; ++head) {
          const std::vector<double> row = weights(prompt, query(prompt, t, head), head, t, kept);
          for (std::size_t j = 0; j < kDim; ++j) {
            double out = 0.0;
            for (std::size_t i = 0; i < kept.size(); ++i) {
              out += row[i] * prompt.v[(h * 400 + static_cast<std::size_t>(kept[i])) * kDim + j];
            }
            energy[j] += out * out / 16.0;
          }
        }
      }
      const std::vector<float> scores =
          think_value_scores(stored(shape)->output_energy(prompt.view(), 8, {kept, kept})[h]);
      for (std::size_t j = 0; j < kDim; ++j) EXPECT_NEAR(scores[j], std::sqrt(energy[j]), 1e-5);
    }
  }
}

// Evicting again keeps the tokens that the remembered queries weigh most.
TEST(Statistics, VotesOfRememberedQueries) {
  constexpr std::size_t kPrompt = 400;
  constexpr std::size_t kWindow = 8;
  for (const AttentionShape& shape : forms()) {
    RandomPrompt prompt(shape, kPrompt, 5);
    const CacheSpec spec =
        CacheSpec::parse("snapkv:100,window=8,kernel=1,every=1000+think:values=0.3,recent=0");
    SequenceCache cache(CacheShape::uniform(1, shape), spec);
    CompressionTrace trace;
    cache.compress_prompt(0, prompt.view(), &trace);
    const std::vector<float> q = prompt.normal(kWindow * 4 * kDim);
    const std::vector<float> kv = prompt.normal(20 * 2 * kDim);
    cache.append(0, 20, kv.data(), kv.data(), 2 * kDim);
    RandomPrompt longer = prompt;  // the same keys, and those appended
    longer.tokens = kPrompt + 20;
    longer.k.resize(2 * longer.tokens * kDim);
    for (std::size_t h = 0; h < 2; ++h) {
      std::copy_n(prompt.k.data() + h * kPrompt * kDim, kPrompt * kDim,
                  longer.k.data() + h * longer.tokens * kDim);
      for (std::size_t t = 0; t < 20; ++t) {
        std::copy_n(kv.data() + (t * 2 + h) * kDim, kDim,
                    longer.k.data() + (h * longer.tokens + kPrompt + t) * kDim);
      }
    }
    const std::size_t first = longer.tokens - kWindow;
    cache.renew(0, kWindow, static_cast<std::int64_t>(first), q.data(), true);

    for (std::size_t h = 0; h < 2; ++h) {
      std::vector<std::int32_t> held = trace.kept_tokens[h];
      for (std::size_t t = kPrompt; t < longer.tokens; ++t) held.push_back(static_cast<std::int32_t>(t));
      std::vector<double> votes(held.size(), 0.0);
      for (std::size_t i = 0; i < kWindow; ++i) {
        for (std::size_t g = 0; g < 2; ++g) {
          const std::vector<double> row =
              weights(longer, q.data() + (i * 4 + 2 * h + g) * kDim, 2 * h + g, first + i, held);
          for (std::size_t t = 0; t < held.size(); ++t) votes[t] += row[t];
        }
      }
      // Of the thin tokens the best stay beside the recent ones, 80 of 100.
      std::vector<std::size_t> order(100);
      for (std::size_t t = 0; t < 100; ++t) order[t] = t;
      std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return votes[a] > votes[b]; });
      std::set<std::int32_t> expected(held.begin() + 100, held.end());
      for (std::size_t t = 0; t < 80; ++t) expected.insert(held[order[t]]);
      std::set<std::int32_t> found;
      const HeadStore& head = test::cpu_heads(cache, 0)[h];
      for (const Segment* segment : {&head.thin(), &head.recent()}) {
        for (std::size_t b = 0; b < segment->blocks(); ++b) {
          const std::byte* block = segment->block(b);
          const std::size_t tokens = segment->layout().count(block);
          for (std::size_t t = 0; t < tokens; ++t) found.insert(segment->layout().position(block, t));
        }
      }
      EXPECT_EQ(found, expected) << "KV head " << h << ", window " << shape.sliding_window;
    }
  }
}

}  // namespace
}  // namespace thinkey
