// Later turns: a prefill that finds a cache.
#include <gtest/gtest.h>

#include <algorithm>

#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::largest_difference;
using testing::TinyModel;

class Turns : public ::testing::TestWithParam<std::string> {};

// With the full cache, turns give what one long prefill gives: also where the sliding window
// (24 tokens in mistral_v01) reaches from one turn back into earlier ones.
TEST_P(Turns, EqualOneLongPrefill) {
  const TinyModel model(GetParam());
  if (model.positions_depend_on_length()) GTEST_SKIP() << "a turn has other angles than a longer prompt";
  const std::span<const std::int32_t> ids = model.expects.ids;
  const std::size_t all = ids.size();
  for (const std::vector<std::size_t>& lengths :
       {std::vector<std::size_t>{40, all - 40}, {28, 3, all - 31}, {1, all - 1}, {10, 10, 8, 9, all - 37}}) {
    for (const std::size_t chunk : {16U, 512U}) {
      SequenceCache cache = model.cache();
      std::vector<float> logits;
      std::size_t begin = 0;
      for (const std::size_t length : lengths) {
        const auto turn = model.all_logits(model.decoder(chunk), ids.subspan(begin, length), cache);
        logits.insert(logits.end(), turn.begin(), turn.end());
        begin += length;
        EXPECT_EQ(cache.next_position(0), static_cast<std::int64_t>(begin));
      }
      EXPECT_TRUE(testing::close_but_for_16_bit_cache(logits, model.expects.logits))
          << lengths.size() << " turns, chunk " << chunk;
    }
  }
}

TEST_P(Turns, LastLogitsAloneAreTheSame) {
  const TinyModel model(GetParam());
  const std::span<const std::int32_t> ids = model.expects.ids;
  if (model.positions_depend_on_length()) GTEST_SKIP() << "a turn has other angles than a longer prompt";
  SequenceCache cache = model.cache();
  (void)model.last_logits(model.decoder(16), ids.first(30), cache);
  const auto logits = model.last_logits(model.decoder(16), ids.subspan(30), cache);
  const auto wanted = testing::row(model.expects.logits, ids.size() - 1, model.vocabulary());
  EXPECT_TRUE(testing::close_but_for_16_bit_cache(logits, wanted));
}

// Under compression the turn's tokens see what decode would see, token by token, as long as the
// recent segment still holds all of them whole.
TEST_P(Turns, SeeTheCompressedCacheAsDecodeDoes) {
  const TinyModel model(GetParam());
  const std::span<const std::int32_t> ids = model.expects.ids;
  if (model.positions_depend_on_length()) GTEST_SKIP() << "a turn has other angles than single tokens";
  const std::size_t turn = std::min<std::size_t>(30, ids.size() - 33);
  SequenceCache turned = model.cache("snapkv:24,window=8");
  SequenceCache decoded = model.cache("snapkv:24,window=8");
  (void)model.last_logits(model.decoder(), ids.first(33), turned);
  (void)model.last_logits(model.decoder(), ids.first(33), decoded);
  const auto in_one = model.all_logits(model.decoder(16), ids.subspan(33, turn), turned);
  const auto one_by_one = model.token_major_logits(ids.subspan(33, turn), decoded);
  EXPECT_TRUE(testing::close_but_for_16_bit_cache(in_one, one_by_one));
}

INSTANTIATE_TEST_SUITE_P(All, Turns, ::testing::ValuesIn(testing::fixture_models()), testing::test_name);

// `every`: the budget holds again after each turn and during a long generation.
TEST(Reeviction, HappensAtTurnsAndWhileDecoding) {
  const TinyModel model("llama2.gguf");
  const std::span<const std::int32_t> ids = model.expects.ids;
  const auto held = [](const SequenceCache& cache) { return cache.report().layers.back().tokens_kept; };
  for (const char* spec : {"snapkv:24,window=8,every=16+think:0.5,recent=8,form=paper",
                           "streaming:24,every=16+think:0.5,recent=8,form=paper"}) {
    SequenceCache cache = model.cache(spec);
    (void)model.last_logits(model.decoder(16), ids.first(50), cache);
    EXPECT_EQ(held(cache), 24) << spec;
    (void)model.last_logits(model.decoder(16), ids.subspan(50, 40), cache);
    EXPECT_LT(held(cache), 64) << spec;
    for (const std::int32_t token : ids.subspan(0, 64)) {
      (void)model.token_major_logits({&token, 1}, cache);
      EXPECT_LT(held(cache), 24 + 64) << spec;
    }
    EXPECT_EQ(cache.next_position(0), 154);
  }
}

// The window is not ignored: a token outside it leaves no trace, one inside does.
TEST(SlidingWindow, ForgetsWhatIsOutside) {
  const TinyModel model("mistral_v01.gguf");
  const std::size_t reach = model.network().layers.size() * (model.network().heads().sliding_window - 1);
  ASSERT_EQ(reach, 46U);
  std::vector<std::int32_t> ids = model.expects.ids;
  const auto last = [&](std::size_t split) {
    SequenceCache cache = model.cache();
    if (split > 0) (void)model.last_logits(model.decoder(), std::span(ids).first(split), cache);
    return model.last_logits(model.decoder(), std::span(ids).subspan(split), cache);
  };
  for (const std::size_t split : {0U, 50U, 80U}) {
    ids = model.expects.ids;
    const auto before = last(split);
    const std::size_t outside = ids.size() - 1 - 47;  // one position beyond what the last token can see
    ids[outside] = ids[outside] == 5 ? 6 : 5;
    EXPECT_EQ(largest_difference(before, last(split)), 0.0F) << "split " << split;
    ids[outside + 10] = ids[outside + 10] == 5 ? 6 : 5;
    EXPECT_GT(largest_difference(before, last(split)), 1e-6F) << "split " << split;
  }
}

}  // namespace
}  // namespace thinkey
