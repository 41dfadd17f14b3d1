#include "backend/cpu/ops/prefill_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "backend/cpu/ops/each_highway_target.h"
#include "backend/cpu/ops/matmul.h"
#include "backend/cpu/ops/merge_attention.h"
#include "backend/cpu/ops/random_rows.h"
#include "base/parallel.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

struct Result {
  std::vector<float> out, lse;
};

struct Case {
  PrefillAttention chunk;
  std::vector<float> q, k, v;
  Precision precision = Precision::F32;

  // Slots past the last key hold NaNs: whoever multiplies them shows it.
  explicit Case(const PrefillAttention& c, unsigned seed = 1)
      : chunk(c),
        q(normal_numbers(c.queries * c.shape.query_heads * c.shape.head_dim, seed)),
        k(normal_numbers(c.shape.kv_heads * c.key_capacity * c.shape.head_dim, seed + 1)),
        v(normal_numbers(c.shape.kv_heads * c.key_capacity * c.shape.head_dim, seed + 2)) {
    for (std::size_t head = 0; head < c.shape.kv_heads; ++head) {
      const std::size_t begin = (head * c.key_capacity + c.keys) * c.shape.head_dim;
      const std::size_t end = (head + 1) * c.key_capacity * c.shape.head_dim;
      std::fill(k.begin() + begin, k.begin() + end, NAN);
      std::fill(v.begin() + begin, v.begin() + end, NAN);
    }
  }

  [[nodiscard]] Result run() const {
    Result r{std::vector<float>(q.size(), NAN),
             std::vector<float>(chunk.queries * chunk.shape.query_heads, NAN)};
    run(chunk, q.data(), r.out.data(), r.lse.data());
    return r;
  }
  bool run(const PrefillAttention& part, const float* queries, float* out, float* lse) const {
    if (precision == Precision::F32) {
      return prefill_attention(part, queries, k.data(), v.data(), out, lse);
    }
    const auto rounded = [](const std::vector<float>& x) {
      std::vector<bf16_bits> half(x.size());
      std::transform(x.begin(), x.end(), half.begin(), bf16_from_f32);
      return half;
    };
    return prefill_attention(part, queries, rounded(k).data(), rounded(v).data(), out, lse);
  }
};

// By definition, in double precision; keys before `first_key` are left out.
Result reference(const Case& c, std::size_t first_key = 0) {
  const AttentionShape& s = c.chunk.shape;
  const std::size_t dim = s.head_dim;
  const double scale = s.scale != 0 ? s.scale : 1 / std::sqrt(static_cast<double>(dim));
  Result r{std::vector<float>(c.q.size()), std::vector<float>(c.chunk.queries * s.query_heads)};
  std::vector<double> weights(c.chunk.keys);
  for (std::size_t i = 0; i < c.chunk.queries; ++i) {
    const std::size_t end = c.chunk.keys - c.chunk.queries + i + 1;
    std::size_t begin = first_key;
    if (s.sliding_window > 0 && end > s.sliding_window) begin = std::max(begin, end - s.sliding_window);
    for (std::size_t h = 0; h < s.query_heads; ++h) {
      const std::size_t row = i * s.query_heads + h;
      const std::size_t head = h / (s.query_heads / s.kv_heads) * c.chunk.key_capacity;
      double max = s.sinks != nullptr ? s.sinks[h] : -HUGE_VAL;
      for (std::size_t t = begin; t < end; ++t) {
        double dot = 0;
        for (std::size_t j = 0; j < dim; ++j) dot += double{c.q[row * dim + j]} * c.k[(head + t) * dim + j];
        weights[t] = dot * scale;
        if (s.softcap > 0) weights[t] = s.softcap * std::tanh(weights[t] / s.softcap);
        max = std::max(max, weights[t]);
      }
      double sum = s.sinks != nullptr ? std::exp(s.sinks[h] - max) : 0;
      for (std::size_t t = begin; t < end; ++t) sum += weights[t] = std::exp(weights[t] - max);
      for (std::size_t j = 0; j < dim; ++j) {
        double value = 0;
        for (std::size_t t = begin; t < end; ++t) value += weights[t] * c.v[(head + t) * dim + j];
        r.out[row * dim + j] = static_cast<float>(value / sum);
      }
      r.lse[row] = static_cast<float>(max + std::log(sum));
    }
  }
  return r;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return HUGE_VAL;
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(double{a[i]} - b[i]);
    worst = std::isnan(difference) ? HUGE_VAL : std::max(worst, difference);
  }
  return worst;
}

std::string name_of(const PrefillAttention& c) {
  const AttentionShape& s = c.shape;
  return "H " + std::to_string(s.query_heads) + "/" + std::to_string(s.kv_heads) + " D " +
         std::to_string(s.head_dim) + " n " + std::to_string(c.queries) + " T " + std::to_string(c.keys) +
         " capacity " + std::to_string(c.key_capacity) + " window " + std::to_string(s.sliding_window);
}

double tolerance(Precision precision) { return precision == Precision::F32 ? 2e-5 : 2e-2; }

void check(PrefillAttention shape, unsigned seed = 1) {
  Case c(shape, seed);
  const Result want = reference(c);
  for (const Precision precision : {Precision::F32, Precision::BF16}) {
    c.precision = precision;
    Result got = c.run();
    apply_sinks(c.chunk.shape, c.chunk.queries, got.out.data(), got.lse.data());
    EXPECT_LT(largest_difference(got.out, want.out), tolerance(precision)) << name_of(c.chunk);
    EXPECT_LT(largest_difference(got.lse, want.lse), tolerance(precision)) << name_of(c.chunk);
  }
}

PrefillAttention shape_of(std::size_t kv_heads, std::size_t group, std::size_t dim, std::size_t queries,
                          std::size_t keys, std::size_t spare = 0, std::size_t window = 0) {
  return {.shape = {.query_heads = kv_heads * group,
                    .kv_heads = kv_heads,
                    .head_dim = dim,
                    .sliding_window = window},
          .queries = queries,
          .keys = keys,
          .key_capacity = keys + spare};
}

// One thread, so that the many small calls need not wait for each other on a busy machine.
class PrefillAttentionTest : public ::testing::Test {
 protected:
  void SetUp() override { set_threads(1); }
  void TearDown() override { set_threads(before_); }

 private:
  int before_ = threads();
};

TEST_F(PrefillAttentionTest, EveryHeadSizeAndGroup) {
  for (const std::size_t dim : {8, 16, 48, 64, 80, 96, 128, 256, 512}) {
    for (const std::size_t group : {1, 2, 3, 4, 5, 8}) check(shape_of(2, group, dim, 40, 70, 3));
  }
}

TEST_F(PrefillAttentionTest, SizesAroundTheTiles) {
  for (const std::size_t keys : {1, 2, 63, 64, 65, 127, 129, 200, 511, 512, 513, 577}) {
    check(shape_of(1, 2, 16, std::min<std::size_t>(keys, 3), keys));
  }
  for (const std::size_t queries : {1, 2, 63, 64, 65, 127, 128, 129, 300}) {
    check(shape_of(1, 3, 16, queries, queries + 1));
  }
  check(shape_of(1, 1, 16, 700, 700, 100));
  check(shape_of(1, 300, 8, 3, 5));  // a group larger than a tile's rows
}

TEST_F(PrefillAttentionTest, SlidingWindows) {
  for (const std::size_t window : {1, 2, 50, 64, 65, 200, 512, 699, 700, 5000}) {
    check(shape_of(1, 4, 16, 150, 700, 4, window));
    check(shape_of(1, 2, 16, 400, 400, 0, window));
  }
}

TEST_F(PrefillAttentionTest, ScaleSoftCapAndSinks) {
  const std::vector<float> sinks = {-1.0F, 0.5F, 3.0F, 9.0F};
  for (const float scale : {0.0F, 0.3F}) {
    for (const float softcap : {0.0F, 0.7F, 50.0F}) {
      for (const bool with_sinks : {false, true}) {
        for (const std::size_t window : {0, 90}) {
          PrefillAttention chunk = shape_of(2, 2, 48, 70, 333, 5, window);
          chunk.shape.scale = scale;
          chunk.shape.softcap = softcap;
          if (with_sinks) chunk.shape.sinks = sinks.data();
          check(chunk, 3);
        }
      }
    }
  }
}

TEST_F(PrefillAttentionTest, RandomShapes) {
  std::mt19937 generator(42);
  const auto below = [&](std::size_t n) { return generator() % n; };
  for (unsigned i = 0; i < 40; ++i) {
    const std::size_t dims[] = {8, 16, 48, 64, 80, 128};
    const std::size_t keys = 1 + below(i % 4 == 0 ? 900 : 150);
    const std::size_t queries = 1 + below(std::min<std::size_t>(keys, 200));
    check(shape_of(1 + below(3), 1 + below(8), dims[below(6)], queries, keys, below(70),
                   below(2) == 0 ? 0 : 1 + below(keys + 20)),
          i);
  }
}

TEST_F(PrefillAttentionTest, EveryInstructionSet) {
  for_each_highway_target([] {
    check(shape_of(2, 3, 48, 70, 600, 1));
    check(shape_of(1, 4, 64, 33, 90, 0, 37));
    PrefillAttention capped = shape_of(1, 4, 64, 33, 90);
    capped.shape.softcap = 1.5F;
    check(capped);
  });
}

TEST_F(PrefillAttentionTest, LargeScoresStayFinite) {
  Case c(shape_of(1, 2, 16, 80, 200));
  for (float& x : c.q) x *= 300.0F;
  const Result want = reference(c);
  const Result got = c.run();
  // Scores of some 1000: their f32 roundings, 1e-4, show in the weights.
  EXPECT_LT(largest_difference(got.out, want.out), 2e-3);
  c.precision = Precision::BF16;
  for (const float x : c.run().out) ASSERT_TRUE(std::isfinite(x));
}

TEST_F(PrefillAttentionTest, ChunksEqualTheWholePrompt) {
  for (const Precision precision : {Precision::F32, Precision::BF16}) {
    for (const std::size_t window : {0, 90}) {
      PrefillAttention shape = shape_of(2, 2, 16, 333, 333, 7, window);
      Case whole(shape);
      whole.precision = precision;
      const Result want = whole.run();
      for (const std::size_t chunk : {1, 50, 128, 200}) {
        Result got{std::vector<float>(want.out.size(), NAN), std::vector<float>(want.lse.size(), NAN)};
        for (std::size_t begin = 0; begin < 333; begin += chunk) {
          shape.queries = std::min(chunk, 333 - begin);
          shape.keys = begin + shape.queries;
          whole.run(shape, whole.q.data() + begin * 64, got.out.data() + begin * 64,
                    got.lse.data() + begin * 4);
        }
        EXPECT_LT(largest_difference(got.out, want.out), tolerance(precision)) << chunk;
        EXPECT_LT(largest_difference(got.lse, want.lse), tolerance(precision)) << chunk;
      }
    }
  }
}

// flash-decoding's merge: each half weighs exp(its lse).
TEST_F(PrefillAttentionTest, HalvesMergeByLse) {
  constexpr std::size_t kSplit = 130;
  constexpr std::size_t kQueries = 20;
  constexpr std::size_t kDim = 16;
  for (const Precision precision : {Precision::F32, Precision::BF16}) {
    Case whole(shape_of(1, 2, kDim, kQueries, 300));
    whole.precision = precision;
    Case late = whole;  // sees the keys from kSplit on
    late.chunk.keys -= kSplit;
    late.k.erase(late.k.begin(), late.k.begin() + kSplit * kDim);
    late.v.erase(late.v.begin(), late.v.begin() + kSplit * kDim);
    late.chunk.key_capacity = late.chunk.keys;
    const Result b = late.run();
    const Result want = reference(whole);
    for (std::size_t i = 0; i < kQueries; ++i) {
      Case early = whole;  // query i alone, before the last of the early keys
      early.chunk.queries = 1;
      early.chunk.keys = kSplit;
      early.q.assign(whole.q.begin() + i * 2 * kDim, whole.q.begin() + (i + 1) * 2 * kDim);
      const Result a = early.run();
      for (std::size_t h = 0; h < 2; ++h) {
        const std::size_t row = i * 2 + h;
        const double weight = 1.0 / (1.0 + std::exp(double{b.lse[row]} - a.lse[h]));
        for (std::size_t j = 0; j < kDim; ++j) {
          const double merged = weight * a.out[h * kDim + j] + (1 - weight) * b.out[row * kDim + j];
          ASSERT_NEAR(merged, want.out[row * kDim + j], tolerance(precision));
        }
      }
    }
  }
}

TEST_F(PrefillAttentionTest, LseIsOptionalAndNoQueriesAreNoWork) {
  Case c(shape_of(1, 2, 16, 9, 20));
  const Result want = c.run();
  std::vector<float> out(want.out.size(), NAN);
  prefill_attention(c.chunk, c.q.data(), c.k.data(), c.v.data(), out.data());
  EXPECT_EQ(out, want.out);
  c.chunk.queries = 0;
  prefill_attention(c.chunk, nullptr, c.k.data(), c.v.data(), nullptr);
  c.chunk.keys = 0;
  const float* none = nullptr;
  prefill_attention(c.chunk, none, none, none, nullptr);
}

TEST_F(PrefillAttentionTest, ThreadsDoNotChangeTheResult) {
  for (const Precision precision : {Precision::F32, Precision::BF16}) {
    Case c(shape_of(3, 2, 32, 500, 600));
    c.precision = precision;
    set_threads(4);
    const Result first = c.run();
    for (int i = 0; i < 3; ++i) {
      const Result again = c.run();
      EXPECT_EQ(again.out, first.out);
      EXPECT_EQ(again.lse, first.lse);
    }
    set_threads(1);
    EXPECT_LT(largest_difference(c.run().out, first.out), tolerance(precision));
  }
}

// A tile in parts of a step of keys or two; windows and tails included.
TEST_F(PrefillAttentionTest, PartsGiveBitByBitTheSame) {
  for (const Precision precision : {Precision::F32, Precision::BF16}) {
    for (const std::size_t window : {std::size_t{0}, std::size_t{1400}}) {
      for (const int threads : {1, 4}) {  // more than the KV heads: rows are shared out
        set_threads(threads);
        Case c(shape_of(4, 2, 32, 50, 1777));
        c.precision = precision;
        c.chunk.shape.sliding_window = window;
        const Result whole = c.run();
        for (const std::size_t steps : {1U, 2U}) {
          std::vector<float> state(2 * whole.lse.size(), NAN);
          Result parts{std::vector<float>(whole.out.size(), NAN), std::vector<float>(whole.lse.size(), NAN)};
          c.chunk.state = state.data();
          c.chunk.steps = steps;
          std::size_t count = 1;
          for (c.chunk.begin = 0; c.run(c.chunk, c.q.data(), parts.out.data(), parts.lse.data()); ++count) {
            c.chunk.begin += steps;
            ASSERT_LT(count, 100U);
          }
          EXPECT_GT(count, 1U);
          EXPECT_EQ(parts.out, whole.out);
          EXPECT_EQ(parts.lse, whole.lse);
        }
        c.chunk.state = nullptr;
      }
    }
  }
}

TEST_F(PrefillAttentionTest, RefusesShapesThatDoNotFit) {
  const float x = 0;
  float out = 0;
  const auto attend = [&](const PrefillAttention& s) { prefill_attention(s, &x, &x, &x, &out); };
  EXPECT_THROW(attend({.shape = {3, 2, 8}, .queries = 1, .keys = 1, .key_capacity = 1}), Error);
  EXPECT_THROW(attend({.shape = {1, 0, 8}, .queries = 1, .keys = 1, .key_capacity = 1}), Error);
  EXPECT_THROW(attend({.shape = {1, 1, 0}, .queries = 1, .keys = 1, .key_capacity = 1}), Error);
  EXPECT_THROW(attend({.shape = {1, 1, 8}, .queries = 2, .keys = 1, .key_capacity = 1}), Error);
  EXPECT_THROW(attend({.shape = {1, 1, 8}, .queries = 1, .keys = 2, .key_capacity = 1}), Error);
  float state[2 * 129] = {};  // in parts: one tile, and some steps
  EXPECT_THROW(
      attend(
          {.shape = {1, 1, 8}, .queries = 129, .keys = 129, .key_capacity = 129, .state = state, .steps = 1}),
      Error);
  EXPECT_THROW(attend({.shape = {1, 1, 8}, .queries = 1, .keys = 1, .key_capacity = 1, .state = state}),
               Error);
}

}  // namespace
}  // namespace thinkey
