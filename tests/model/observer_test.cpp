// Watching a prefill shows what the caches get, and changes nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::expected;
using testing::TinyModel;

struct Seen : PrefillObserver {
  explicit Seen(const Network& network) : heads_(network.heads()) {}

  void attention_inputs(const AttentionInputs& inputs) override {
    auto& tensors = layers[{inputs.layer, inputs.rotated}];
    std::size_t& tokens = inputs.q != nullptr ? tensors.queries : tensors.tokens;
    EXPECT_EQ(tokens, inputs.first);  // in order, without gaps
    tokens += inputs.tokens;
    const auto add = [&](std::vector<float>& to, const float* from, std::size_t heads) {
      if (from == nullptr) return;
      to.insert(to.end(), from, from + inputs.tokens * heads * heads_.head_dim);
    };
    add(tensors.q, inputs.q, heads_.query_heads);
    add(tensors.k, inputs.k, heads_.kv_heads);
    add(tensors.v, inputs.v, heads_.kv_heads);
  }
  void compressed(std::size_t layer, const PromptView& prompt) override {
    order.push_back(layer);
    const auto& rows = layers[{layer, true}];
    const auto dim = heads_.head_dim;
    const auto heads = heads_.kv_heads;
    ASSERT_EQ(rows.tokens, prompt.tokens);
    ASSERT_EQ(rows.queries, prompt.tokens);
    ASSERT_EQ(prompt.queries, std::min(prompt.tokens, last_queries()));
    for (std::size_t t = 0; t < prompt.tokens; ++t) {
      for (std::size_t h = 0; h < heads; ++h) {
        for (std::size_t c = 0; c < dim; ++c) {
          const std::size_t row = (t * heads + h) * dim + c;
          const std::size_t place = (h * prompt.capacity + t) * dim + c;
          float scratch = 0.0F;
          ASSERT_EQ(rows.k[row], *(prompt.k + place).load(1, &scratch));
          ASSERT_EQ(rows.v[row], *(prompt.v + place).load(1, &scratch));
        }
      }
    }
    const std::size_t first = (prompt.tokens - prompt.queries) * prompt.q_token_stride;
    ASSERT_TRUE(std::equal(prompt.q, prompt.q + prompt.queries * prompt.q_token_stride,
                           rows.q.begin() + static_cast<std::ptrdiff_t>(first)));
  }
  [[nodiscard]] std::size_t last_queries() const override { return 40; }  // more than the spec asks for

  struct Tensors {
    std::size_t tokens = 0, queries = 0;
    std::vector<float> q, k, v;
  };
  std::map<std::pair<std::size_t, bool>, Tensors> layers;
  std::vector<std::size_t> order;

 private:
  const AttentionShape& heads_;
};

double energy(const std::vector<float>& x) {
  double sum = 0.0;
  for (const float e : x) sum += static_cast<double>(e) * e;
  return sum;
}

class PrefillObserved : public ::testing::TestWithParam<std::string> {};

TEST_P(PrefillObserved, SeesEveryQueryKeyAndValue) {
  const TinyModel model(GetParam());
  const std::vector<std::int32_t> ids = expected(GetParam()).ids;
  const Decoder decoder = model.decoder(13);  // the last chunk is shorter
  const CacheSpec spec = CacheSpec::parse("snapkv:budget=32,window=8+think:0.4,form=paper");
  std::vector<float> logits(decoder.network.vocabulary);
  std::vector<float> unobserved = logits;
  SequenceCache watched(model.shape(), spec);
  SequenceCache alone(model.shape(), spec);
  Seen seen(decoder.network);
  prefill(decoder, ids, watched, {.last_logits = logits, .observer = &seen});
  prefill(decoder, ids, alone, {.last_logits = unobserved});

  EXPECT_EQ(logits, unobserved);
  EXPECT_EQ(watched.report().bytes, alone.report().bytes);
  ASSERT_EQ(seen.order.size(), decoder.network.layers.size());
  for (std::size_t layer = 0; layer < seen.order.size(); ++layer) {
    EXPECT_EQ(seen.order[layer], layer);
    const auto& before = seen.layers[{layer, false}];
    const auto& after = seen.layers[{layer, true}];
    EXPECT_EQ(before.tokens, ids.size());
    EXPECT_EQ(before.v, after.v);
    // A rotation: another matrix of the same size, the same at position 0.
    EXPECT_NE(before.k, after.k);
    EXPECT_NE(before.q, after.q);
    EXPECT_NEAR(energy(before.k), energy(after.k), 1e-4 * energy(after.k));
    EXPECT_NEAR(energy(before.q), energy(after.q), 1e-4 * energy(after.q));
    EXPECT_TRUE(std::equal(before.q.begin(), before.q.begin() + 8, after.q.begin()));
    // The cache of the unobserved run answers as that of the observed one.
    const auto width = decoder.network.query_width();
    std::vector<float> out(width);
    std::vector<float> other(width);
    const auto now = static_cast<std::int64_t>(ids.size());
    watched.attend(layer, 1, now, after.q.data(), out.data());
    alone.attend(layer, 1, now, after.q.data(), other.data());
    EXPECT_EQ(out, other);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, PrefillObserved,
                         ::testing::Values("llama2.gguf", "llama32", "eight_to_one.gguf", "mistral_v01"),
                         testing::test_name);

}  // namespace
}  // namespace thinkey
