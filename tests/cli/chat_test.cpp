#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "cli/process.h"
#include "thinkey/chat_history.h"

namespace thinkey::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::size_t kAnswer = 6;

Outcome chat(const std::string& input, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"chat",
                                        "-m",
                                        tiny_model(),
                                        "--chat-template",
                                        "chatml",
                                        "--temp",
                                        "0",
                                        "-n",
                                        std::to_string(kAnswer),
                                        "-t",
                                        "1",
                                        "--prefill-precision",
                                        "f32"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_thinkey(arguments, {.input = input});
}

// The conversation by the library alone: each answer on its line.
std::string library_chat(const std::vector<std::string>& questions, const std::string& spec) {
  const auto model = Model::load(tiny_model(), {.threads = 1, .precision = PrefillPrecision::F32});
  Session session(model, {.cache = CacheSpec::parse(spec)});
  GenerateOptions options;
  options.sampler.temperature = 0.0F;
  options.max_tokens = kAnswer;
  std::vector<ChatMessage> messages;
  std::string answers;
  ChatHistory history;
  for (const std::string& question : questions) {
    messages.push_back({"user", question});
    const std::string text = model->render_chat(messages, {.template_name = "chatml"});
    const ChatHistory::Step step = history.next(*model, text);
    if (step.restart) {
      session = Session(model, {.cache = CacheSpec::parse(spec)});
      history.clear();
    }
    const Generation generation = generate(session, step.tokens, options);
    messages.push_back({"assistant", generation.text});
    history.add(*model, text, step.tokens, generation);
    answers += generation.text + "\n";
  }
  return answers;
}

TEST(Chat, SeveralTurnsOverOneCache) {
  for (const std::string spec : {"full", "snapkv:budget=24,window=8+think:keys=0.5,recent=8,form=paper"}) {
    const Outcome outcome = chat("Hello there\nWho?\nWhy?\n", {"--cache", spec});
    EXPECT_EQ(outcome.status, 0) << outcome.err;
    EXPECT_EQ(outcome.out, library_chat({"Hello there", "Who?", "Why?"}, spec)) << spec;
    EXPECT_EQ(outcome.err, "");
  }
}

TEST(Chat, LastLineNeedsNoNewline) {
  EXPECT_EQ(chat("Hello there").out, library_chat({"Hello there"}, "full"));
}

TEST(Chat, NothingSaid) {
  const Outcome outcome = chat("\n  \n");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.out, IsEmpty());
}

TEST(Chat, QuitAndExitLeave) {
  EXPECT_EQ(chat("/quit\nHello\n").out, "");
  EXPECT_EQ(chat("/exit\nHello\n").out, "");
}

TEST(Chat, ResetForgets) {
  const std::string once = library_chat({"Hello there"}, "full");
  EXPECT_EQ(chat("Hello there\n/reset\nHello there\n").out, once + once);
}

TEST(Chat, CacheReport) {
  const Outcome outcome = chat("Hello there\n/cache\n", {"--cache", "think:keys=0.5,recent=8,form=paper"});
  EXPECT_THAT(outcome.out, HasSubstr("cache    think:"));
  EXPECT_THAT(outcome.out, HasSubstr("4 of 8"));
  EXPECT_EQ(chat("/cache\n").status, 0);  // nothing there yet
}

TEST(Chat, Help) { EXPECT_THAT(chat("/help\n").out, HasSubstr("/file PATH")); }

TEST(Chat, FileGoesWithTheNextMessage) {
  const TemporaryDirectory directory;
  const std::string path = directory.write("some file.txt", "It rains.");
  const Outcome outcome = chat("/file " + path + "\nHow is it?\n", {"-q"});
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(outcome.out, library_chat({"It rains.\nHow is it?"}, "full"));
}

TEST(Chat, BackslashContinuesTheLine) {
  EXPECT_EQ(chat("Hello \\\nthere\n").out, library_chat({"Hello \nthere"}, "full"));
}

// What is wrong with one line does not end the conversation.
TEST(Chat, MistakesAreSurvived) {
  const TemporaryDirectory directory;
  const std::string latin = directory.write("latin1", "caf\xe9");
  const Outcome outcome = chat("/fiel x\n/file\n/file /nowhere/x\n/file " + latin + "\n\xff\n" +
                               std::string(400, 'x') + "\nHello there\n");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, library_chat({"Hello there"}, "full"));
  for (const char* word : {"/fiel", "/file: give a path", "/nowhere/x", "latin1: not valid UTF-8 at byte 3",
                           "the message: not valid UTF-8 at byte 0", "context"}) {
    EXPECT_THAT(outcome.err, HasSubstr(word));
  }
  EXPECT_EQ(std::ranges::count(outcome.err, '\n'), 6) << outcome.err;
}

TEST(Chat, BadInput) {
  expect_failure(chat("Hello\n", {"--cache", "snapkv"}), 2, {"snapkv", "budget"});
  expect_failure(run_thinkey({"chat", "-m", tiny_model(), "--chat-template", "chatlm"}), 2,
                 {"chatlm", "chatml"});
  expect_failure(run_thinkey({"chat", "-m", tiny_model()}), 1, {"chat"});  // the model has no template
  const Outcome full = run_thinkey({"chat", "-m", tiny_model(), "--chat-template", "chatml", "-n", "4"},
                                   {.input = "Hello\n", .output = "/dev/full"});
  expect_failure(full, 1, {"standard output", "No space left"});
}

}  // namespace
}  // namespace thinkey::test
