#include "eval/run/run.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "support.h"

namespace thinkey::eval::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const RunIdentity kIdentity{"fake", "tiny", "00ff", "{}"};

struct Died : std::exception {};

// Counts how often each pair is measured; dies after `lifetime` records.
struct Fake {
  std::map<std::pair<std::size_t, std::string>, int> measured;
  int lifetime = 1000000;

  Task task(std::size_t samples) {
    Task task{.name = "fake", .settings = "{}", .samples = {}, .measure = {}};
    for (std::size_t i = 0; i < samples; ++i)
      task.samples.push_back({"s" + std::to_string(i), {{"n", std::to_string(i)}}});
    task.measure = [this](std::size_t sample, std::span<const CacheSpec> specs, const Hooks&,
                          const Emit& emit) {
      for (std::size_t i = 0; i < specs.size(); ++i) {
        if (lifetime-- <= 0) throw Died();
        ++measured[{sample, specs[i].to_string()}];
        emit(i, {.sample = {},
                 .cache = {},
                 .labels = {},
                 .values = {{"score", static_cast<double>(sample)}},
                 .prediction = {}});
      }
    };
    return task;
  }
};

std::vector<CacheSpec> specs(const std::vector<std::string>& texts) {
  std::vector<CacheSpec> out;
  for (const std::string& text : texts) out.push_back(CacheSpec::parse(text));
  return out;
}

TEST(Run, MeasuresEveryPairInOrder) {
  Fake fake;
  ResultFile file({}, kIdentity, false, {});
  const RunOutcome outcome = run(fake.task(2), specs({"full", "think:0.5,form=paper"}), file, {});
  ASSERT_EQ(outcome.records.size(), 4U);
  EXPECT_EQ(outcome.records[1].sample, "s0");
  EXPECT_EQ(outcome.records[1].cache, "think:0.5,form=paper");
  EXPECT_EQ(outcome.records[2].label("n"), "1");
  EXPECT_EQ(outcome.resumed, 0U);
}

// Dies after every possible number of records: nothing is lost and nothing is done twice.
TEST(Run, GoesOnWhereItDied) {
  for (int lifetime = 0; lifetime <= 6; ++lifetime) {
    const Scratch scratch;
    Fake fake;
    fake.lifetime = lifetime;
    const Task task = fake.task(3);
    const auto wanted = specs({"full", "think:0.5,form=paper"});
    for (int attempt = 0; attempt < 2; ++attempt) {
      try {
        ResultFile file(scratch / "results", kIdentity, false, {});
        const RunOutcome outcome = run(task, wanted, file, {});
        EXPECT_EQ(outcome.records.size(), 6U);
        EXPECT_EQ(outcome.resumed, attempt == 0 ? 0U : static_cast<std::size_t>(lifetime));
        break;
      } catch (const Died&) {
        fake.lifetime = 1000000;
      }
    }
    EXPECT_EQ(fake.measured.size(), 6U) << lifetime;
    for (const auto& [pair, count] : fake.measured) EXPECT_EQ(count, 1) << lifetime;
  }
}

TEST(Run, AddsSpecsToAnEarlierRun) {
  const Scratch scratch;
  Fake fake;
  const Task task = fake.task(2);
  {
    ResultFile file(scratch / "results", kIdentity, false, {});
    static_cast<void>(run(task, specs({"full"}), file, {}));
  }
  ResultFile file(scratch / "results", kIdentity, false, {});
  const RunOutcome outcome = run(task, specs({"think:0.5,form=paper", "full"}), file, {});
  EXPECT_EQ(outcome.resumed, 2U);
  EXPECT_EQ(outcome.records.size(), 4U);
  EXPECT_EQ(outcome.records[0].cache, "think:0.5,form=paper");
  for (const auto& [pair, count] : fake.measured) EXPECT_EQ(count, 1);
}

TEST(Run, LeavesOutWhatCannotBeMeasuredAndGoesOn) {
  Fake fake;
  Task task = fake.task(3);
  const Measure inner = task.measure;
  task.measure = [inner](std::size_t sample, std::span<const CacheSpec> wanted, const Hooks& hooks,
                         const Emit& emit) {
    if (sample == 1) throw SampleSkipped("too long");
    inner(sample, wanted, hooks, emit);
  };
  std::vector<std::string> warnings;
  ResultFile file({}, kIdentity, false, {});
  const RunOutcome outcome =
      run(task, specs({"full"}), file, {.warn = [&](const std::string& w) { warnings.push_back(w); }});
  EXPECT_EQ(outcome.records.size(), 2U);
  ASSERT_EQ(outcome.skipped.size(), 1U);
  EXPECT_EQ(outcome.skipped[0].first, "s1");
  EXPECT_THAT(warnings, ElementsAre("sample s1 is left out: too long"));
}

TEST(Run, ReportsProgressOfWhatIsLeft) {
  const Scratch scratch;
  Fake fake;
  const Task task = fake.task(3);
  fake.lifetime = 1;
  const auto once = [&](std::vector<std::size_t>& seen) {
    ResultFile file(scratch / "results", kIdentity, false, {});
    static_cast<void>(run(task, specs({"full"}), file,
                          {.run_progress = [&](std::size_t done, std::size_t all, std::size_t found) {
                            EXPECT_EQ(all, 3U);
                            seen.push_back(10 * done + found);
                          }}));
  };
  std::vector<std::size_t> first;
  std::vector<std::size_t> second;
  EXPECT_THROW(once(first), Died);
  fake.lifetime = 100;
  once(second);
  EXPECT_THAT(first, ElementsAre(0, 10));
  EXPECT_THAT(second, ElementsAre(11, 21, 31));
}

TEST(Run, RefusesEmptyAndDoubleLists) {
  Fake fake;
  ResultFile file({}, kIdentity, false, {});
  EXPECT_THAT(error_of([&] { static_cast<void>(run(fake.task(1), {}, file, {})); }),
              HasSubstr("at least one --cache"));
  EXPECT_THAT(error_of([&] {
                static_cast<void>(run(fake.task(1), specs({"snapkv:100", "snapkv:budget=100"}), file, {}));
              }),
              HasSubstr("given twice"));
  EXPECT_THAT(error_of([&] { static_cast<void>(run(fake.task(0), specs({"full"}), file, {})); }),
              HasSubstr("no samples"));
}

// NaN in a result or NonFiniteError from the model: refused, counted and told; the others are measured.
TEST(Run, CountsWhatIsNotFinite) {
  Fake fake;
  Task task = fake.task(4);
  const Measure measure = task.measure;
  task.measure = [&](std::size_t sample, std::span<const CacheSpec> some, const Hooks& hooks,
                     const Emit& emit) {
    if (sample == 1) throw NonFiniteError("the logits after token 3 are not finite");
    if (sample == 2) {
      emit(0, {.sample = {}, .cache = {}, .labels = {}, .values = {{"kl", std::nan("")}}, .prediction = {}});
    }
    measure(sample, some, hooks, emit);
  };
  std::vector<std::string> warnings;
  Hooks hooks;
  hooks.warn = [&](const std::string& text) { warnings.push_back(text); };
  ResultFile file({}, kIdentity, false, hooks);
  const RunOutcome outcome = run(task, specs({"full"}), file, hooks);
  EXPECT_EQ(outcome.records.size(), 2U);
  EXPECT_EQ(outcome.non_finite, 2U);
  ASSERT_EQ(warnings.size(), 2U);
  EXPECT_THAT(warnings[0], ::testing::AllOf(HasSubstr("s1 is refused"), HasSubstr("token 3")));
  EXPECT_THAT(warnings[1], ::testing::AllOf(HasSubstr("s2 is refused"), HasSubstr("\"kl\" is nan")));
}

TEST(Run, PartOfAnInterruptedRunHoldsWholeSamples) {
  Fake fake;
  fake.lifetime = 5;  // the third sample lacks its second spec
  const Task task = fake.task(4);
  ResultFile file({}, kIdentity, false, {});
  const std::vector<CacheSpec> two = specs({"full", "kivi:4"});
  EXPECT_THROW((void)run(task, two, file, {}), Died);
  const RunOutcome part = complete_part(task, two, file);
  EXPECT_TRUE(part.partial);
  ASSERT_EQ(part.records.size(), 4U);
  EXPECT_EQ(part.records[3].sample, "s1");
  EXPECT_EQ(part.records[3].cache, "kivi:4");
}

}  // namespace
}  // namespace thinkey::eval::test
