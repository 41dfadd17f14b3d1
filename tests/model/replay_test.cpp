// The model repeats parts of a prompt beside its prefill (KVzip): what it attends to then is what it attends
// to when prompt and repetition are run as one, and the prompt's own results do not change.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cache/policy.h"
#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::TinyModel;

// Queries and keys after RoPE, [T, heads, D].
struct Seen : PrefillObserver {
  explicit Seen(const Network& network) : heads(network.heads()) {}
  void attention_inputs(const AttentionInputs& inputs) override {
    if (!inputs.rotated) return;
    const auto add = [&](std::vector<float>& to, const float* from, std::size_t count) {
      if (from != nullptr) to.insert(to.end(), from, from + inputs.tokens * count * heads.head_dim);
    };
    add(q[inputs.layer], inputs.q, heads.query_heads);
    add(k[inputs.layer], inputs.k, heads.kv_heads);
  }
  void compressed(std::size_t, const PromptView&) override {}
  [[nodiscard]] std::size_t last_queries() const override { return 1; }

  const AttentionShape& heads;
  std::map<std::size_t, std::vector<float>> q, k;
};

// scores[kv head][t] of the part = the largest attention from the replay's queries.
void raise(const AttentionShape& shape, const Seen& seen, std::size_t layer, std::size_t prompt,
           const Replay& replay, std::vector<std::vector<double>>& scores) {
  const std::size_t dim = shape.head_dim;
  for (std::size_t i = 0; i < replay.tokens.size(); ++i) {
    for (std::size_t h = 0; h < shape.query_heads; ++h) {
      const float* q = seen.q.at(layer).data() + ((prompt + i) * shape.query_heads + h) * dim;
      std::vector<std::size_t> keys;
      for (std::size_t t = 0; t < std::min<std::size_t>(4, replay.part.first); ++t) keys.push_back(t);
      const std::size_t before = keys.size();
      for (std::size_t t = replay.part.first; t < replay.part.end(); ++t) keys.push_back(t);
      for (std::size_t t = prompt; t <= prompt + i; ++t) keys.push_back(t);
      std::vector<double> row;
      double total = shape.sinks != nullptr ? std::exp(static_cast<double>(shape.sinks[h])) : 0.0;
      for (const std::size_t t : keys) {
        const float* k = seen.k.at(layer).data() + (t * shape.kv_heads + h / shape.group()) * dim;
        double x = 0.0;
        for (std::size_t j = 0; j < dim; ++j) x += static_cast<double>(q[j]) * k[j];
        x *= shape.logit_scale();
        if (shape.softcap > 0.0F) x = shape.softcap * std::tanh(x / shape.softcap);
        row.push_back(std::exp(x));
        total += row.back();
      }
      std::vector<double>& out = scores[h / shape.group()];
      for (std::size_t t = replay.part.first; t < replay.part.end(); ++t) {
        out[t] = std::max(out[t], row[before + t - replay.part.first] / total);
      }
    }
  }
}

class ReplayTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ReplayTest, IsAttentionOfPromptAndRepetitionRunAsOne) {
  const TinyModel model(GetParam());
  std::vector<std::int32_t> prompt = testing::expected(GetParam()).ids;
  ASSERT_GE(prompt.size(), 24U);
  const std::size_t half = prompt.size() / 2;
  std::vector<Replay> replays(2);
  replays[0] = {.tokens = {prompt[3], prompt[7]}, .part = {0, half}};
  replays[1] = {.tokens = {prompt[5]}, .part = {half, prompt.size() - half}};
  for (Replay& replay : replays) {
    const auto part = std::span(prompt).subspan(replay.part.first, replay.part.count);
    replay.tokens.insert(replay.tokens.end(), part.begin(), part.end());
  }

  const Decoder decoder = model.decoder(13);
  const CacheSpec spec = CacheSpec::parse("kvzip:40%");
  SequenceCache cache(model.shape(), spec);
  SequenceCache full(model.shape(), CacheSpec{});
  std::vector<float> logits(decoder.network.vocabulary);
  std::vector<float> plain = logits;
  AllocationCounter counter;
  SequenceCache* const both[] = {&cache, &full};
  const PrefillOutputs outputs{.last_logits = logits, .counter = &counter, .replays = replays};
  prefill(decoder, prompt, both, outputs);
  SequenceCache alone(model.shape(), CacheSpec{});
  prefill(decoder, prompt, alone, {.last_logits = plain});
  for (std::size_t i = 0; i < logits.size(); ++i) ASSERT_NEAR(logits[i], plain[i], 2e-5);
  EXPECT_EQ(full.next_position(0), static_cast<std::int64_t>(prompt.size()));
  const SequenceCache empty(model.shape(), spec);
  const SequenceCache* const asks[] = {&empty, &empty};
  const PassBytes bytes =
      decoder.backend.pass_bytes(decoder.network, prefill_request(decoder, prompt.size(), asks, outputs));
  EXPECT_EQ(counter.peak(), bytes.hidden_states + bytes.layer_kv + bytes.scratch);

  // Each replay after the prompt, as one text.
  std::vector<std::vector<std::vector<double>>> scores(model.shape().layers.size());
  for (auto& layer : scores) {
    layer.assign(model.shape().kv_heads(), std::vector<double>(prompt.size(), 0.0));
  }
  for (const Replay& replay : replays) {
    std::vector<std::int32_t> whole = prompt;
    whole.insert(whole.end(), replay.tokens.begin(), replay.tokens.end());
    SequenceCache unused(model.shape(), CacheSpec{});
    Seen seen(decoder.network);
    prefill(decoder, whole, unused, {.last_logits = plain, .observer = &seen});
    for (std::size_t l = 0; l < scores.size(); ++l) {
      raise(model.shape().layers[l], seen, l, prompt.size(), replay, scores[l]);
    }
  }
  std::size_t evicted = 0;
  for (std::size_t l = 0; l < scores.size(); ++l) {
    if (model.shape().layers[l].sliding_window > 0) continue;
    ++evicted;
    for (std::size_t h = 0; h < model.shape().kv_heads(); ++h) {
      std::vector<double> own = scores[l][h];
      std::fill_n(own.begin(), 4, 1e9);
      std::vector<double> sorted = own;
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      const std::vector<std::int32_t> kept = cache.layer(l).store().positions(h);
      ASSERT_EQ(kept.size(),
                static_cast<std::size_t>(spec.eviction.budget_for(static_cast<std::size_t>(prompt.size()))));
      for (const std::int32_t t : kept) {
        EXPECT_GE(own[static_cast<std::size_t>(t)], sorted[kept.size() - 1] * (1.0 - 1e-3)) << l << " " << h;
      }
    }
  }
  EXPECT_GT(evicted, 0U);
}

INSTANTIATE_TEST_SUITE_P(Models, ReplayTest, ::testing::Values("llama2.gguf", "gpt_oss", "gemma2", "qwen3"),
                         testing::test_name);

}  // namespace
}  // namespace thinkey
