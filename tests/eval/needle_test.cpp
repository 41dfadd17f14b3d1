#include "eval/needle/needle.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "eval/run/generation.h"
#include "support.h"
#include "thinkey/generate.h"

namespace thinkey::eval::test {
namespace {

using ::testing::HasSubstr;

const RunIdentity kIdentity{"needle", "tiny", "00ff", "{}"};

NeedleOptions small_options() {
  NeedleOptions options;
  options.lengths = {200, 250};
  options.depths = {0, 100};
  options.repeats = 2;
  options.needle = "Key {key} is {value}.";
  options.question = "Key {key}?";
  options.max_tokens = 8;
  return options;
}

TEST(Needle, MeasuresAllSpecsOnTheSameSamples) {
  const auto model = tiny_model();
  const Task task = needle_task(model, ChatUse::Never, {}, small_options());
  ASSERT_EQ(task.samples.size(), 8U);
  ResultFile file({}, kIdentity, false, {});
  const std::vector<CacheSpec> specs = {CacheSpec{},
                                        CacheSpec::parse("snapkv:64,window=16+think:0.5,form=paper")};
  const RunOutcome outcome = run(task, specs, file, {});
  ASSERT_EQ(outcome.records.size(), 16U);
  for (std::size_t i = 0; i < 16; i += 2) {
    const Record& full = outcome.records[i];
    const Record& thin = outcome.records[i + 1];
    EXPECT_EQ(full.value("prompt_tokens"), thin.value("prompt_tokens"));
    EXPECT_EQ(full.value("full_bytes"), thin.value("full_bytes"));
    EXPECT_LT(thin.value("cache_bytes"), full.value("cache_bytes"));
    const double length = std::stod(std::string(full.label("length")));
    EXPECT_LE(full.value("prompt_tokens") + 8, length);
    EXPECT_GT(full.value("prompt_tokens") + 8, length - 130) << "a sentence is at most about so long";
  }
}

// One prefill for many specs gives what a session of its own gives.
TEST(Needle, AnswersAreThoseOfASessionAlone) {
  const auto model = tiny_model();
  const std::vector<std::int32_t> prompt =
      model->tokenize("the quick brown fox jumps over the lazy dog and sleeps");
  const std::vector<CacheSpec> specs = {CacheSpec{},
                                        CacheSpec::parse("snapkv:24,window=8+think:0.5,form=paper")};
  const Measure measure = measure_generation(
      model, {.question =
                  [&](std::size_t) {
                    return Question{prompt, {"x"}, 12};
                  },
              .score = [](std::size_t, const Question&,
                          std::string_view text) { return static_cast<double>(text.size()); }});
  measure(0, specs, {}, [&](std::size_t spec, const Record& record) {
    Session session(model, {.cache = specs[spec]});
    GenerateOptions options;
    options.max_tokens = 12;
    options.sampler.temperature = 0.0F;
    const Generation alone = generate(session, prompt, options);
    EXPECT_EQ(record.prediction, alone.text);
    EXPECT_EQ(record.value("score"), static_cast<double>(alone.text.size()));
    EXPECT_EQ(record.value("answer_tokens"),
              static_cast<double>(alone.tokens.size() + (alone.ended ? 1 : 0)));
  });
}

TEST(Needle, SkipsWhatDoesNotFit) {
  NeedleOptions options = small_options();
  options.lengths = {20, 250, 4096};
  const Task task = needle_task(tiny_model(), ChatUse::Never, {}, options);
  ResultFile file({}, kIdentity, false, {});
  const RunOutcome outcome = run(task, {CacheSpec{}}, file, {});
  EXPECT_EQ(outcome.records.size(), 4U);
  ASSERT_EQ(outcome.skipped.size(), 8U);
  EXPECT_THAT(outcome.skipped.front().second, HasSubstr("needle and question alone"));
  EXPECT_THAT(outcome.skipped.back().second, HasSubstr("do not fit the context of 256"));
}

TEST(Needle, RefusesWhatMakesNoSense) {
  const auto model = tiny_model();
  const auto error = [&](auto change) {
    NeedleOptions options = small_options();
    change(options);
    return error_of([&] { static_cast<void>(needle_task(model, ChatUse::Never, {}, options)); });
  };
  EXPECT_EQ(error([](NeedleOptions&) {}), "");
  EXPECT_THAT(error([](NeedleOptions& o) { o.lengths = {8}; }), HasSubstr("no room for an answer"));
  EXPECT_THAT(error([](NeedleOptions& o) { o.depths = {101}; }), HasSubstr("depth 101"));
  EXPECT_THAT(error([](NeedleOptions& o) { o.answer = " "; }), HasSubstr("must not be empty"));
  EXPECT_THAT(error_of([&] { static_cast<void>(needle_task(model, ChatUse::Always, {}, small_options())); }),
              HasSubstr("chat"));
}

// The bundled model on its own generator's documents: the program end to end. What this shows besides is that
// the C++ generator writes what the Python one trained it on.
TEST(Needle, BundledModelFindsIt) {
  NeedleOptions options;
  options.lengths = {512};
  options.depths = {0, 50, 100};
  options.repeats = 2;
  const Task task = needle_task(bundled_model(), ChatUse::Auto, {}, options);
  ResultFile file({}, kIdentity, false, {});
  const RunOutcome outcome = run(task, {CacheSpec{}, CacheSpec::parse("streaming:10%")}, file, {});
  double full = 0.0;
  double streaming = 0.0;
  for (const Record& record : outcome.records)
    (record.cache == "full" ? full : streaming) += record.value("score");
  EXPECT_GE(full, 5.0);
  EXPECT_LE(streaming, 4.0) << "what stands before the last tokens is lost";
}

TEST(Needle, ReportHasAPanelPerCache) {
  const Task task = needle_task(tiny_model(), ChatUse::Never, {}, small_options());
  ResultFile file({}, kIdentity, false, {});
  const RunOutcome outcome = run(task, {CacheSpec{}, CacheSpec::parse("think:0.5,form=paper")}, file, {});
  const std::string html = report_html(needle_report(kIdentity, outcome));
  EXPECT_EQ(occurrences(html, "<g class=\"panel\""), 2U);
  EXPECT_EQ(occurrences(html, "class=\"cell\""), 8U);
}

TEST(Needle, DefaultLengths) {
  EXPECT_THAT(default_lengths(8192), ::testing::ElementsAre(1024, 2048, 4096, 8192));
  EXPECT_THAT(default_lengths(256), ::testing::ElementsAre(128, 256));
  EXPECT_EQ(default_lengths(1 << 20).back(), 32768);
}

}  // namespace
}  // namespace thinkey::eval::test
