#include "thinkey/session.h"

#include <gmock/gmock.h>

#include <limits>

#include "model/fixture.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

using ::testing::AllOf;
using testing::Expected;
using testing::expected;
using testing::fixture_path;
using ::testing::HasSubstr;
using testing::largest_difference;

std::shared_ptr<const Model> load(const std::string& name) {
  return Model::load(fixture_path(name), {.threads = 1, .precision = PrefillPrecision::F32});
}

std::int32_t likeliest(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

// The message and kind of the Error that `call` throws.
template <typename Call>
std::pair<int, std::string> error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return {static_cast<int>(error.kind()), error.what()};
  }
  return {0, "nothing was thrown"};
}

// Sessions of different lengths and specs, in one step and one after the other.
TEST(DecodeTogether, EqualsDecodingApart) {
  const Expected expects = expected("llama2.gguf");
  const auto model = load("llama2.gguf");
  std::vector<Session> apart;
  std::vector<Session> together;
  const std::vector<std::string> specs = {"full", "snapkv:24,window=8+think:0.5,form=paper", "kivi:8"};
  for (std::size_t i = 0; i < specs.size(); ++i) {
    for (auto* sessions : {&apart, &together}) {
      sessions->emplace_back(model, SessionOptions{.cache = CacheSpec::parse(specs[i])});
      sessions->back().prefill(std::span(expects.ids).first(30 + 3 * i));
    }
  }
  std::vector<Session*> batch;
  for (Session& s : together) batch.push_back(&s);
  for (const std::int32_t step : {1, 2, 3}) {
    const std::vector<std::int32_t> tokens = {step, step + 5, step + 9};
    Session::decode_together(batch, tokens);
    for (std::size_t i = 0; i < apart.size(); ++i) {
      apart[i].decode(tokens[i]);
      // Last bits of a product differ with its rows; rounding queries to 16 bits may then go the other way.
      EXPECT_LT(largest_difference(apart[i].logits(), together[i].logits()), 1e-3) << specs[i];
      EXPECT_EQ(apart[i].tokens_seen(), together[i].tokens_seen());
    }
  }
  EXPECT_EQ(error_of([&] { Session::decode_together(batch, std::vector<std::int32_t>{1}); }).first, 2);
  batch[1] = batch[0];
  const auto [kind, message] = error_of([&] {
    Session::decode_together(batch, std::vector<std::int32_t>{1, 2, 3});
  });
  EXPECT_EQ(kind, 2);
  EXPECT_THAT(message, HasSubstr("more than once"));
}

class GreedySession : public ::testing::TestWithParam<std::string> {};

TEST_P(GreedySession, ContinuesAsTransformersDoes) {
  const Expected expects = expected(GetParam());
  Session session(Model::load(fixture_path(GetParam()), {.threads = 1,
                                                         .precision = PrefillPrecision::F32,
                                                         .decode_precision = DecodePrecision::F32}),
                  {.context = 256});
  session.prefill(expects.ids);
  EXPECT_EQ(session.tokens_seen(), static_cast<std::size_t>(expects.ids.size()));
  // The cache is in 16 bits: of two tokens that are closer than that can tell, either may come, once.
  std::size_t ties = 0;
  for (std::size_t i = 0; i < expects.greedy.size(); ++i) {
    const std::int32_t wanted = expects.greedy[i];
    const std::int32_t best = likeliest(session.logits());
    if (best != wanted) {
      ++ties;
      ASSERT_LE(session.logits()[static_cast<std::size_t>(best)] -
                    session.logits()[static_cast<std::size_t>(wanted)],
                0.02F)
          << "token " << i << ": " << best << " instead of " << wanted;
    }
    session.decode(wanted);
  }
  EXPECT_LE(ties, 1U);
  EXPECT_EQ(session.tokens_seen(), static_cast<std::size_t>(expects.ids.size() + expects.greedy.size()));
}

TEST_P(GreedySession, DeliversEveryRowToTheSink) {
  const Expected expects = expected(GetParam());
  Session session(Model::load(fixture_path(GetParam())), {.context = 256});
  std::size_t rows = 0;
  std::vector<float> last;
  session.prefill(expects.ids, {}, [&](std::size_t index, std::span<const float> logits) {
    EXPECT_EQ(index, rows++);
    last.assign(logits.begin(), logits.end());
  });
  EXPECT_EQ(rows, static_cast<std::size_t>(expects.ids.size()));
  EXPECT_EQ(largest_difference(last, session.logits()), 0.0F);
}

INSTANTIATE_TEST_SUITE_P(All, GreedySession, ::testing::ValuesIn(testing::fixture_models()),
                         testing::test_name);

TEST(Session, BothContainersGiveTheSame) {
  for (const char* name :
       {"llama2", "llama31", "llama32", "smollm2", "linear", "head_dim_24", "mistral_v01"}) {
    const Expected expects = expected(name);
    Session directory(load(name));
    Session file(load(std::string(name) + ".gguf"));
    directory.prefill(expects.ids);
    file.prefill(expects.ids);
    EXPECT_LE(largest_difference(directory.logits(), file.logits()), 1e-4F) << name;
  }
}

TEST(Session, TurnsGiveWhatOnePrefillGives) {
  const Expected expects = expected("smollm2");
  Session session(load("smollm2"));
  const std::span<const std::int32_t> ids = expects.ids;
  session.prefill(ids.first(50));
  session.decode(ids[50]);
  session.prefill(ids.subspan(51));
  EXPECT_TRUE(testing::close_but_for_16_bit_cache(session.logits(),
                                                  testing::row(expects.logits, ids.size() - 1, 96)));
}

TEST(Session, ThreadsDoNotChangeTheResult) {
  const Expected expects = expected("smollm2");
  Session session(Model::load(fixture_path("smollm2"), {.threads = 2, .precision = PrefillPrecision::F32}));
  session.prefill(expects.ids);
  EXPECT_LE(largest_difference(session.logits(), testing::row(expects.logits, expects.ids.size() - 1, 96)),
            1e-3F);
  session.decode(expects.greedy[0]);
  EXPECT_EQ(likeliest(session.logits()), expects.greedy[1]);
}

TEST(Session, MayStartWithDecode) {
  const Expected expects = expected("llama2");
  Session session(load("llama2"));
  session.decode(expects.ids[0]);
  session.decode(expects.ids[1]);
  EXPECT_TRUE(testing::close_but_for_16_bit_cache(session.logits(), testing::row(expects.logits, 1, 96)));
}

TEST(Session, ReportsTheCacheItAllocated) {
  const Expected expects = expected("llama2");
  Session full(load("llama2"));
  Session thin(load("llama2"), {.cache = CacheSpec::parse("snapkv:24,window=8+think:0.5,form=paper")});
  EXPECT_EQ(full.cache_bytes_allocated(), full.cache_report().bytes);
  full.prefill(expects.ids);
  thin.prefill(expects.ids);
  EXPECT_EQ(full.cache_report().tokens_seen, static_cast<std::size_t>(expects.ids.size()));
  EXPECT_EQ(full.cache_bytes_allocated(), full.cache_report().bytes);
  EXPECT_EQ(thin.cache_bytes_allocated(), thin.cache_report().bytes);
  EXPECT_LT(thin.cache_bytes_allocated(), full.cache_bytes_allocated() / 2);
}

TEST(Session, RefusesTokensThatMakeNoSense) {
  Session session(load("llama2"));
  const std::vector<std::int32_t> none;
  const std::vector<std::int32_t> above = {1, 96};
  const std::vector<std::int32_t> below = {-1};
  EXPECT_EQ(error_of([&] { session.prefill(none); }).first, 2);
  EXPECT_THAT(error_of([&] { session.prefill(above); }),
              ::testing::Pair(2, AllOf(HasSubstr("96"), HasSubstr("vocabulary"))));
  EXPECT_EQ(error_of([&] { session.prefill(below); }).first, 2);
  EXPECT_EQ(error_of([&] { session.decode(96); }).first, 2);
  EXPECT_EQ(session.tokens_seen(), 0);
  EXPECT_EQ(error_of([] { Session(nullptr); }).first, 2);
  EXPECT_EQ(error_of([] { Session(load("llama2"), {.context = std::size_t{1} << 31U}); }).first, 2);
  CacheSpec bad;
  bad.channels.keys = 1.5;
  EXPECT_EQ(error_of([&] { Session(load("llama2"), {.cache = bad}); }).first, 2);
}

TEST(Session, RefusesMoreThanTheContext) {
  const Expected expects = expected("llama2");
  EXPECT_EQ(Session(load("llama2")).context(), 256);
  Session session(load("llama2"), {.context = 50});
  EXPECT_EQ(session.context(), 50);
  const std::span<const std::int32_t> ids = expects.ids;
  EXPECT_THAT(error_of([&] { session.prefill(ids.first(51)); }),
              ::testing::Pair(1, AllOf(HasSubstr("51"), HasSubstr("context of 50"))));
  EXPECT_EQ(session.tokens_seen(), 0);
  session.prefill(ids.first(49));
  EXPECT_THAT(error_of([&] { session.prefill(ids.first(2)); }), ::testing::Pair(1, HasSubstr("after 49")));
  session.decode(ids[49]);
  EXPECT_EQ(error_of([&] { session.decode(ids[50]); }).first, 1);
  EXPECT_EQ(session.tokens_seen(), 50);
}

TEST(Session, RefusesWhatTheMemoryDoesNotHold) {
  const Expected expects = expected("llama2");
  const auto model = load("llama2");
  const std::span<const std::int32_t> ids = expects.ids;
  const std::size_t needed = model->estimate({}, static_cast<std::size_t>(ids.size()), 0).total() -
                             model->estimate({}, 1, 0).total() / 2;
  Session session(model, {.memory_limit = needed / 2});
  EXPECT_THAT(error_of([&] { session.prefill(ids); }),
              ::testing::Pair(
                  1, AllOf(HasSubstr("107 tokens"), HasSubstr("MiB are available"), HasSubstr("shorten"))));
  EXPECT_EQ(session.tokens_seen(), 0);
  EXPECT_EQ(session.cache_bytes_allocated(), 0U);
  session.prefill(ids.first(10));  // less fits
  EXPECT_EQ(session.tokens_seen(), 10);
  EXPECT_EQ(error_of([&] { session.prefill(ids.subspan(10)); }).first, 1);  // a later turn is checked too
  EXPECT_EQ(session.tokens_seen(), 10);
  Session roomy(model, {.memory_limit = std::numeric_limits<std::size_t>::max()});
  roomy.prefill(ids);
}

TEST(Session, AnInterruptedFirstPrefillLeavesItEmpty) {
  const Expected expects = expected("llama2");
  Session session(load("llama2"));
  int calls = 0;
  const auto interrupt = [&](double, double) {
    if (++calls == 3) throw std::runtime_error("interrupted");
  };
  EXPECT_THROW(session.prefill(expects.ids, interrupt), std::runtime_error);
  EXPECT_EQ(session.tokens_seen(), 0);
  EXPECT_EQ(session.cache_bytes_allocated(), 0U);
  session.prefill(expects.ids);
  EXPECT_LE(largest_difference(session.logits(), testing::row(expects.logits, expects.ids.size() - 1, 96)),
            1e-3F);

  calls = 0;
  EXPECT_THROW(session.prefill(expects.ids, interrupt), std::runtime_error);
  EXPECT_THAT(error_of([&] { session.decode(5); }), ::testing::Pair(2, HasSubstr("interrupted")));
}

// A budget is resolved for the prompt that is compressed, not for one that was given up.
TEST(Session, AnInterruptedPrefillLeavesABudgetAsItWasAskedFor) {
  const Expected expects = expected("llama2");
  const std::span<const std::int32_t> all = expects.ids;
  const SessionOptions options{.cache = CacheSpec::parse("auto:17KiB")};
  const auto model = load("llama2");
  Session fresh(model, options);
  fresh.prefill(all.first(all.size() / 2));
  std::size_t steps = 0;
  Session counted(model, options);
  counted.prefill(all, [&](double, double) { ++steps; });
  for (std::size_t stop = 1; stop <= steps; ++stop) {
    Session session(model, options);
    std::size_t calls = 0;
    EXPECT_THROW(session.prefill(all,
                                 [&](double, double) {
                                   if (++calls == stop) throw std::runtime_error("interrupted");
                                 }),
                 std::runtime_error);
    session.prefill(all.first(all.size() / 2));
    ASSERT_EQ(session.cache_report().spec, fresh.cache_report().spec) << stop << " of " << steps;
  }
}

TEST(Session, CanBeMoved) {
  const Expected expects = expected("llama2");
  Session first(load("llama2"));
  first.prefill(expects.ids);
  const std::vector<float> logits(first.logits().begin(), first.logits().end());
  Session second = std::move(first);
  EXPECT_EQ(largest_difference(second.logits(), logits), 0.0F);
  second.decode(expects.greedy[0]);
  EXPECT_EQ(likeliest(second.logits()), expects.greedy[1]);
  EXPECT_EQ(&second.model(), &second.model());
}

}  // namespace
}  // namespace thinkey
