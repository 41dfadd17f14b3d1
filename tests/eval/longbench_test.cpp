#include "eval/longbench/longbench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "eval/support.h"
#include "model/fixture.h"

namespace thinkey::eval {
namespace {

using test::error_of;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

class LongBenchFiles : public ::testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((directory_ / name).parent_path());
    std::ofstream(directory_ / name) << text;
  }
  static Json sample(const std::string& id) {
    return {{"_id", id},
            {"input", "Who?"},
            {"context", "Ann met Bob."},
            {"answers", {"Ann", "Bob"}},
            {"all_classes", nullptr},
            {"length", 3},
            {"dataset", "qasper"},
            {"language", "en"}};
  }
  // What reading a file of this sample and a broken one says.
  [[nodiscard]] std::string complaint(const Json& broken, const std::string& task = "qasper") const {
    write(task + ".jsonl", sample("a").dump() + "\n\n" + broken.dump() + "\n");
    return error_of([&] { (void)read_longbench(directory_, {task}, false); });
  }
  test::Scratch scratch_;
  std::filesystem::path directory_ = scratch_.path();
};

TEST_F(LongBenchFiles, ReadsSamplesOfTheTasksThatAreThere) {
  write("data/qasper.jsonl", sample("a").dump() + "\n" + sample("b").dump() + "\n");
  write("trec.jsonl", [] {
    Json json = sample("t");
    json["all_classes"] = {"Food", "Date"};
    json["answers"] = {"Food"};
    json.erase("length");
    return json.dump();
  }());
  const std::vector<LongBenchFile> files = read_longbench(directory_, {}, false);
  ASSERT_EQ(files.size(), 2U);
  EXPECT_EQ(files[0].task, "qasper");
  ASSERT_EQ(files[0].samples.size(), 2U);
  EXPECT_EQ(files[0].samples[1].id, "b");
  EXPECT_EQ(files[0].samples[1].context, "Ann met Bob.");
  EXPECT_EQ(files[0].samples[1].input, "Who?");
  EXPECT_EQ(files[0].samples[1].length, 3);
  EXPECT_THAT(files[0].samples[1].answers, ElementsAre("Ann", "Bob"));
  EXPECT_THAT(files[1].samples[0].classes, ElementsAre("Food", "Date"));
  EXPECT_EQ(files[1].samples[0].length, std::nullopt);
  EXPECT_EQ(read_longbench(directory_, {"qasper"}, false, 1)[0].samples.size(), 1U);
  EXPECT_THAT(error_of([&] { (void)read_longbench(directory_, {}, true); }),
              HasSubstr("narrativeqa_e.jsonl"));
  write("qasper_e.jsonl", sample("a").dump());
  EXPECT_EQ(read_longbench(directory_, {"qasper"}, true)[0].task, "qasper_e");
}

TEST_F(LongBenchFiles, NamesFileAndLineOfBadData) {
  Json broken = sample("b");
  broken.erase("context");
  EXPECT_THAT(complaint(broken),
              AllOf(HasSubstr("qasper.jsonl: line 3"), HasSubstr("\"context\" is missing")));
  broken = sample("b");
  broken["answers"] = "Ann";
  EXPECT_THAT(complaint(broken), AllOf(HasSubstr("line 3"), HasSubstr("answers")));
  broken["answers"] = Json::array();
  EXPECT_THAT(complaint(broken), AllOf(HasSubstr("line 3"), HasSubstr("empty")));
  broken["answers"] = {"Ann", 3};
  EXPECT_THAT(complaint(broken), AllOf(HasSubstr("line 3"), HasSubstr("strings only")));
  EXPECT_THAT(complaint(sample("a")), AllOf(HasSubstr("line 3"), HasSubstr("second time")));
  broken = sample("b");
  broken["length"] = "long";
  EXPECT_THAT(complaint(broken), AllOf(HasSubstr("line 3"), HasSubstr("length")));
  broken["length"] = -5;
  EXPECT_THAT(complaint(broken), HasSubstr("length"));
  EXPECT_THAT(complaint(sample("b"), "trec"),
              AllOf(HasSubstr("trec.jsonl: line 1"), HasSubstr("all_classes")));
  EXPECT_THAT(complaint(sample("b"), "passage_retrieval_en"),
              AllOf(HasSubstr("line 1"), HasSubstr("Paragraph")));
  write("qasper.jsonl", sample("a").dump() + "\n{\"_id\": \n");
  const auto read = [&](const std::vector<std::string>& tasks) {
    return error_of([&] { (void)read_longbench(directory_, tasks, false); });
  };
  EXPECT_THAT(read({"qasper"}), AllOf(HasSubstr("line 2"), HasSubstr("not valid JSON")));
  write("qasper.jsonl", "\n");
  EXPECT_THAT(read({"qasper"}), AllOf(HasSubstr("qasper.jsonl"), HasSubstr("empty")));
  EXPECT_THAT(read({"hotpotqa"}), HasSubstr("hotpotqa.jsonl: no such file"));
  EXPECT_THAT(read({"hotpot"}), AllOf(HasSubstr("\"hotpot\""), HasSubstr("hotpotqa")));
  write("qasper.jsonl", sample("a").dump());
  EXPECT_THAT(read({"qasper", "qasper"}), HasSubstr("twice"));
  EXPECT_THAT(error_of([&] { (void)read_longbench(directory_ / "nowhere", {}, false); }),
              HasSubstr("--data"));
}

TEST_F(LongBenchFiles, Prompts) {
  LongBenchSample asked;
  asked.task = "qasper_e";
  asked.context = "{input} stays";
  asked.input = "Q?";
  const LongBenchPrompts own = read_longbench_prompts(directory_);
  EXPECT_FALSE(own.official_prompts || own.official_lengths);
  EXPECT_THAT(own.fill(asked), AllOf(HasSubstr("{input} stays"), HasSubstr("Question: Q?")));
  EXPECT_EQ(own.max_new_tokens.find("gov_report")->second, 512);

  write("config/dataset2prompt.json", R"({"qasper": "{{x}} {context}\n{input}}}", "other": "{z}"})");
  write("dataset2maxlen.json", R"({"qasper": 7})");
  const LongBenchPrompts read = read_longbench_prompts(directory_);
  EXPECT_TRUE(read.official_prompts && read.official_lengths);
  EXPECT_EQ(read.fill(asked), "{x} {input} stays\nQ?}");
  EXPECT_EQ(read.max_new_tokens.find("qasper")->second, 7);
  EXPECT_EQ(read.max_new_tokens.find("trec")->second, 64);

  for (const char* bad : {R"({"trec": "{question}"})", R"({"trec": "{context"})", R"({"trec": "}"})"}) {
    write("config/dataset2prompt.json", bad);
    EXPECT_THAT(error_of([&] { (void)read_longbench_prompts(directory_); }),
                AllOf(HasSubstr("dataset2prompt.json"), HasSubstr("trec")));
  }
  write("config/dataset2prompt.json", R"({"trec": 3})");
  EXPECT_THAT(error_of([&] { (void)read_longbench_prompts(directory_); }), HasSubstr("trec"));
  write("config/dataset2prompt.json", "{}");
  write("dataset2maxlen.json", R"({"qasper": 0})");
  EXPECT_THAT(error_of([&] { (void)read_longbench_prompts(directory_); }),
              AllOf(HasSubstr("dataset2maxlen.json"), HasSubstr("qasper")));
}

TEST(LongBenchTasks, AreTheBenchmarks) {
  std::set<std::string_view> names;
  const LongBenchPrompts own = read_longbench_prompts("/nowhere");
  for (const LongBenchTask& task : longbench_tasks()) {
    names.insert(task.name);
    EXPECT_GT(task.max_new_tokens, 0) << task.name;
    EXPECT_THAT(std::string(task.prompt), HasSubstr("{context}")) << task.name;
    LongBenchSample sample;
    sample.task = task.name;
    sample.context = "CONTEXT";
    EXPECT_THAT(own.fill(sample), HasSubstr("CONTEXT")) << task.name;
    EXPECT_EQ(&longbench_task(std::string(task.name) + "_e"), &task);
  }
  EXPECT_EQ(names.size(), 21U);
}

TEST(LongBenchTasks, BestReferenceAndFirstLine) {
  const ChineseSegmenter characters;
  const ScoreOptions options{.segmenter = characters};
  const std::vector<std::string> answers = {"nothing", "the red door", "red"};
  const auto score = [&](const char* task, const char* prediction) {
    return longbench_score(longbench_task(task), prediction, answers, {}, options);
  };
  EXPECT_DOUBLE_EQ(score("hotpotqa", "Red door."), 1.0);
  EXPECT_DOUBLE_EQ(score("triviaqa", "\n\nRed door.\nPassage: more"), 1.0);
  EXPECT_LT(score("hotpotqa", "\n\nRed door.\nPassage: more"), 0.8);  // all lines count here
  EXPECT_DOUBLE_EQ(longbench_score(longbench_task("hotpotqa"), "x", {}, {}, options), 0.0);
  EXPECT_EQ(length_bucket(3999), "0-4k");
  EXPECT_EQ(length_bucket(4000), "4-8k");
  EXPECT_EQ(length_bucket(8000), "8k+");
}

// A tokenizer of one token per character.
TEST(LongBench, CutsTheMiddle) {
  const auto model = Model::load(testing::fixture_path("llama2.gguf"), {.threads = 1});
  const PromptEncoder encoder(model, ChatUse::Never);
  const std::string text = "abcdefghij0123456789klmnopqrst";
  const auto cut = [&](std::size_t max_length, std::size_t room) {
    return model->detokenize(encode_truncated(encoder, text, max_length, room));
  };
  const std::string whole = model->detokenize(encoder.encode(text));
  EXPECT_EQ(cut(0, 200), whole);
  EXPECT_EQ(cut(0, static_cast<std::size_t>(encoder.encode(text).size())), whole);
  EXPECT_EQ(cut(10, 200), "abcdpqrst");  // the first of the ten tokens is the space that SentencePiece adds
  for (std::size_t room = 6; room < 35; ++room) {
    const std::vector<std::int32_t> ids = encode_truncated(encoder, text, 0, room);
    EXPECT_LE(ids.size(), static_cast<std::size_t>(room));
    EXPECT_GE(ids.size() + 4, std::min<std::size_t>(static_cast<std::size_t>(room), 31)) << room;
    EXPECT_THAT(model->detokenize(ids), HasSubstr("t"));
  }
  EXPECT_THROW((void)encode_truncated(encoder, text, 0, 1), SampleSkipped);
  EXPECT_THROW((void)encode_truncated(encoder, text, 0, -5), SampleSkipped);
}

Record record(const std::string& task, const std::string& cache, double score,
              const std::string& length = {}) {
  Record record{.sample = task + std::to_string(score),
                .cache = cache,
                .labels = {{"task", task}, {"kind", std::string(group_name(longbench_task(task).group))}},
                .values = {{"score", score}},
                .prediction = ""};
  if (!length.empty()) record.labels.emplace_back("length", length);
  return record;
}

// Tasks count the same however many samples they have.
TEST(LongBench, ReportAveragesOverTasks) {
  RunOutcome outcome;
  outcome.records = {record("qasper_e", "full", 1.0, "8k+"), record("qasper_e", "full", 0.0, "0-4k"),
                     record("qasper_e", "full", 0.5, "0-4k"), record("hotpotqa_e", "full", 0.25, "0-4k"),
                     record("narrativeqa", "full", 0.1)};
  const Report report =
      longbench_report({.task = "longbench", .model = "m", .weights = "0", .settings = "{}"}, outcome);
  const Json json = Json::parse(report.json);
  const Json& full = json["caches"][0];
  EXPECT_NEAR(full["tasks"]["qasper_e"].get<double>(), 50.0, 1e-9);
  EXPECT_NEAR(full["tasks"]["hotpotqa_e"].get<double>(), 25.0, 1e-9);
  EXPECT_NEAR(full["average"].get<double>(), (50.0 + 25.0 + 10.0) / 3, 1e-9);
  EXPECT_NEAR(full["kinds"]["single-document QA"].get<double>(), 30.0, 1e-9);
  EXPECT_NEAR(full["lengths"]["0-4k"].get<double>(), 25.0, 1e-9);
  EXPECT_NEAR(full["lengths"]["8k+"].get<double>(), 100.0, 1e-9);
  EXPECT_THAT(report_text(report), AllOf(HasSubstr("28.33"), HasSubstr("hotpotqa_e")));
}

}  // namespace
}  // namespace thinkey::eval
