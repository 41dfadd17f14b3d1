// Answers with drafts against answers without: the same tokens, the same logits, the same saved cache.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/prompt_lookup.h"
#include "model/fixture.h"
#include "thinkey/error.h"
#include "thinkey/generate.h"

namespace thinkey {
namespace {

using testing::expected;
using testing::fixture_path;

TEST(PromptLookup, DraftsWhatFollowedTheLongestMatch) {
  PromptLookup lookup;
  EXPECT_TRUE(lookup.draft(4).empty());
  lookup.add(std::vector<std::int32_t>{1, 2, 3, 10, 11, 9, 2, 3, 20, 21, 1, 2, 3});
  EXPECT_EQ(lookup.draft(2), (std::vector<std::int32_t>{10, 11}));  // 1 2 3 beats the later 2 3
  EXPECT_EQ(lookup.draft(1), (std::vector<std::int32_t>{10}));
  EXPECT_TRUE(lookup.draft(0).empty());
  lookup.add(20);
  EXPECT_EQ(lookup.draft(2), (std::vector<std::int32_t>{21, 1}));
  lookup.add(7);
  EXPECT_TRUE(lookup.draft(4).empty());
}

TEST(PromptLookup, ARepetitionGoesOn) {
  PromptLookup lookup;
  lookup.add(std::vector<std::int32_t>{5, 6, 7, 5, 6});
  for (int i = 0; i < 8; ++i) lookup.learn(8, 8);  // long drafts are worth while
  EXPECT_EQ(lookup.draft(7), (std::vector<std::int32_t>{7, 5, 6, 7, 5, 6, 7}));
}

TEST(PromptLookup, DraftsLessWhereItWasWrong) {
  PromptLookup lookup;
  lookup.add(std::vector<std::int32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2});
  const std::size_t before = lookup.draft(8).size();
  for (int i = 0; i < 20; ++i) lookup.learn(3, 0);
  EXPECT_LT(lookup.draft(8).size(), before);
  EXPECT_EQ(lookup.draft(8).size(), 1U);
  for (int i = 0; i < 40; ++i) lookup.learn(8, 8);
  EXPECT_EQ(lookup.draft(8).size(), 8U);
}

class LookaheadAnswers : public ::testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  struct Answer {
    Generation generation;
    std::vector<float> logits;
    std::string saved;
    std::size_t allocated;
  };
  // A prompt that repeats itself, and an answer that does so too, or (temperature) tries.
  Answer answer(const char* spec, float temperature, std::size_t lookup, std::size_t context = 0) {
    Session session(model_, {.cache = CacheSpec::parse(spec), .context = context});
    std::vector<std::int32_t> prompt = expects_.ids;
    prompt.insert(prompt.end(), expects_.ids.begin(), expects_.ids.begin() + 40);
    Answer out{.generation = generate(session, prompt,
                                      {.max_tokens = 90,
                                       .sampler = {.temperature = temperature, .top_k = 3, .seed = 5},
                                       .lookup = lookup}),
               .logits = {session.logits().begin(), session.logits().end()},
               .saved = {},
               .allocated = session.cache_bytes_allocated()};
    EXPECT_EQ(out.allocated, session.cache_report().bytes);
    session.save(path_);
    std::ifstream file(path_, std::ios::binary);
    out.saved.assign(std::istreambuf_iterator<char>(file), {});
    return out;
  }

  std::shared_ptr<const Model> model_ =
      Model::load(fixture_path("llama31.gguf"), {.threads = 1, .precision = PrefillPrecision::F32});
  testing::Expected expects_ = expected("llama31");
  std::filesystem::path path_ =
      std::filesystem::temp_directory_path() / ("thinkey-lookahead-" + std::to_string(::getpid()) + ".kv");
};

TEST_F(LookaheadAnswers, AreThoseOfOneTokenAfterTheOther) {
  std::int64_t accepted = 0;
  std::int64_t rejected = 0;
  for (const char* spec : {"full", "think:0.4,recent=8", "snapkv:40,window=8,every=11+kivi:4,residual=16",
                           "snapkv:40,window=8+turbo:4", "h2o:40,every=9+think:0.5,recent=8"}) {
    for (const float temperature : {0.0F, 0.3F, 1.0F}) {
      SCOPED_TRACE(::testing::Message() << spec << ", temperature " << temperature);
      const Answer plain = answer(spec, temperature, 0);
      EXPECT_EQ(plain.generation.lookup.drafted, 0);
      for (const std::int64_t lookup : {1, 8, 32}) {
        const Answer ahead = answer(spec, temperature, lookup);
        EXPECT_EQ(ahead.generation.tokens, plain.generation.tokens);
        EXPECT_EQ(ahead.generation.text, plain.generation.text);
        EXPECT_EQ(ahead.generation.reason, plain.generation.reason);
        EXPECT_EQ(ahead.logits, plain.logits);
        EXPECT_EQ(ahead.saved, plain.saved);
        EXPECT_EQ(ahead.allocated, plain.allocated);
        const LookupCounts& counts = ahead.generation.lookup;
        const auto decoded =
            static_cast<std::int64_t>(ahead.generation.tokens.size()) + (ahead.generation.ended ? 1 : 0);
        EXPECT_EQ(counts.steps + counts.accepted, decoded);
        accepted += counts.accepted;
        rejected += counts.drafted - counts.accepted;
      }
    }
  }
  EXPECT_GT(accepted, 50);
  EXPECT_GT(rejected, 50);
}

TEST_F(LookaheadAnswers, EndWithTheContext) {
  const auto context = static_cast<std::int64_t>(expects_.ids.size()) + 40 + 33;
  const Answer plain = answer("full", 0.0F, 0, context);
  const Answer ahead = answer("full", 0.0F, 32, context);
  EXPECT_EQ(plain.generation.reason, StopReason::ContextFull);
  EXPECT_EQ(ahead.generation.reason, StopReason::ContextFull);
  EXPECT_EQ(ahead.saved, plain.saved);
}

TEST_F(LookaheadAnswers, ACallerWhoStopsFindsTheSessionAtRest) {
  // This model's tokens are text.
  const auto model =
      Model::load(fixture_path("llama2.gguf"), {.threads = 1, .precision = PrefillPrecision::F32});
  const std::vector<std::int32_t> prompt = expected("llama2").ids;
  const auto stopped = [&](std::int64_t lookup) {
    Session session(model);
    int pieces = 0;
    GenerateOptions options;
    options.sampler.temperature = 0.0F;
    options.lookup = lookup;
    options.sink = [&](std::string_view) { return ++pieces < 4; };
    const Generation out = generate(session, prompt, options);
    EXPECT_EQ(out.reason, StopReason::Caller);
    EXPECT_EQ(session.tokens_seen(), static_cast<std::int64_t>(prompt.size() + out.tokens.size()));
    session.save(path_);
    return out.tokens;
  };
  EXPECT_EQ(stopped(16), stopped(0));
  // Likewise one who throws, whatever of the draft was taken by then.
  Session session(model);
  int pieces = 0;
  GenerateOptions options;
  options.sampler.temperature = 0.0F;
  options.lookup = 16;
  options.sink = [&](std::string_view) -> bool {
    if (++pieces == 4) throw std::runtime_error("enough");
    return true;
  };
  EXPECT_THROW(static_cast<void>(generate(session, prompt, options)), std::runtime_error);
  EXPECT_NO_THROW(session.decode(1));
}

TEST_F(LookaheadAnswers, ADraftIsKeptBeforeAnythingElse) {
  Session session(model_);
  session.prefill(expects_.ids);
  EXPECT_EQ(session.draft_room(), 32U);
  const std::int32_t tokens[] = {1, 2, 3};
  session.decode_ahead(tokens);
  EXPECT_THROW(session.decode(1), Error);
  EXPECT_THROW(session.save(path_), Error);
  EXPECT_THROW(session.keep(0), Error);
  EXPECT_THROW(session.keep(4), Error);
  EXPECT_THROW(static_cast<void>(session.logits_ahead(3)), Error);
  session.keep(1);
  EXPECT_EQ(session.tokens_seen(), static_cast<std::int64_t>(expects_.ids.size()) + 1);
  const std::vector<std::int32_t> many(34, 1);
  EXPECT_THROW(session.decode_ahead(many), Error);
  GenerateOptions options;
  for (const std::int64_t lookup : {-1, 33}) {
    options.lookup = lookup;
    EXPECT_THROW(static_cast<void>(generate(session, {}, options)), Error);
  }
}

}  // namespace
}  // namespace thinkey
