#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/process.h"
#include "thinkey/generate.h"

namespace thinkey::test {
namespace {

using ::testing::HasSubstr;

// The first tokens of the greedy continuation, by the library alone.
std::string library_answer(const std::string& prompt, std::size_t count, const std::string& spec = "full") {
  Session session(Model::load(tiny_model(), {.threads = 1, .precision = PrefillPrecision::F32}),
                  {.cache = CacheSpec::parse(spec)});
  GenerateOptions options;
  options.sampler.temperature = 0.0F;
  options.max_tokens = count;
  return generate(session, session.model().tokenize(prompt), options).text;
}

Outcome run_greedy(const std::vector<std::string>& more, const Surroundings& surroundings = {}) {
  std::vector<std::string> arguments = {"run", "-m", tiny_model(),          "--temp", "0", "-n", "12",
                                        "-t",  "1",  "--prefill-precision", "f32"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_thinkey(arguments, surroundings);
}

TEST(Run, AnswersAndReports) {
  const Outcome outcome = run_greedy({"-p", "Hello there"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, library_answer("Hello there", 12) + "\n");
  EXPECT_THAT(outcome.err, HasSubstr("prompt   "));
  EXPECT_THAT(outcome.err, HasSubstr("ended by: "));
  EXPECT_THAT(outcome.err, HasSubstr("cache    full: "));
  EXPECT_THAT(outcome.err, HasSubstr("0-1 "));
}

TEST(Run, QuietSaysNothingElse) { EXPECT_EQ(run_greedy({"-p", "Hello", "-q"}).err, ""); }

TEST(Run, PromptFromFileAndPipe) {
  const TemporaryDirectory directory;
  const std::string wanted = library_answer("Hello there", 12) + "\n";
  EXPECT_EQ(run_greedy({"-f", directory.write("unix", "Hello there\n")}).out, wanted);
  EXPECT_EQ(run_greedy({"-f", directory.write("dos", "Hello there\r\n")}).out, wanted);
  EXPECT_EQ(run_greedy({}, {.input = "Hello there"}).out, wanted);
  EXPECT_EQ(run_greedy({"-f", "-"}, {.input = "Hello there\n"}).out, wanted);
  // A file and a question: the question comes last.
  EXPECT_EQ(run_greedy({"-f", directory.write("text", "Hello\n"), "-p", "you"}).out,
            library_answer("Hello\nyou", 12) + "\n");
}

TEST(Run, Json) {
  const Outcome outcome = run_greedy({"-p", "Hello there", "--json", "--seed", "7"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["text"], library_answer("Hello there", 12));
  EXPECT_EQ(json["stop"], json["tokens"].size() == 12 ? "length" : "eos");
  EXPECT_EQ(json["seed"], 7);
  EXPECT_EQ(json["prompt"]["tokens"], 13);  // BOS, the leading space and eleven characters
  EXPECT_EQ(json["decode"]["tokens"], json["tokens"].size());
  EXPECT_EQ(json["cache"]["spec"], "full");
  EXPECT_EQ(json["cache"]["layers"].size(), 2);
  EXPECT_GT(json["cache"]["bytes"].get<std::size_t>(), 0);
}

TEST(Run, LookupChangesNothingButTheReport) {
  const Outcome outcome = run_greedy({"-p", "one two one two one two", "--lookup", "8"});
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, library_answer("one two one two one two", 12) + "\n");
  EXPECT_THAT(outcome.err, HasSubstr("lookup   "));
  EXPECT_THAT(outcome.err, HasSubstr(" tokens per step"));
  const auto json =
      nlohmann::json::parse(run_greedy({"-p", "one two one two", "--lookup", "8", "--json"}).out);
  EXPECT_EQ(json["lookup"]["steps"].get<int>() + json["lookup"]["accepted"].get<int>(),
            static_cast<int>(json["tokens"].size()) + (json["stop"] == "eos" ? 1 : 0));
  EXPECT_THAT(run_greedy({"-p", "one", "--lookup", "33"}).err, HasSubstr("--lookup"));
}

TEST(Run, NoBos) {
  const auto json = nlohmann::json::parse(run_greedy({"-p", "Hello there", "--json", "--no-bos"}).out);
  EXPECT_EQ(json["prompt"]["tokens"], 12);
}

TEST(Run, SpecialTokens) {
  const auto tokens = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"-p", "</s>", "--json", "--no-bos"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return nlohmann::json::parse(run_greedy(arguments).out)["prompt"]["tokens"].get<int>();
  };
  EXPECT_EQ(tokens({}), 5);
  EXPECT_EQ(tokens({"--special"}), 1);
}

TEST(Run, ThinCache) {
  const std::string prompt(200, 'x');
  const Outcome outcome =
      run_greedy({"-p", prompt, "--json", "--cache", "snapkv:budget=64,window=16+think:0.5,form=paper"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto json = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(json["text"], library_answer(prompt, 12, "snapkv:budget=64,window=16+think:0.5,form=paper"));
  EXPECT_EQ(json["cache"]["spec"].get<std::string>().substr(0, 7), "snapkv:");
  EXPECT_LT(json["cache"]["share_of_full"].get<double>(), 0.7);
}

TEST(Run, SeedsDecide) {
  const auto sample = [](const std::string& seed) {
    return run_thinkey(
               {"run", "-m", tiny_model(), "-p", "Hello", "-n", "24", "--temp", "1.5", "-q", "-s", seed})
        .out;
  };
  EXPECT_EQ(sample("3"), sample("3"));
  EXPECT_NE(sample("3"), sample("4"));
}

TEST(Run, ChatTemplate) {
  const auto tokens = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"-p", "Hi", "--json", "--chat", "--chat-template", "chatml"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = run_greedy(arguments);
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out)["prompt"]["tokens"].get<int>();
  };
  EXPECT_GT(tokens({}), 20);
  EXPECT_GT(tokens({"--system", "Be brief."}), tokens({}) + 9);
  EXPECT_GT(tokens({"--system", ""}), tokens({}) + 9);  // an empty system message is one
  expect_failure(run_greedy({"-p", "Hi", "--chat", "--chat-template", "chatlm"}), 2, {"chatlm", "chatml"});
}

TEST(Run, ChatTemplateFromAFile) {
  const TemporaryDirectory directory;
  const std::string path = directory.write("t.jinja", "{{ messages[0].content }}{{ x }}");
  const Outcome outcome = run_greedy({"-p", "Hello", "--json", "--chat", "--chat-template-file", path,
                                      "--chat-template-kwargs", R"({"x": " there"})"});
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(nlohmann::json::parse(outcome.out)["text"], library_answer("Hello there", 12));
  const std::string raises = directory.write("r.jinja", "\n{{ raise_exception('no ' ~ messages[0].role) }}");
  expect_failure(run_greedy({"-p", "Hi", "--chat", "--chat-template-file", raises}), 1,
                 {"line 2", "no user"});
}

// What would have no effect is refused by name.
TEST(Run, ChatOptionsWithoutAChat) {
  for (const std::vector<std::string>& options : {std::vector<std::string>{"--system", "x"},
                                                  {"--system", ""},
                                                  {"--chat-template", "chatml"},
                                                  {"--chat-template-file", "x"},
                                                  {"--chat-template-kwargs", "{}"}}) {
    std::vector<std::string> arguments = {"-p", "Hi"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    expect_failure(run_greedy(arguments), 2, {options[0], "--chat"});
  }
  expect_failure(run_greedy({"-p", "Hi", "--chat", "--system", "x", "--load-cache", "x.kv"}), 2,
                 {"--system", "--load-cache"});
}

TEST(Run, ContextEndsTheAnswer) {
  const auto json = nlohmann::json::parse(
      run_thinkey({"run", "-m", tiny_model(), "-p", "abc", "-c", "16", "--json", "--temp", "0"}).out);
  EXPECT_EQ(json["stop"], "context");
  EXPECT_EQ(json["cache"]["tokens_seen"], 16);
}

TEST(Run, PromptLongerThanTheContext) {
  const TemporaryDirectory directory;
  expect_failure(run_greedy({"-f", directory.write("long", std::string(300, 'a'))}), 1,
                 {"context", "302", "256"});
  expect_failure(run_greedy({"-p", "Hello", "-c", "4"}), 1, {"context", "7", "4"});
}

TEST(Run, BadPrompt) {
  const TemporaryDirectory directory;
  const std::string path = directory.write("prompt.txt", "good \xff\xfe bad");
  expect_failure(run_greedy({"-f", path}), 1, {path, "UTF-8", "byte 5"});
  expect_failure(run_greedy({"-p", "\x80"}), 1, {"-p", "UTF-8", "byte 0"});
  expect_failure(run_greedy({}, {.input = "\xc3("}), 1, {"standard input", "UTF-8"});
  expect_failure(run_greedy({}), 2, {"prompt", "empty"});
  expect_failure(run_greedy({"-f", directory.write("blank", "\n")}), 2, {"prompt", "empty"});
  expect_failure(run_greedy({"-f", "/nowhere/prompt"}), 1, {"/nowhere/prompt"});
  expect_failure(run_greedy({"-f", directory / ""}), 1, {"Is a directory"});
}

// A penalty below 1 rewards repetition: this answer has no end of its own.
TEST(Run, InterruptEndsTheAnswerCleanly) {
  const Outcome outcome = run_thinkey({"run", "-m", tiny_model(), "-p", "aaaa", "-c", "50000000", "--temp",
                                       "0", "-t", "1", "--repeat-penalty", "0.01"},
                                      {.interrupt_after = "aaaa"});
  EXPECT_EQ(outcome.status, 130) << outcome.err;
  EXPECT_THAT(outcome.out, ::testing::EndsWith("\n"));
  EXPECT_THAT(outcome.err, HasSubstr("ended by: stopped"));
  EXPECT_THAT(outcome.err, HasSubstr("cache    full: "));
}

TEST(Run, InterruptEndsTheProgramDuringAPrefill) {
  const TemporaryDirectory directory;
  const Outcome outcome =
      run_thinkey({"run", "-m", tiny_model(), "-f", directory.write("long", std::string(200000, 'a')), "-c",
                   "300000", "-t", "1"},
                  {.interrupt_work = true});
  EXPECT_EQ(outcome.status, 130);
  EXPECT_THAT(outcome.err,
              ::testing::EndsWith("thinkey: interrupted\n"));  // after the warning of so large a context
  EXPECT_EQ(outcome.out, "");
}

}  // namespace
}  // namespace thinkey::test
