// Token-major decode against layer-major prefill and against transformers.
#include <gtest/gtest.h>

#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::largest_difference;
using testing::TinyModel;

class Decode : public ::testing::TestWithParam<std::string> {};

TEST_P(Decode, TokenMajorEqualsLayerMajor) {
  const TinyModel model(GetParam());
  SequenceCache layer_major = model.cache();
  SequenceCache token_major = model.cache();
  const auto prefilled = model.all_logits(model.decoder(32), model.expects.ids, layer_major);
  const auto decoded = model.token_major_logits(model.expects.ids, token_major);
  EXPECT_TRUE(testing::close_but_for_f16_cache(prefilled, decoded));

  // And both caches go on alike.
  const auto next = std::span(model.expects.greedy).first(4);
  const auto after_prefill = model.token_major_logits(next, layer_major);
  const auto after_decode = model.token_major_logits(next, token_major);
  EXPECT_TRUE(testing::close_but_for_f16_cache(after_prefill, after_decode));
  EXPECT_EQ(layer_major.next_position(0), token_major.next_position(0));
}

TEST_P(Decode, ABatchIsItsSequencesEachOnItsOwn) {
  const TinyModel model(GetParam());
  const std::span<const std::int32_t> ids = model.expects.ids;
  const std::size_t lengths[] = {30, 1, 57};
  std::vector<SequenceCache> alone;
  std::vector<SequenceCache> together;
  for (const std::size_t length : lengths) {
    alone.push_back(model.cache("snapkv:20,window=8"));
    together.push_back(model.cache("snapkv:20,window=8"));
    (void)model.last_logits(model.decoder(), ids.first(length), alone.back());
    (void)model.last_logits(model.decoder(), ids.first(length), together.back());
  }
  DecodeState state(model.config(), 3);
  for (std::size_t step = 0; step < 3; ++step) {
    std::vector<DecodeInput> batch;
    for (std::size_t b = 0; b < 3; ++b) {
      batch.push_back({.token = ids[lengths[b] + step], .cache = &together[b]});
    }
    decode(model.decoder(), batch, state);
    for (std::size_t b = 0; b < 3; ++b) {
      const auto wanted = model.token_major_logits(ids.subspan(lengths[b] + step, 1), alone[b]);
      const std::span<const float> got(state.logits.data() + b * model.vocabulary(), model.vocabulary());
      EXPECT_LE(largest_difference(got, wanted), 1e-3F) << "sequence " << b << ", step " << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Decode, ::testing::ValuesIn(testing::fixture_models()), testing::test_name);

}  // namespace
}  // namespace thinkey
