#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "cli/process.h"
#include "eval/longbench/longbench_tasks.h"
#include "thinkey/generate.h"

namespace thinkey::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

std::string sample(const std::string& id, const std::string& context, const std::vector<std::string>& answers,
                   const std::vector<std::string>& classes = {}) {
  return Json({{"_id", id},
               {"input", "who"},
               {"context", context},
               {"answers", answers},
               {"all_classes", classes},
               {"length", 5000}})
             .dump() +
         "\n";
}

std::vector<Json> lines_of(const std::string& path) {
  std::vector<Json> lines;
  std::istringstream stream(read_bytes(path));
  for (std::string line; std::getline(stream, line);) lines.push_back(Json::parse(line));
  return lines;
}

class EvalLongBench : public ::testing::Test {
 protected:
  EvalLongBench() {
    directory_.write("dataset2prompt.json",
                     R"({"qasper": "{context} {input}", "trec": "{context}:{input}"})");
    directory_.write("dataset2maxlen.json", R"({"qasper": 5, "trec": 6})");
    qasper_ =
        sample("1", "ann met bob", {"q", "z"}) + sample("2", std::string(500, 'x') + "end", {"a b", "m"});
    directory_.write("qasper.jsonl", qasper_);
    directory_.write("trec.jsonl", sample("1", "hello", {"a"}, {"a", "e", "z"}));
  }
  Outcome run(const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"eval",
                                          "longbench",
                                          "-m",
                                          tiny_model(),
                                          "--data",
                                          directory_ / "",
                                          "--results",
                                          directory_ / "results.jsonl",
                                          "-t",
                                          "1",
                                          "--prefill-precision",
                                          "f32"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_thinkey(arguments);
  }
  TemporaryDirectory directory_;
  std::string qasper_;
};

TEST_F(EvalLongBench, ScoresWhatTheModelSays) {
  const std::vector<std::string> more = {"--cache", "full",
                                         "--cache", "snapkv:budget=40,window=8+think:0.5,form=paper",
                                         "--json",  directory_ / "out.json"};
  const Outcome outcome = run(more);
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("score by task"), HasSubstr("qasper"), HasSubstr("average")));
  const std::vector<Json> lines = lines_of(directory_ / "results.jsonl");
  ASSERT_EQ(lines.size(), 1U + 3 * 2);

  // The prediction is the engine's own, the score the metric's, the report's figures their means.
  Session session(Model::load(tiny_model(), {.threads = 1, .precision = PrefillPrecision::F32}), {});
  GenerateOptions options;
  options.sampler.temperature = 0.0F;
  options.max_tokens = 5;
  EXPECT_EQ(lines[1].at("prediction"),
            generate(session, session.model().tokenize("ann met bob who"), options).text);
  const eval::ChineseSegmenter characters;
  double sum = 0.0;
  for (const Json& line : lines) {
    if (!line.contains("sample") || line.at("cache") != "full") continue;
    const auto id = line.at("sample").get<std::string>();
    const auto prediction = line.value("prediction", "");
    const std::vector<std::string> answers =
        id == "qasper/1"
            ? std::vector<std::string>{"q", "z"}
            : (id == "qasper/2" ? std::vector<std::string>{"a b", "m"} : std::vector<std::string>{"a"});
    const double score =
        eval::longbench_score(eval::longbench_task(id.substr(0, id.find('/'))), prediction, answers,
                              std::vector<std::string>{"a", "e", "z"}, {.segmenter = characters});
    EXPECT_NEAR(line.at("values").at("score").get<double>(), score, 1e-12) << id;
    sum += id.starts_with("qasper") ? score / 2 : score;
    // The long prompt has lost its middle.
    EXPECT_LE(line.at("values").at("prompt_tokens").get<int>(), kTinyContext - 5);
    if (id == "qasper/2") {
      EXPECT_GE(line.at("values").at("prompt_tokens").get<int>(), kTinyContext - 10);
    }
  }
  const Json json = Json::parse(read_bytes(directory_ / "out.json"));
  EXPECT_NEAR(json["caches"][0]["average"].get<double>(), 100.0 * sum / 2, 1e-9);
  EXPECT_EQ(json["settings"]["prompts"], "dataset2prompt.json");

  const Outcome again = run(more);
  EXPECT_EQ(again.status, 0);
  EXPECT_EQ(again.out, outcome.out);
  EXPECT_THAT(again.err, HasSubstr("6 results were in"));
  EXPECT_EQ(lines_of(directory_ / "results.jsonl").size(), 7U);
}

TEST_F(EvalLongBench, TasksAndLimit) {
  const Outcome outcome = run({"--tasks", "qasper", "--limit", "1"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(lines_of(directory_ / "results.jsonl").size(), 2U);
  EXPECT_THAT(outcome.out, Not(HasSubstr("trec")));
  directory_.write("trec_e.jsonl", sample("1", "hello", {"a"}, {"a", "e", "z"}));
  const Outcome extended = run({"-e", "--fresh"});
  ASSERT_EQ(extended.status, 0) << extended.err;
  EXPECT_THAT(extended.out, AllOf(HasSubstr("trec_e"), HasSubstr("4-8k")));
}

TEST_F(EvalLongBench, BadDataStopsBeforeTheModelRuns) {
  expect_failure(run({"--tasks", "qaspr"}), 2, {"\"qaspr\"", "qasper"});
  expect_failure(run({"--tasks", "hotpotqa"}), 1, {"hotpotqa.jsonl", "no such file"});
  directory_.write("qasper.jsonl", qasper_ + "{\"_id\": \"3\"}\n");
  expect_failure(run({}), 1, {"qasper.jsonl", "line 3", "input"});
  directory_.write("dataset2prompt.json", "[]");
  expect_failure(run({}), 1, {"dataset2prompt.json"});
  expect_failure(run_thinkey({"eval", "longbench", "-m", tiny_model()}), 2, {"--data"});
  EXPECT_FALSE(std::filesystem::exists(directory_ / "results.jsonl"));
}

class EvalScore : public ::testing::Test {
 protected:
  static std::string line(const std::string& prediction, const std::vector<std::string>& answers,
                          int length) {
    return Json({{"pred", prediction}, {"answers", answers}, {"all_classes", nullptr}, {"length", length}})
               .dump() +
           "\n";
  }
  Outcome score(const std::string& task, const std::string& text, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"eval", "score", "--task", task, directory_.write("p.jsonl", text)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_thinkey(arguments);
  }
  TemporaryDirectory directory_;
};

TEST_F(EvalScore, MeansOfThreeLines) {
  const std::string text =
      line("The cat.", {"dog", "cat"}, 10) + line("a red cat", {"red"}, 4000) + line("nothing", {"cat"}, 20);
  const Outcome outcome = score("hotpotqa", text, {"--json", directory_ / "out.json"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  // (1 + 2/3 + 0) / 3; the first and the third are the short ones.
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr("QA F1"), HasSubstr("55.56"), HasSubstr("50.00"), HasSubstr("66.67")));
  const Json json = Json::parse(read_bytes(directory_ / "out.json"));
  EXPECT_NEAR(json["scores"][1].get<double>(), 2.0 / 3.0, 1e-12);
  EXPECT_NEAR(json["lengths"]["4-8k"].get<double>(), 200.0 / 3.0, 1e-9);
  EXPECT_TRUE(json["lengths"]["8k+"].is_null());
}

TEST_F(EvalScore, ChineseSaysHowWordsWereCut) {
  const std::string text = line("我们在会议室", {"我们在河边"}, 1);
  const std::string jieba = std::string(THINKEY_EVAL_DATA) + "/jieba";
  const Outcome characters = score("multifieldqa_zh", text, {"--jieba", "none"});
  EXPECT_THAT(characters.out, AllOf(HasSubstr("single characters"), HasSubstr("54.55")));  // 3 of 6 and of 5
  const Outcome words = score("multifieldqa_zh", text, {"--jieba", jieba});
  EXPECT_THAT(words.out, AllOf(HasSubstr("jieba ("), HasSubstr("66.67")));  // 我们 在 会议室, 我们 在 河边
  expect_failure(score("multifieldqa_zh", text, {"--jieba", "/nowhere"}), 1, {"/nowhere", "python3-jieba"});
}

TEST_F(EvalScore, CodeSimilarityIsChosen) {
  const std::string text =
      line("abcdef", {"badcfe"}, 1);  // matching blocks find 3 characters, as the LCS does
  const std::string swapped = line("xaybzc ab", {"ab xyzabc"}, 1);
  EXPECT_THAT(score("lcc", text).out, HasSubstr("difflib"));
  const std::string difflib = score("lcc", swapped).out;
  const std::string levenshtein = score("lcc", swapped, {"--code-similarity", "levenshtein"}).out;
  EXPECT_THAT(levenshtein, HasSubstr("levenshtein"));
  EXPECT_NE(difflib, levenshtein);
}

TEST_F(EvalScore, BadInput) {
  expect_failure(score("hotpot", line("a", {"a"}, 1)), 2, {"\"hotpot\"", "hotpotqa"});
  expect_failure(score("hotpotqa", line("a", {"a"}, 1) + "{\"pred\": \"a\"}\n"), 1,
                 {"p.jsonl", "line 2", "answers"});
  expect_failure(score("hotpotqa", "{\"pred\": 3, \"answers\": [\"a\"]}\n"), 1, {"line 1", "pred"});
  expect_failure(score("trec", line("a", {"a"}, 1)), 1, {"line 1", "all_classes"});
  expect_failure(score("passage_retrieval_zh", line("a", {"Paragraph 1"}, 1)), 1, {"line 1", "段落"});
  expect_failure(score("hotpotqa", ""), 1, {"p.jsonl", "empty"});
  expect_failure(score("lcc", line("a", {"a"}, 1), {"--code-similarity", "other"}), 2, {"--code-similarity"});
  expect_failure(run_thinkey({"eval", "score", "--task", "lcc", "/nowhere.jsonl"}), 1, {"/nowhere.jsonl"});
}

}  // namespace
}  // namespace thinkey::test
