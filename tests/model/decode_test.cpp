// Token-major decode against layer-major prefill and against transformers.
#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <vector>

#include "backend/cpu/ops/matvec_int8.h"
#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::largest_difference;
using testing::TinyModel;

class Decode : public ::testing::TestWithParam<std::string> {};

TEST_P(Decode, TokenMajorEqualsLayerMajor) {
  const TinyModel model(GetParam());
  if (model.positions_depend_on_length()) GTEST_SKIP() << "a prompt's first tokens have its length's angles";
  SequenceCache layer_major = model.cache();
  SequenceCache token_major = model.cache();
  const auto prefilled = model.all_logits(model.decoder(32), model.expects.ids, layer_major);
  const auto decoded = model.token_major_logits(model.expects.ids, token_major);
  EXPECT_TRUE(testing::close_but_for_16_bit_cache(prefilled, decoded));

  // And both caches go on alike.
  const auto next = std::span(model.expects.greedy).first(4);
  const auto after_prefill = model.token_major_logits(next, layer_major);
  const auto after_decode = model.token_major_logits(next, token_major);
  EXPECT_TRUE(testing::close_but_for_16_bit_cache(after_prefill, after_decode));
  EXPECT_EQ(layer_major.next_position(0), token_major.next_position(0));
}

TEST_P(Decode, ABatchIsItsSequencesEachOnItsOwn) {
  const TinyModel model(GetParam());
  const std::span<const std::int32_t> ids = model.expects.ids;
  const std::size_t lengths[] = {30, 1, ids.size() - 3};
  std::vector<SequenceCache> alone;
  std::vector<SequenceCache> together;
  for (const std::size_t length : lengths) {
    alone.push_back(model.cache("snapkv:20,window=8"));
    together.push_back(model.cache("snapkv:20,window=8"));
    (void)model.last_logits(model.decoder(), ids.first(length), alone.back());
    (void)model.last_logits(model.decoder(), ids.first(length), together.back());
  }
  for (std::size_t step = 0; step < 3; ++step) {
    std::vector<DecodeInput> batch;
    for (std::size_t b = 0; b < 3; ++b) {
      batch.push_back({.token = ids[lengths[b] + step], .cache = &together[b]});
    }
    const std::vector<float> logits = TinyModel::step(model.decoder(), batch);
    for (std::size_t b = 0; b < 3; ++b) {
      const auto wanted = model.token_major_logits(ids.subspan(lengths[b] + step, 1), alone[b]);
      const std::span<const float> got(logits.data() + b * model.vocabulary(), model.vocabulary());
      EXPECT_LE(largest_difference(got, wanted), 1e-3F) << "sequence " << b << ", step " << step;
    }
  }
}

// Activations rounded to 8 bits change every product a little; each option reaches its own part.
TEST(DecodeInt8, IsCloseToF32) {
  if (!cpu_multiplies_int8()) GTEST_SKIP() << "this CPU has no 8-bit products";
  const TinyModel exact_model("quantized.gguf");
  const TinyModel decode_model("quantized.gguf", {.decode_activations = ActivationPrecision::Int8});
  const TinyModel prefill_model("quantized.gguf", {.prefill_activations = ActivationPrecision::Int8});

  const auto run = [&](const TinyModel& model) {  // logits after a prompt of 5, and after one more token
    const std::span<const std::int32_t> ids = model.expects.ids;
    SequenceCache cache = model.cache();
    std::vector<std::vector<float>> logits = {model.last_logits(model.decoder(), ids.first(5), cache)};
    logits.push_back(TinyModel::step(model.decoder(), {{.token = ids[5], .cache = &cache}}));
    return logits;
  };
  const auto difference = [](const std::vector<float>& a, const std::vector<float>& b) {
    double squared = 0;
    double squared_difference = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      squared += std::pow(static_cast<double>(a[i]), 2);
      squared_difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    }
    return std::sqrt(squared_difference / squared);
  };
  const auto exact = run(exact_model);
  const auto decoded = run(decode_model);
  const auto prefilled = run(prefill_model);
  EXPECT_EQ(decoded[0], exact[0]);
  EXPECT_NE(decoded[1], exact[1]);
  EXPECT_LT(difference(exact[1], decoded[1]), 0.05);
  EXPECT_NE(prefilled[0], exact[0]);
  EXPECT_LT(difference(exact[0], prefilled[0]), 0.05);
}

INSTANTIATE_TEST_SUITE_P(All, Decode, ::testing::ValuesIn(testing::fixture_models()), testing::test_name);

}  // namespace
}  // namespace thinkey
