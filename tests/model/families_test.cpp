// Every family's tiny checkpoint against transformers: the same logits and the same greedy tokens, from
// either container (tools/model_fixtures.py makes them).
#include <gtest/gtest.h>

#include <algorithm>

#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::TinyModel;

class FamilyCheckpoint : public ::testing::TestWithParam<std::string> {};

TEST_P(FamilyCheckpoint, LogitsAreThoseOfTransformersToAThousandthOfTheirRange) {
  const TinyModel model(GetParam());
  SequenceCache cache = model.cache();
  const auto logits = model.all_logits(model.decoder(16), model.expects.ids, cache);
  const auto [low, high] = std::minmax_element(model.expects.logits.begin(), model.expects.logits.end());
  EXPECT_LE(testing::largest_difference(logits, model.expects.logits), 1e-3F * (*high - *low));
  RecordProperty(
      "error_per_mille_of_range",
      std::to_string(1e3F * testing::largest_difference(logits, model.expects.logits) / (*high - *low)));
}

// The cache is in 16 bits: where two tokens are closer than that can tell, either may come.
TEST_P(FamilyCheckpoint, GreedyTokensAreThoseOfTransformers) {
  const TinyModel model(GetParam());
  SequenceCache cache = model.cache();
  std::vector<float> logits = model.last_logits(model.decoder(), model.expects.ids, cache);
  for (std::size_t i = 0; i < model.expects.greedy.size(); ++i) {
    const std::int32_t wanted = model.expects.greedy[i];
    const auto best = std::max_element(logits.begin(), logits.end());
    ASSERT_LE(*best - logits[static_cast<std::size_t>(wanted)], 0.02F)
        << "token " << i << ": " << best - logits.begin() << " instead of " << wanted;
    logits = TinyModel::step(model.decoder(), {{.token = wanted, .cache = &cache}});
  }
}

// A prompt done step by step, with other work between the steps, is the same prompt.
TEST_P(FamilyCheckpoint, APrefillCanBeLeftBetweenSteps) {
  const TinyModel model(GetParam());
  SequenceCache whole = model.cache();
  SequenceCache resumed = model.cache();
  SequenceCache other = model.cache();
  const auto expected = model.last_logits(model.decoder(8), model.expects.ids, whole);
  std::vector<float> logits(model.vocabulary());
  SequenceCache* const caches[] = {&resumed};
  Prefill prefill(model.decoder(8), model.expects.ids, caches, {.last_logits = logits});
  std::size_t steps = 0;
  while (prefill.advance()) {
    if (++steps % 3 == 0) (void)TinyModel::step(model.decoder(), {{.token = 3, .cache = &other}});
  }
  EXPECT_GT(steps, 2 * model.network().layers.size());
  EXPECT_EQ(logits, expected);
  EXPECT_FALSE(prefill.advance());
}

INSTANTIATE_TEST_SUITE_P(All, FamilyCheckpoint, ::testing::ValuesIn(testing::fixture_models()),
                         testing::test_name);

}  // namespace
}  // namespace thinkey
