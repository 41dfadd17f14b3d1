#include "engine/memory.h"

#include <gmock/gmock.h>

#include "base/fail.h"
#include "model/fixture.h"

namespace thinkey {
namespace {

using testing::TinyModel;

TEST(Memory, PassesWhatFitsAndWhatIsUnknown) {
  const MemoryEstimate needed{.hidden_states = 100, .layer_kv = 200, .scratch = 300, .cache = 400};
  EXPECT_NO_THROW(check_memory(needed, 1000, 7));
  EXPECT_NO_THROW(check_memory(needed, 0, 7));
  EXPECT_THROW(check_memory(needed, 999, 7), Error);
}

TEST(Memory, RefusalNamesBothSizesAndTheRemedy) {
  const MemoryEstimate needed{
      .hidden_states = 3U << 20U, .layer_kv = 4U << 20U, .scratch = 0, .cache = 1U << 20U};
  try {
    check_memory(needed, 2U << 20U, 1234);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::Data);
    EXPECT_THAT(error.what(),
                ::testing::AllOf(::testing::HasSubstr("1234 tokens"), ::testing::HasSubstr("8.0 MiB"),
                                 ::testing::HasSubstr("2.0 MiB are available"),
                                 ::testing::HasSubstr("shorten the prompt")));
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
  }
}

TEST(Memory, TheCacheShrinksWithTheSpec) {
  const TinyModel model("llama2.gguf");
  const auto full = estimate_memory(model.decoder(), model.shape(), CacheSpec::parse("full"), 1000, 0);
  const auto thin = estimate_memory(model.decoder(), model.shape(), CacheSpec::parse("snapkv:64"), 1000, 0);
  EXPECT_LT(thin.cache, full.cache / 10);
  EXPECT_EQ(thin.hidden_states, full.hidden_states);
  EXPECT_EQ(thin.layer_kv, full.layer_kv);
  // Generated tokens are whole: 2 layers, 4 KV heads of 8 channels, keys and values in 16 bits.
  const auto longer = estimate_memory(model.decoder(), model.shape(), CacheSpec::parse("full"), 1000, 50);
  EXPECT_EQ(longer.cache - full.cache, 50U * 2 * 2 * 4 * 8 * 2);
  EXPECT_EQ(estimate_turn_memory(model.decoder(), SequenceCache(model.shape(), CacheSpec{}), 50, false).cache,
            50U * 2 * 2 * 4 * 8 * 2);
}

TEST(Memory, AllLogitsNeedNoRowPerToken) {
  const TinyModel model("llama2.gguf");
  const auto last = estimate_memory(model.decoder(), model.shape(), {}, 1000000, 0, false);
  const auto all = estimate_memory(model.decoder(), model.shape(), {}, 1000000, 0, true);
  EXPECT_GE(all.scratch, last.scratch);
  EXPECT_LT(all.scratch - last.scratch, 64U << 20U);  // [T, V] would be 366 MiB
}

}  // namespace
}  // namespace thinkey
