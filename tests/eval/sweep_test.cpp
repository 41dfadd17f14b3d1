#include "eval/run/sweep.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "support.h"

namespace thinkey::eval::test {
namespace {

using ::testing::HasSubstr;

TEST(Sweep, SpecsFitTheirBytesAndUseThem) {
  const auto model = bundled_model();
  const std::size_t full = model->estimate_cache({}, 2000).full_bytes;
  for (const std::size_t bytes : {full / 20, full / 5, full * 2}) {
    const std::vector<CacheSpec> specs = specs_within(*model, 2000, bytes);
    EXPECT_GE(specs.size(), 25U);
    for (const CacheSpec& spec : specs) {
      const std::size_t own = model->estimate_cache(spec, 2000).bytes;
      EXPECT_LE(own, bytes) << spec.to_string();
      if (spec.turbo.budgeted()) continue;  // in bits, and in no more than 8
      if (!spec.eviction.active() || spec.eviction.budget >= 2000) continue;
      CacheSpec larger = spec;
      larger.eviction.budget += 1;
      EXPECT_GT(model->estimate_cache(larger, 2000).bytes, bytes) << spec.to_string() << " leaves room";
    }
  }
  EXPECT_TRUE(specs_within(*model, 2000, 1000).empty());
}

Record record(const char* cache, double bytes, double kl, const char* sample = "a") {
  return {sample,
          cache,
          {},
          {{"cache_bytes", bytes}, {"full_bytes", 100}, {"kl", kl}, {"top1", 1}, {"same", 1}},
          ""};
}

TEST(Sweep, FrontierAndRecommendation) {
  const std::vector<Record> records = {record("full", 100, 0), record("good", 40, 0.1),
                                       record("worse", 45, 0.3), record("small", 20, 0.5),
                                       record("tiny", 10, 2.0)};
  const auto names = [&](std::size_t budget) {
    std::string frontier;
    for (const Tried& entry : judge(records, budget)) frontier += entry.frontier ? entry.cache + " " : "";
    return frontier;
  };
  EXPECT_EQ(names(50), "tiny small good full ");
  EXPECT_EQ(recommend(judge(records, 50))->cache, "good");
  EXPECT_EQ(recommend(judge(records, 1000))->cache, "full");
  EXPECT_EQ(recommend(judge(records, 15))->cache, "tiny");
  EXPECT_FALSE(recommend(judge(records, 5)).has_value());
}

// What is not distinguishable from the best costs fewer bytes.
TEST(Sweep, RecommendsTheSmallestOfEquals) {
  const std::vector<Record> records = {record("large", 40, 0.1),  record("large", 40, 0.3, "b"),
                                       record("small", 20, 0.15), record("small", 20, 0.35, "b"),
                                       record("poor", 10, 2.0),   record("poor", 10, 2.1, "b")};
  EXPECT_EQ(recommend(judge(records, 50))->cache, "small");
}

TEST(Sweep, ComparesOnTheFullCachesAnswer) {
  SweepOptions options;
  options.prompts = {std::string(100, 'a') + " what is b?",
                     "the quick brown fox jumps over the lazy dog, twice in all"};
  options.max_tokens = 10;
  const Task task = sweep_task(tiny_model(), ChatUse::Never, options);
  const RunIdentity identity{"sweep", "tiny", "00ff", "{}"};
  ResultFile file({}, identity, false, {});
  const RunOutcome outcome = run(
      task, {CacheSpec{}, CacheSpec::parse("snapkv:16,window=8+think:0.6,recent=4,form=paper")}, file, {});
  ASSERT_EQ(outcome.records.size(), 4U);
  EXPECT_EQ(outcome.records[0].value("same"), 1.0);
  EXPECT_LT(outcome.records[0].value("kl"), 1e-9);
  EXPECT_GT(outcome.records[1].value("kl"), 1e-3);
  EXPECT_LE(outcome.records[1].value("tokens"), 10.0);
  const Report report = sweep_report(identity, outcome, 1U << 30U);
  EXPECT_THAT(report_text(report), HasSubstr("Recommended within 1.00 GiB: --cache full"));
}

}  // namespace
}  // namespace thinkey::eval::test
