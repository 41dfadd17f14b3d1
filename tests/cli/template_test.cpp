#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "cli/process.h"
#include "thinkey/chat.h"

namespace thinkey::test {
namespace {

using ::testing::HasSubstr;

TEST(TemplateCommand, PrintsWhatAConversationBecomes) {
  const std::string bundled = THINKEY_MODELS "/thinkey-needle.gguf";
  const std::string wanted = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n";
  EXPECT_EQ(run_thinkey({"template", "-m", bundled, "-p", "Hi"}).out, wanted);
  EXPECT_EQ(run_thinkey({"template", "--chat-template", "chatml", "-p", "Hi"}).out, wanted);
  EXPECT_EQ(run_thinkey({"template", "--chat-template", "chatml", "-p", "Hi", "--no-generation-prompt"}).out,
            "<|im_start|>user\nHi<|im_end|>\n");
  EXPECT_EQ(run_thinkey({"template", "-m", bundled, "--messages", "-"},
                        {.input = R"([{"role": "user", "content": "Hi"}])"})
                .out,
            wanted);
  // Control tokens are single tokens.
  const std::string ids = run_thinkey({"template", "-m", bundled, "-p", "Hi", "--tokens"}).out;
  EXPECT_LT(std::ranges::count(ids, ' '), 12) << ids;
}

TEST(TemplateCommand, TakesAWholeRequestAndTheTime) {
  const TemporaryDirectory directory;
  const std::string file = directory.write(
      "t.jinja",
      "{{ tools|length }}{{ documents[0].text }}{{ add_generation_prompt }}{{ x }}{{ strftime_now('%Y') }}");
  const std::string request = directory.write(
      "r.json", R"({"messages": [{"role": "user", "content": "Hi"}], "documents": [{"text": "d"}],
                   "add_generation_prompt": false, "chat_template_kwargs": {"x": "y"}})");
  const std::string tools = directory.write("tools.json", "[{}, {}]");
  const Outcome outcome = run_thinkey(
      {"template", "--chat-template-file", file, "--messages", request, "--tools", tools, "--now", "86400"});
  EXPECT_EQ(outcome.out, "2dFalsey1970") << outcome.err;
}

// Help offers the names that work, and no others.
TEST(TemplateCommand, EveryNameThatHelpOffersWorks) {
  const std::string help = run_thinkey({"run", "--help"}).out;
  for (const std::string_view name : chat_template_names()) {
    EXPECT_THAT(help, HasSubstr(std::string(name)));
    const Outcome outcome =
        run_thinkey({"template", "--chat-template", std::string(name), "-p", "Hi", "--chat-template-kwargs",
                     R"({"bos_token": "<s>", "eos_token": "</s>"})"});
    EXPECT_THAT(outcome.out, HasSubstr("Hi")) << name << outcome.err;
  }
}

TEST(TemplateCommand, BadInput) {
  expect_failure(run_thinkey({"template", "-p", "Hi"}), 2, {"chatml"});
  expect_failure(run_thinkey({"template", "--chat-template", "chatml"}), 2, {"--messages"});
  expect_failure(run_thinkey({"template", "--chat-template", "chatml", "-p", "Hi", "--tokens"}), 2,
                 {"--tokens", "-m"});
  expect_failure(run_thinkey({"template", "--chat-template", "chatml", "--messages", "-"}, {.input = "[{]"}),
                 2, {"JSON", "byte"});
  expect_failure(run_thinkey({"template", "--chat-template", "chatml", "--messages", "-", "--system", "x"},
                             {.input = "[]"}),
                 2, {"--system"});
}

}  // namespace
}  // namespace thinkey::test
