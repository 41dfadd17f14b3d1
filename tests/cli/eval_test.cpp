// The evaluations as commands: files, resuming, reports, mistakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/eval_arguments.h"
#include "cli/eval_progress.h"
#include "cli/process.h"

namespace thinkey::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Outcome needle(const TemporaryDirectory& directory, const std::vector<std::string>& more,
               const Surroundings& surroundings = {}) {
  std::vector<std::string> arguments = {"eval",       "needle",
                                        "-m",         tiny_model(),
                                        "-t",         "1",
                                        "--chat",     "no",
                                        "--lengths",  "220",
                                        "--depths",   "0,100",
                                        "--needle",   "K is {value}.",
                                        "--question", "K?",
                                        "--repeats",  "2",
                                        "-n",         "6",
                                        "--results",  directory / "r.jsonl"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_thinkey(arguments, surroundings);
}

TEST(Eval, NeedleWritesItsReports) {
  const TemporaryDirectory directory;
  const Outcome outcome =
      needle(directory, {"--cache", "full", "--cache", "snapkv:64,window=16+think:0.5,form=paper", "--json",
                         directory / "n.json", "--html", directory / "n.html"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(outcome.out, HasSubstr("Needle in a haystack"));
  const auto json = nlohmann::json::parse(read_bytes(directory / "n.json"));
  ASSERT_EQ(json["caches"].size(), 2U);
  EXPECT_EQ(json["caches"][0]["samples"], 4);
  EXPECT_THAT(read_bytes(directory / "n.html"), HasSubstr("<svg"));
  const std::string results = read_bytes(directory / "r.jsonl");
  EXPECT_EQ(std::ranges::count(results, '\n'), 9);
}

// Torn anywhere, the file grows to the same records, and the report to the same figures.
TEST(Eval, GoesOnFromATornFile) {
  const TemporaryDirectory directory;
  const std::string first = needle(directory, {"--json", directory / "a.json"}).out;
  const std::string whole = read_bytes(directory / "r.jsonl");
  for (const std::size_t cut : {whole.size() - 1, whole.size() / 2, std::size_t{20}, std::size_t{0}}) {
    static_cast<void>(directory.write("r.jsonl", whole.substr(0, cut)));
    const Outcome again = needle(directory, {"--json", directory / "b.json"});
    EXPECT_EQ(again.status, 0) << again.err;
    EXPECT_THAT(again.err, HasSubstr(cut > 0 ? "r.jsonl: line " : "")) << cut;
    EXPECT_EQ(std::ranges::count(read_bytes(directory / "r.jsonl"), '\n'), 5);
    auto a = nlohmann::json::parse(read_bytes(directory / "a.json"));
    auto b = nlohmann::json::parse(read_bytes(directory / "b.json"));
    EXPECT_EQ(a["caches"][0]["score"], b["caches"][0]["score"]);
    EXPECT_EQ(a["caches"][0]["samples"], b["caches"][0]["samples"]);
  }
  const Outcome resumed = needle(directory, {});
  EXPECT_THAT(resumed.err, HasSubstr("4 results were in "));
  expect_failure(needle(directory, {"--seed", "2"}), 1,
                 {"r.jsonl: line 1", "\"seed\" was 1, is 2", "--fresh"});
  EXPECT_EQ(needle(directory, {"--seed", "2", "--fresh"}).status, 0);
}

TEST(Eval, InterruptKeepsWhatIsDone) {
  const TemporaryDirectory directory;
  const Outcome outcome = run_thinkey(
      {"eval", "needle", "-m", tiny_model(), "-t", "1", "--chat", "no", "--lengths", "220", "--needle",
       "K is {value}.", "--question", "K?", "--repeats", "100000", "--results", directory / "r.jsonl"},
      {.interrupt_work = true, .interrupt_delay_ms = 1500});
  EXPECT_EQ(outcome.status, 130);
  EXPECT_THAT(outcome.err, HasSubstr("the same command goes on"));
  if (!outcome.out.empty()) {  // samples were complete
    EXPECT_THAT(outcome.out, HasSubstr("(partial: interrupted)"));
  }
  const std::string results = read_bytes(directory / "r.jsonl");
  EXPECT_TRUE(results.empty() || results.back() == '\n');
}

TEST(Eval, AFullDiskLosesNothing) {
  const TemporaryDirectory directory;
  expect_failure(needle(directory, {}, {.file_limit = 900}), 1, {"r.jsonl: cannot write", "run again"});
  const std::string results = read_bytes(directory / "r.jsonl");
  ASSERT_FALSE(results.empty());
  EXPECT_EQ(results.back(), '\n');
  EXPECT_EQ(needle(directory, {}).status, 0);
}

TEST(Eval, PerplexityKlAndRuler) {
  const TemporaryDirectory directory;
  const std::string text = fixture("eval/perplexity.txt");
  const Outcome perplexity =
      run_thinkey({"eval", "perplexity", "-m", tiny_model(), "-t", "1", "-f", text, "-c", "64", "--results",
                   directory / "p", "--json", directory / "p.json"});
  ASSERT_EQ(perplexity.status, 0) << perplexity.err;
  EXPECT_EQ(nlohmann::json::parse(read_bytes(directory / "p.json"))["caches"][0]["tokens_scored"], 186);
  const Outcome kl = run_thinkey({"eval",
                                  "kl",
                                  "-m",
                                  tiny_model(),
                                  "-t",
                                  "1",
                                  "-f",
                                  text,
                                  "--prompt",
                                  "100",
                                  "--continuation",
                                  "20",
                                  "--samples",
                                  "2",
                                  "--cache",
                                  "think:0.5,form=paper",
                                  "--results",
                                  directory / "k",
                                  "--json",
                                  directory / "k.json"});
  ASSERT_EQ(kl.status, 0) << kl.err;
  EXPECT_GT(nlohmann::json::parse(read_bytes(directory / "k.json"))["caches"][0]["kl"].get<double>(), 0.0);
  const Outcome ruler =
      run_thinkey({"eval", "ruler", "-m", tiny_model(), "-t", "1", "--chat", "no", "--tasks",
                   "niah_single_1,fwe", "--lengths", "250", "--samples", "1", "--results", directory / "u"});
  ASSERT_EQ(ruler.status, 0) << ruler.err;
  EXPECT_THAT(ruler.out, HasSubstr("niah_single_1"));
}

TEST(Eval, Sweep) {
  const TemporaryDirectory directory;
  const std::string prompts = directory.write("prompts", "{\"prompt\":\"" + std::string(180, 'a') + "\"}\n");
  const Outcome outcome = run_thinkey({"sweep", "-m", tiny_model(), "-t", "1", "--chat", "no", "--prompts",
                                       prompts, "--budget", "50%", "-n", "8", "--levels", "1", "--results",
                                       directory / "s", "--json", directory / "s.json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(read_bytes(directory / "s.json"));
  EXPECT_THAT(outcome.out, HasSubstr("Recommended within "));
  EXPECT_THAT(outcome.out, HasSubstr(json["recommended"].get<std::string>()));
  EXPECT_GE(json["frontier"].size(), 1U);
}

TEST(Eval, Mistakes) {
  const TemporaryDirectory directory;
  expect_failure(run_thinkey({"eval"}), 2, {"needle, ruler, arithmetic, perplexity, kl"});
  expect_failure(run_thinkey({"eval", "neelde"}), 2, {"\"neelde\"", "needle"});
  expect_failure(needle(directory, {"--cache", "snapkv:20,windw=4"}), 2, {"windw"});
  expect_failure(needle(directory, {"--lengths", "1kk"}), 2, {"--lengths", "1kk"});
  expect_failure(needle(directory, {"--haystack", directory / "none"}), 1, {"none", "cannot list"});
  expect_failure(needle(directory, {"--html", "/nowhere/x.html"}), 1, {"/nowhere/x.html"});
  expect_failure(run_thinkey({"eval", "ruler", "-m", tiny_model(), "--tasks", "x"}), 2,
                 {"unknown RULER task \"x\""});
  expect_failure(run_thinkey({"sweep", "-m", tiny_model(), "--budget", "ten"}), 2, {"--budget", "ten"});
  expect_failure(run_thinkey({"sweep", "-m", tiny_model(), "--budget", "10%", "--prompts",
                              directory.write("bad", "{\"prompt\":\"a\"}\n{\n")}),
                 1, {"bad: line 2: not valid JSON"});
  expect_failure(run_thinkey({"sweep", "-m", tiny_model(), "--budget", "100", "--length", "100", "-n", "8"}),
                 1, {"no spec fits"});
}

TEST(Eval, HelpHasExamples) {
  for (const char* name : {"needle", "ruler", "arithmetic", "perplexity", "kl"}) {
    const Outcome outcome = run_thinkey({"eval", name, "--help"});
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.out, HasSubstr("Examples:\n  thinkey eval " + std::string(name)));
  }
}

// Where standard error is a file: whole lines, no control characters, and not before their time.
TEST(EvalProgress, LinesForALogFile) {
  const auto shown = [](std::chrono::steady_clock::duration between) {
    ::testing::internal::CaptureStderr();
    {
      cli::EvalProgress progress("kl", false, between);
      const eval::Hooks hooks = progress.hooks();
      hooks.run_progress(0, 4, 0);
      hooks.sample_progress(0.5);
      hooks.run_progress(2, 4, 0);
      progress.finish();
      hooks.run_progress(3, 4, 0);
    }
    return ::testing::internal::GetCapturedStderr();
  };
  const std::string lines = shown(std::chrono::nanoseconds(0));
  EXPECT_EQ(std::ranges::count(lines, '\n'), 3) << lines;
  EXPECT_THAT(lines, HasSubstr("kl [############............]  50%  sample 3 of 4"));
  EXPECT_EQ(lines.find_first_of("\r\033"), std::string::npos);
  EXPECT_EQ(shown(std::chrono::minutes(1)), "");
}

TEST(EvalProgress, Line) {
  EXPECT_EQ(cli::eval_progress_line("kl", 3, 10, 0.25, 0.0, 5.0),
            "kl [######..................]  25%  sample 3 of 10");
  EXPECT_THAT(cli::eval_progress_line("kl", 3, 10, 0.25, 0.2, 30.0), HasSubstr("  2:00 left"));
  EXPECT_THAT(cli::eval_progress_line("kl", 3, 10, 0.25, 0.01, 60.0), HasSubstr("  1:39:00 left"));
}

TEST(EvalArguments, Counts) {
  EXPECT_THAT(cli::parse_counts("--lengths", {"100", "2k", "1K"}), ::testing::ElementsAre(100, 2048, 1024));
  for (const char* bad : {"", "k", "-1", "0", "1.5k", "9999999k"}) {
    EXPECT_ANY_THROW(static_cast<void>(cli::parse_counts("--lengths", {bad}))) << bad;
  }
}

}  // namespace
}  // namespace thinkey::test
