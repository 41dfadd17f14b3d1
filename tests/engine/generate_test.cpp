#include "thinkey/generate.h"

#include <gtest/gtest.h>

#include "model/fixture.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

using testing::expected;
using testing::fixture_path;

// llama2.gguf has a tokenizer, and an end-of-turn token that the greedy continuation first meets
// after at least 20 others.
class Generate : public ::testing::Test {
 protected:
  [[nodiscard]] Session session(std::size_t context = 0) const {
    return Session(model_, {.context = context});
  }
  [[nodiscard]] std::size_t end_step() const {
    const auto& greedy = expects_.greedy;
    const auto ends = [&](std::int32_t id) { return model_->ends_generation(id); };
    return static_cast<std::size_t>(std::find_if(greedy.begin(), greedy.end(), ends) - greedy.begin());
  }

  std::shared_ptr<const Model> model_ =
      Model::load(fixture_path("llama2.gguf"), {.threads = 1, .precision = PrefillPrecision::F32});
  testing::Expected expects_ = expected("llama2");
  GenerateOptions greedy_{.max_tokens = {}, .sampler = {.temperature = 0.0F}, .progress = {}, .sink = {}};
};

TEST_F(Generate, StopsAtTheEndToken) {
  const std::size_t steps = end_step();
  ASSERT_GE(steps, 20U);
  ASSERT_LT(steps, expects_.greedy.size());
  Session s = session();
  const Generation out = generate(s, expects_.ids, greedy_);
  EXPECT_EQ(out.reason, StopReason::EndToken);
  EXPECT_TRUE(out.ended);
  EXPECT_EQ(out.tokens,
            std::vector(expects_.greedy.begin(), expects_.greedy.begin() + static_cast<int>(steps)));
  EXPECT_EQ(out.prompt_tokens, static_cast<std::size_t>(expects_.ids.size()));
  EXPECT_EQ(s.tokens_seen(), out.prompt_tokens + static_cast<std::size_t>(steps) + 1);  // the end token too
  EXPECT_GT(out.prefill_seconds, 0);
  EXPECT_GT(out.decode_seconds, 0);
}

TEST_F(Generate, StopsAtTheLimit) {
  for (const std::size_t limit : {0, 1, 7}) {
    Session s = session();
    greedy_.max_tokens = limit;
    const Generation out = generate(s, expects_.ids, greedy_);
    EXPECT_EQ(out.reason, StopReason::Length);
    EXPECT_FALSE(out.ended);
    EXPECT_EQ(out.tokens, std::vector(expects_.greedy.begin(), expects_.greedy.begin() + limit));
    EXPECT_EQ(s.tokens_seen(), out.prompt_tokens + limit);
  }
}

TEST_F(Generate, StopsWhenTheContextIsFull) {
  const auto prompt = static_cast<std::size_t>(expects_.ids.size());
  Session s = session(prompt + 5);
  const Generation out = generate(s, expects_.ids, greedy_);
  EXPECT_EQ(out.reason, StopReason::ContextFull);
  EXPECT_FALSE(out.ended);
  EXPECT_EQ(out.tokens, std::vector(expects_.greedy.begin(), expects_.greedy.begin() + 5));
  EXPECT_EQ(s.tokens_seen(), s.context());
}

TEST_F(Generate, StopsWhenTheCallerSaysSo) {
  std::string seen;
  int pieces = 0;
  greedy_.sink = [&](std::string_view text) {
    seen += text;
    return ++pieces < 4;
  };
  Session s = session();
  const Generation out = generate(s, expects_.ids, greedy_);
  EXPECT_EQ(out.reason, StopReason::Caller);
  EXPECT_EQ(pieces, 4);
  EXPECT_EQ(out.text, seen);
  EXPECT_EQ(s.tokens_seen(), out.prompt_tokens + static_cast<std::size_t>(out.tokens.size()));
}

TEST_F(Generate, TextIsThatOfTheTokens) {
  std::string seen;
  greedy_.sink = [&](std::string_view text) {
    seen += text;
    return true;
  };
  Session s = session();
  const Generation out = generate(s, expects_.ids, greedy_);
  EXPECT_FALSE(out.text.empty());
  EXPECT_EQ(out.text, seen);
  EXPECT_EQ(out.text, model_->detokenize(out.tokens));
}

TEST_F(Generate, GoesOnInTheSameSession) {
  Session s = session();
  greedy_.max_tokens = 5;
  const Generation first = generate(s, expects_.ids, greedy_);
  const Generation second = generate(s, std::span(expects_.greedy).subspan(5, 3), greedy_);
  EXPECT_EQ(first.tokens, std::vector(expects_.greedy.begin(), expects_.greedy.begin() + 5));
  EXPECT_EQ(second.tokens, std::vector(expects_.greedy.begin() + 8, expects_.greedy.begin() + 13));
}

TEST_F(Generate, SamplingRepeatsWithTheSeed) {
  const auto with_seed = [&](std::uint64_t seed) {
    Session s = session();
    return generate(s, expects_.ids, {.max_tokens = 20, .sampler = {.temperature = 1.5F, .seed = seed}})
        .tokens;
  };
  EXPECT_EQ(with_seed(3), with_seed(3));
  EXPECT_NE(with_seed(3), with_seed(4));
}

TEST_F(Generate, ThePromptCountsForTheRepeatPenalty) {
  Session s = session();
  greedy_.max_tokens = 1;
  greedy_.sampler.repeat_penalty = 1000.0F;
  greedy_.sampler.repeat_last_n = -1;
  const Generation out = generate(s, expects_.ids, greedy_);
  EXPECT_EQ(std::count(expects_.ids.begin(), expects_.ids.end(), out.tokens.at(0)), 0);
}

TEST_F(Generate, WorksWithoutTokenizer) {
  const testing::Expected expects = expected("llama31");
  Session s(Model::load(fixture_path("llama31"), {.threads = 1, .precision = PrefillPrecision::F32}));
  greedy_.max_tokens = 10;
  const Generation out = generate(s, expects.ids, greedy_);
  EXPECT_EQ(out.tokens, std::vector(expects.greedy.begin(), expects.greedy.begin() + 10));
  EXPECT_EQ(out.text, "");
}

TEST_F(Generate, RefusesWhatMakesNoSense) {
  Session s = session();
  EXPECT_THROW((void)generate(s, {}, greedy_), Error);
  greedy_.max_tokens = -2;
  EXPECT_THROW((void)generate(s, expects_.ids, greedy_), Error);
  EXPECT_EQ(s.tokens_seen(), 0);
}

TEST(StopReason, HasAName) {
  EXPECT_EQ(stop_reason_name(StopReason::EndToken), "eos");
  EXPECT_EQ(stop_reason_name(StopReason::Length), "length");
  EXPECT_EQ(stop_reason_name(StopReason::ContextFull), "context");
  EXPECT_EQ(stop_reason_name(StopReason::Caller), "stopped");
}

}  // namespace
}  // namespace thinkey
