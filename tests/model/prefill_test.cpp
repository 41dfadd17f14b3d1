// Layer-major prefill against transformers, and against itself in other orders and chunk sizes.
#include <gtest/gtest.h>

#include <limits>

#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::largest_difference;
using testing::TinyModel;

class Checkpoint : public ::testing::TestWithParam<std::string> {};

TEST_P(Checkpoint, HasTheLogitsOfTransformers) {
  const TinyModel model(GetParam());
  SequenceCache cache = model.cache();
  const auto logits = model.all_logits(model.decoder(), model.expects.ids, cache);
  EXPECT_LE(largest_difference(logits, model.expects.logits), 1e-3F);
}

TEST_P(Checkpoint, ChunkSizeDoesNotMatter) {
  const TinyModel model(GetParam());
  for (const std::size_t chunk : {1U, 5U, 16U, 50U, 107U}) {
    SequenceCache cache = model.cache();
    const auto logits = model.all_logits(model.decoder(chunk), model.expects.ids, cache);
    EXPECT_LE(largest_difference(logits, model.expects.logits), 1e-3F) << "chunk " << chunk;
  }
}

// The last layer leaves out what only other tokens' logits need; the first 8 tokens take the matvec path.
TEST_P(Checkpoint, LastLogitsAloneAreTheSame) {
  const TinyModel model(GetParam());
  if (model.positions_depend_on_length()) GTEST_SKIP() << "a shorter prompt has other angles";
  for (const std::size_t tokens : {1U, 2U, 7U, 8U, 9U, 33U, 48U}) {
    for (const std::size_t chunk : {3U, 32U, 512U}) {
      for (const char* spec : {"full", "snapkv:16,window=8+think:0.5,form=paper", "h2o:16,window=8"}) {
        SequenceCache cache = model.cache(spec);
        const auto logits =
            model.last_logits(model.decoder(chunk), std::span(model.expects.ids).first(tokens), cache);
        const auto wanted = testing::row(model.expects.logits, tokens - 1, model.vocabulary());
        EXPECT_LE(largest_difference(logits, wanted), 1e-3F)
            << tokens << " tokens, chunk " << chunk << ", " << spec;
      }
    }
  }
}

// Attention in small steps, of a first prompt and of one after a past.
TEST_P(Checkpoint, StepsDoNotMatter) {
  for (const Precision precision : {Precision::F32, Precision::BF16}) {
    const TinyModel model(GetParam(), {.precision = precision});
    const Decoder decoder = model.decoder();
    // Long enough for several tiles of queries in one chunk.
    std::vector<std::int32_t> ids;
    while (ids.size() < 300) ids.insert(ids.end(), model.expects.ids.begin(), model.expects.ids.end());
    const auto logits = [&](std::span<const std::int32_t> tokens, SequenceCache& cache, double most,
                            std::size_t& steps) {
      std::vector<float> out(model.vocabulary());
      SequenceCache* const caches[] = {&cache};
      Prefill prefill(decoder, tokens, caches, {.last_logits = out});
      for (steps = 1; prefill.advance(most); ++steps) {
      }
      return out;
    };
    for (const char* spec : {"full", "h2o:64,window=8"}) {
      SequenceCache whole = model.cache(spec);
      SequenceCache cut = model.cache(spec);
      std::size_t steps = 0;
      std::size_t more = 0;
      for (int turn = 0; turn < 2; ++turn) {
        const std::vector<float> expected =
            logits(ids, whole, std::numeric_limits<double>::infinity(), steps);
        EXPECT_EQ(logits(ids, cut, 0.0, more), expected) << spec << ", turn " << turn;
        EXPECT_GT(more, steps);
      }
    }
  }
}

TEST_P(Checkpoint, Bf16ProductsStayClose) {
  const TinyModel model(GetParam(), {.precision = Precision::BF16});
  SequenceCache cache = model.cache();
  const auto logits = model.all_logits(model.decoder(32), model.expects.ids, cache);
  double error = 0;
  double power = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double difference = static_cast<double>(logits[i]) - static_cast<double>(model.expects.logits[i]);
    error += difference * difference;
    power += static_cast<double>(model.expects.logits[i]) * static_cast<double>(model.expects.logits[i]);
  }
  EXPECT_LT(std::sqrt(error / power), 0.05);
  EXPECT_GT(error, 0);  // or the precision was not used
}

INSTANTIATE_TEST_SUITE_P(All, Checkpoint, ::testing::ValuesIn(testing::fixture_models()), testing::test_name);

// Compression must see the same queries, keys and values whatever the chunks, and whether or not the
// last layer computes more than its last token.
TEST(Prefill, CompressionDependsNeitherOnChunksNorOnTheSink) {
  const TinyModel model("smollm2.gguf");
  for (const char* spec : {"snapkv:24,window=12+think:0.5,form=paper", "h2o:24,window=12"}) {
    std::vector<float> first;
    for (const std::size_t chunk : {7U, 32U, 512U}) {
      for (const bool all : {false, true}) {
        SequenceCache cache = model.cache(spec);
        if (all) {
          (void)model.all_logits(model.decoder(chunk), model.expects.ids, cache);
        } else {
          (void)model.last_logits(model.decoder(chunk), model.expects.ids, cache);
        }
        const auto after = model.token_major_logits(std::span(model.expects.greedy).first(3), cache);
        if (first.empty()) first = after;
        EXPECT_TRUE(testing::close_but_for_16_bit_cache(after, first))
            << spec << ", chunk " << chunk << ' ' << all;
      }
    }
  }
}

TEST(Prefill, ASmallCacheIsLessThanTheFullOneAndChangesWhatFollows) {
  const TinyModel model("llama2.gguf");
  SequenceCache full = model.cache();
  SequenceCache thin = model.cache("snapkv:16,window=8+think:0.5,form=paper");
  (void)model.last_logits(model.decoder(), model.expects.ids, full);
  (void)model.last_logits(model.decoder(), model.expects.ids, thin);
  EXPECT_LT(thin.report().bytes, full.report().bytes);
  const auto next = std::span(model.expects.greedy).first(1);
  EXPECT_GT(largest_difference(model.token_major_logits(next, thin), model.token_major_logits(next, full)),
            1e-2F);
}

TEST(Prefill, ProgressRisesToTheTotal) {
  const TinyModel model("llama2.gguf");
  for (const bool all : {false, true}) {
    for (const bool later_turn : {false, true}) {
      SequenceCache cache = model.cache("snapkv:16,window=8");
      if (later_turn) (void)model.last_logits(model.decoder(), model.expects.ids, cache);
      std::vector<float> last(model.vocabulary());
      double latest = 0;
      double whole = 0;
      std::size_t calls = 0;
      PrefillOutputs outputs{.last_logits = last, .progress = [&](double done, double total) {
                               EXPECT_GE(done, latest);
                               latest = done;
                               whole = total;
                               ++calls;
                             }};
      if (all) outputs.logits = [](std::size_t, std::span<const float>) {};
      prefill(model.decoder(16), model.expects.ids, cache, outputs);
      EXPECT_GT(calls, 10U);
      EXPECT_GT(whole, 0);
      EXPECT_NEAR(latest / whole, 1.0, 1e-9);
    }
  }
}

}  // namespace
}  // namespace thinkey
