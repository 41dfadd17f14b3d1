// The cache by itself, forks of sessions, and answers step by step.
#include "thinkey/kv_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <tuple>
#include <vector>

#include "model/fixture.h"
#include "thinkey/error.h"
#include "thinkey/generate.h"
#include "thinkey/session.h"

namespace thinkey {
namespace {

using testing::expected;
using testing::fixture_path;
using ::testing::HasSubstr;

constexpr std::size_t kHeads = 4, kKvHeads = 2, kDim = 16;

KvShape shape(std::size_t layers, const KvLayer& layer = {}) {
  return {.query_heads = kHeads,
          .kv_heads = kKvHeads,
          .head_dim = kDim,
          .layers = std::vector<KvLayer>(layers, layer)};
}

struct Tensors {
  Tensors(std::size_t tokens, std::uint64_t seed) : n(tokens), random(seed) {
    for (std::vector<float>* x : {&q, &k, &v}) {
      std::normal_distribution<float> gauss;
      x->resize(n * (x == &q ? kHeads : kKvHeads) * kDim);
      for (float& number : *x) number = gauss(random);
    }
    out.resize(q.size());
  }
  [[nodiscard]] KvTokens view() const { return {.n = n, .q = q.data(), .k = k.data(), .v = v.data()}; }

  std::size_t n;
  std::mt19937_64 random;
  std::vector<float> q, k, v, out;
};

void expect_near(const std::vector<float>& got, const std::vector<float>& wanted, float tolerance) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], wanted[i], tolerance) << i;
}

// Attention over all of `n` tokens, the last query's, with a sink that takes a share.
std::vector<float> exact_last(const Tensors& t, float sink) {
  std::vector<float> out(kHeads * kDim, 0.0F);
  for (std::size_t h = 0; h < kHeads; ++h) {
    double sum = std::exp(static_cast<double>(sink));
    std::vector<double> rows(kDim, 0.0);
    const float* q = t.q.data() + ((t.n - 1) * kHeads + h) * kDim;
    for (std::size_t i = 0; i < t.n; ++i) {
      const std::size_t row = (h / (kHeads / kKvHeads) * t.n + i) * kDim;
      double logit = 0.0;
      for (std::size_t c = 0; c < kDim; ++c) logit += static_cast<double>(q[c]) * t.k[row + c] / 4.0;
      sum += std::exp(logit);
      for (std::size_t c = 0; c < kDim; ++c) rows[c] += std::exp(logit) * t.v[row + c];
    }
    for (std::size_t c = 0; c < kDim; ++c) out[h * kDim + c] = static_cast<float>(rows[c] / sum);
  }
  return out;
}

TEST(KvCache, AttendsWithSinksOverPromptTurnsAndSteps) {
  const Tensors whole(90, 1);
  const std::vector<float> wanted = exact_last(whole, 0.5F);
  // The same tokens in one call, and in three: a prompt, a turn, a step.
  for (const std::vector<std::size_t>& parts :
       {std::vector<std::size_t>{90}, std::vector<std::size_t>{50, 39, 1}}) {
    KvCache cache(shape(1, {.sinks = true}), CacheSpec::parse("full"));
    cache.set_sinks(0, std::vector<float>(kHeads, 0.5F));
    std::size_t first = 0;
    std::vector<float> out;
    for (const std::size_t n : parts) {
      Tensors part(n, 2);
      for (std::size_t t = 0; t < n; ++t) {
        std::copy_n(whole.q.data() + (first + t) * kHeads * kDim, kHeads * kDim,
                    part.q.data() + t * kHeads * kDim);
        for (std::size_t h = 0; h < kKvHeads; ++h) {
          const std::size_t from = (h * whole.n + first + t) * kDim, to = (h * n + t) * kDim;
          std::copy_n(whole.k.data() + from, kDim, part.k.data() + to);
          std::copy_n(whole.v.data() + from, kDim, part.v.data() + to);
        }
      }
      cache.forward(0, part.view(), part.out.data());
      out.assign(part.out.end() - kHeads * kDim, part.out.end());
      first += n;
    }
    expect_near(out, wanted, 2e-3F);
    EXPECT_EQ(cache.tokens_seen(), 90);
  }
}

TEST(KvCache, SequencesGoOnTogetherAsAlone) {
  const CacheSpec spec = CacheSpec::parse("snapkv:40,every=4+think:0.25,recent=8,form=paper");
  std::vector<KvCache> together, alone;
  for (const std::uint64_t seed : {3U, 4U}) {
    Tensors prompt(60 + seed, seed);
    for (std::vector<KvCache>* caches : {&together, &alone}) {
      caches->emplace_back(shape(1), spec);
      caches->back().forward(0, prompt.view(), prompt.out.data());
    }
  }
  std::vector<KvCache*> both = {&together[0], &together[1]};
  for (std::uint64_t step = 0; step < 10; ++step) {
    Tensors a(1, 10 + step), b(1, 50 + step), rows(2, 0);
    for (const auto& [to, x, y] : {std::tuple{&rows.q, &a.q, &b.q}, std::tuple{&rows.k, &a.k, &b.k},
                                   std::tuple{&rows.v, &a.v, &b.v}}) {
      *to = *x;
      to->insert(to->end(), y->begin(), y->end());
    }
    alone[0].forward(0, a.view(), a.out.data());
    alone[1].forward(0, b.view(), b.out.data());
    KvCache::forward_together(both, 0, rows.q.data(), rows.k.data(), rows.v.data(), rows.out.data());
    a.out.insert(a.out.end(), b.out.begin(), b.out.end());
    EXPECT_EQ(rows.out, a.out);
  }
  EXPECT_EQ(together[0].kept_tokens(0, 1), alone[0].kept_tokens(0, 1));
  EXPECT_EQ(together[0].kept_channels(0, 1).size(), 12U);
}

TEST(KvCache, ForksShareWhatBothHold) {
  Tensors prompt(320, 5);
  KvCache cache(shape(2), CacheSpec::parse("full"));
  for (const std::size_t layer : {0, 1}) cache.forward(layer, prompt.view(), nullptr);
  const std::size_t bytes = cache.bytes_allocated();
  EXPECT_EQ(bytes, cache.report().bytes);
  auto fork = std::make_unique<KvCache>(cache.fork(320));
  EXPECT_LT(cache.bytes_allocated(), bytes + bytes / 4);
  Tensors next(1, 6);
  std::vector<float> wanted;
  for (KvCache* c : {&cache, fork.get()}) {
    for (const std::size_t layer : {0, 1}) c->forward(layer, next.view(), next.out.data());
    if (wanted.empty()) wanted = next.out;
  }
  EXPECT_EQ(next.out, wanted);
  fork.reset();
  EXPECT_LT(cache.bytes_allocated(), bytes + bytes / 4);
}

void expect_refused(const std::function<void()>& call, const char* why) {
  try {
    call();
    FAIL() << "accepted: " << why;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Usage);
    EXPECT_THAT(error.what(), HasSubstr(why));
  }
}

TEST(KvCache, RefusesWhatCannotBe) {
  const CacheSpec full = CacheSpec::parse("full");
  Tensors prompt(40, 7);
  KvCache cache(shape(2), full);
  expect_refused([&] { cache.forward(1, prompt.view(), nullptr); }, "layer 1 comes when layer 0 is due");
  expect_refused([&] { cache.forward(2, prompt.view(), nullptr); }, "layer 2 of 2");
  expect_refused([&] { cache.forward(0, {}, nullptr); }, "0 tokens");
  expect_refused([&] { cache.set_sinks(0, std::vector<float>(4)); }, "4 sinks for a layer that has 0");
  cache.forward(0, prompt.view(), nullptr);
  expect_refused([&] { static_cast<void>(cache.fork(40)); }, "all layers have seen the same tokens");
  KvShape wrong = shape(1);
  wrong.query_heads = 3;
  expect_refused([&] { KvCache(wrong, full); }, "cannot share");
  wrong = shape(1);
  wrong.inverse_frequencies.assign(9, 1.0F);
  expect_refused([&] { KvCache(wrong, full); }, "9 inverse frequencies");
  expect_refused([&] { KvCache(shape(1), CacheSpec::parse("kvzip:50%")); }, "kvzip has the model repeat");
  expect_refused([&] { KvCache(shape(1), CacheSpec::parse("snapkv:64,critical")); }, "critical looks at");
}

class Answers : public ::testing::Test {
 protected:
  std::shared_ptr<const Model> model_ =
      Model::load(fixture_path("llama31.gguf"), {.threads = 1, .precision = PrefillPrecision::F32});
  std::vector<std::int32_t> ids_ = expected("llama31").ids;
  GenerateOptions options_ = {.max_tokens = 12, .sampler = {.temperature = 0.0F}};
};

TEST_F(Answers, AForkGoesOnAsItsSession) {
  auto session =
      std::make_unique<Session>(model_, SessionOptions{.cache = CacheSpec::parse("snapkv:40+think:0.25")});
  expect_refused([&] { static_cast<void>(session->fork()); }, "an empty session cannot be forked");
  session->prefill(ids_);
  Session fork = session->fork();
  const std::vector<std::int32_t> wanted = generate(*session, {}, options_).tokens;
  session.reset();  // what the fork shares stays
  EXPECT_EQ(generate(fork, {}, options_).tokens, wanted);
}

TEST_F(Answers, TogetherAreThoseOfEachAlone) {
  const std::span<const std::int32_t> prompts[] = {ids_, std::span(ids_).first(30)};
  std::vector<std::vector<std::int32_t>> wanted;
  for (const auto& prompt : prompts) {
    Session session(model_, {});
    wanted.push_back(generate(session, prompt, options_).tokens);
  }
  Session first(model_, {}), second(model_, {});
  Generator a(first, prompts[0], options_);
  options_.max_tokens = 5;  // this one ends sooner
  Generator b(second, prompts[1], options_);
  std::vector<Generator*> both = {&a, &b};
  while (Generator::step_together(both)) {
  }
  EXPECT_FALSE(a.step());
  EXPECT_EQ(a.result().tokens, wanted[0]);
  wanted[1].resize(std::min<std::size_t>(5, wanted[1].size()));
  EXPECT_EQ(b.result().tokens, wanted[1]);
}

}  // namespace
}  // namespace thinkey
