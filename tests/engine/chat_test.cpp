#include "thinkey/chat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/chat_renderer.h"
#include "thinkey/chat_history.h"
#include "thinkey/error.h"

namespace thinkey {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const Model> bundled_model() {
  static const auto model =
      Model::load(THINKEY_MODELS "/thinkey-needle.gguf", {.threads = 1, .repack = false});
  return model;
}

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

// Against the published form of each template, as Jinja renders it (tools/make_jinja_fixtures.py).
TEST(NamedTemplates, RenderAsPublished) {
  std::ifstream stream(THINKEY_FIXTURES "/jinja/named.json");
  const nlohmann::json cases = nlohmann::json::parse(stream).at("cases");
  std::vector<std::string> seen;
  for (const nlohmann::json& entry : cases) {
    const auto name = entry.at("name").get<std::string>();
    seen.push_back(name);
    EXPECT_EQ(render_chat_template(entry.at("messages").dump(),
                                   {.add_generation_prompt = entry.at("add_generation_prompt").get<bool>(),
                                    .variables = R"({"bos_token": "<s>", "eos_token": "</s>"})",
                                    .template_name = name}),
              entry.at("text").get<std::string>())
        << name << entry.at("messages").dump();
  }
  for (const std::string_view name : chat_template_names()) EXPECT_THAT(seen, ::testing::Contains(name));
}

TEST(NamedTemplates, RefuseWhatTheyCannotSay) {
  const auto render = [](const std::string& name, const std::string& messages) {
    return error_of([&] {
      static_cast<void>(render_chat_template(
          messages, {.variables = R"({"bos_token": "<s>", "eos_token": "</s>"})", .template_name = name}));
    });
  };
  for (const char* name : {"llama-2", "mistral-v1", "mistral-v3", "mistral-v3-tekken"}) {
    EXPECT_THAT(render(name, R"([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}])"),
                HasSubstr("must alternate"));
    EXPECT_THAT(render(name, R"([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}])"),
                HasSubstr("system message must come first"));
  }
  EXPECT_THAT(render("chatlm", R"([{"role": "user", "content": "a"}])"), HasSubstr("chatml, gemma"));
}

TEST(ChatRenderer, GivesTemplatesWhatTransformersGives) {
  TokenizerData data;
  data.tokens = {"<s>", "</s>"};
  data.bos = 0;
  data.eos = 1;
  data.special_tokens = {{"pad_token", "<pad>"}};
  data.chat_template =
      "{{ bos_token }}{{ eos_token }}{{ pad_token }}{{ unk_token is defined }}{{ tools }}{{ documents }}"
      "{{ add_generation_prompt }}{{ x }}{{ messages }}";
  const ChatRenderer renderer(data);
  EXPECT_EQ(renderer.render(std::vector<ChatMessage>{{"user", "a"}}, {.variables = R"({"x": [1]})"}),
            "<s></s><pad>FalseNoneNoneTrue[1][{'role': 'user', 'content': 'a'}]");
  EXPECT_EQ(renderer.render_json(R"({"messages": [{"role": "user", "content": null, "z": 1, "a": 2}],
      "tools": [{"b": 1, "a": 2}], "documents": [], "add_generation_prompt": false,
      "chat_template_kwargs": {"x": 2.0}})",
                                 {}),
            "<s></s><pad>False[{'b': 1, 'a': 2}][]False2.0[{'role': 'user', 'z': 1, 'a': 2}]");
  // Reasoning stands under every name that templates look for.
  EXPECT_THAT(renderer.render_json(R"([{"role": "assistant", "content": "c", "reasoning": "r"}])", {}),
              HasSubstr("[{'thinking': 'r', 'role': 'assistant', 'content': 'c', 'reasoning': 'r', "
                        "'reasoning_content': 'r'}]"));
  const ChatMessage whole{.role = "assistant",
                          .content = "",
                          .name = "n",
                          .tool_call_id = "i",
                          .tool_calls = R"([{"function": {"name": "f"}}])",
                          .reasoning = "r"};
  EXPECT_THAT(renderer.render(std::vector<ChatMessage>{whole}, {}),
              HasSubstr("'name': 'n', 'tool_call_id': 'i', 'tool_calls': [{'function': {'name': 'f'}}]"));
}

TEST(ChatRenderer, ChoosesAmongNamedTemplates) {
  TokenizerData data;
  data.chat_template = "default";
  data.chat_templates = {{"tool_use", "tools"}, {"rag", "rag"}};
  const std::vector<ChatMessage> messages = {{"user", "a"}};
  const ChatRenderer renderer(data);
  EXPECT_EQ(renderer.render(messages, {}), "default");
  EXPECT_EQ(renderer.render(messages, {.tools = "[{}]"}), "tools");
  EXPECT_EQ(renderer.render(messages, {.template_name = "rag"}), "rag");
  EXPECT_EQ(renderer.render(messages, {.template_name = "default"}), "default");
  EXPECT_EQ(renderer.render(messages, {.template_source = "given"}), "given");
  data.chat_template.clear();
  EXPECT_THAT(error_of([&] { static_cast<void>(ChatRenderer(data).render(messages, {})); }),
              HasSubstr("choose one with --chat-template: tool_use, rag"));
}

TEST(ChatRenderer, RefusesWhatItCannotUse) {
  TokenizerData data;
  data.chat_template = "x";
  const ChatRenderer renderer(data);
  const auto refusal = [&](const std::string& conversation, const ChatOptions& options = {}) {
    return error_of([&] { static_cast<void>(renderer.render_json(conversation, options)); });
  };
  EXPECT_THAT(refusal("[]"), HasSubstr("the conversation is empty"));
  EXPECT_THAT(refusal("5"), HasSubstr("a JSON list of messages"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("a message must be a JSON object"));
  EXPECT_THAT(refusal("[{"), HasSubstr("not valid near its byte"));
  EXPECT_THAT(refusal(R"({"messages": [{"role": "user"}], "temperature": 1})"), HasSubstr("\"temperature\""));
  EXPECT_THAT(refusal(R"([{"role": "user"}])", {.tools = "{}"}), HasSubstr("tools must be a JSON list"));
  EXPECT_THAT(refusal(R"([{"role": "user"}])", {.variables = R"({"messages": 1})"}),
              HasSubstr("\"messages\""));
  EXPECT_THAT(refusal(R"({"messages": [{"role": "user"}], "tools": []})", {.tools = "[]"}),
              HasSubstr("given twice"));
  data.chat_template.clear();
  EXPECT_THAT(
      error_of([&] { static_cast<void>(ChatRenderer(data).render_json(R"([{"role": "user"}])", {})); }),
      ::testing::AllOf(HasSubstr("has no chat template"), HasSubstr("chatml, gemma, llama-2")));
}

TEST(Model, RendersItsOwnTemplate) {
  const std::vector<ChatMessage> messages = {{"system", "S"}, {"user", "Hi"}};
  EXPECT_EQ(bundled_model()->render_chat(messages),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Model, PutsBosInFrontOnce) {
  const auto model = bundled_model();
  const std::string bos = model->detokenize(std::vector<std::int32_t>{model->bos()}, true);
  ASSERT_FALSE(bos.empty());
  const std::vector<std::int32_t> once = model->tokenize_chat(bos + "Hello");
  EXPECT_EQ(std::ranges::count(once, model->bos()), 1);
  EXPECT_EQ(once.front(), model->bos());
  const bool adds = model->tokenize("Hello").front() == model->bos();
  EXPECT_EQ(std::ranges::count(model->tokenize_chat("Hello"), model->bos()), adds ? 1 : 0);
}

Generation answer_of(const Model& model, const std::string& text, bool ended) {
  Generation answer;
  answer.text = text;
  answer.tokens = model.tokenize(text, {.add_special = false});
  answer.ended = ended;
  if (ended)
    answer.end_token = model.tokenize("<|im_end|>", {.add_special = false, .parse_special = true}).front();
  return answer;
}

class History : public ::testing::Test {
 protected:
  // A turn: what is prefilled for it.
  ChatHistory::Step ask(const std::string& question) {
    messages_.push_back({"user", question});
    prompt_ = model_->render_chat(messages_, options_);
    return history_.next(*model_, prompt_);
  }
  void answer(const ChatHistory::Step& step, const Generation& generation, const std::string& shown) {
    history_.add(*model_, prompt_, step.tokens, generation);
    messages_.push_back({"assistant", shown});
  }

  std::shared_ptr<const Model> model_ = bundled_model();
  ChatOptions options_;
  std::vector<ChatMessage> messages_;
  std::string prompt_;
  ChatHistory history_;
};

TEST_F(History, OnlyWhatIsNewIsPrefilled) {
  ChatHistory::Step step = ask("Hello");
  EXPECT_EQ(step.tokens, model_->tokenize_chat(prompt_));
  answer(step, answer_of(*model_, "Hi.", true), "Hi.");
  step = ask("Who?");
  EXPECT_FALSE(step.restart);
  EXPECT_EQ(step.tokens, model_->tokenize("\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n",
                                          {.add_special = false, .parse_special = true}));
  // An answer that was cut off is closed by the template.
  answer(step, answer_of(*model_, "I am", false), "I am");
  step = ask("And?");
  EXPECT_FALSE(step.restart);
  EXPECT_EQ(step.tokens,
            model_->tokenize("<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n",
                             {.add_special = false, .parse_special = true}));
}

TEST_F(History, AnAnswerInOtherPiecesIsTheSameText) {
  const ChatHistory::Step step = ask("Hello");
  Generation spelled = answer_of(*model_, "", true);
  spelled.text = "needle";
  for (const char letter : spelled.text)
    spelled.tokens.push_back(model_->tokenize(std::string(1, letter), {.add_special = false})[0]);
  ASSERT_NE(spelled.tokens, model_->tokenize("needle", {.add_special = false}));
  answer(step, spelled, "needle");
  const ChatHistory::Step next = ask("Who?");
  EXPECT_FALSE(next.restart);
  EXPECT_EQ(next.tokens, model_->tokenize("\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n",
                                          {.add_special = false, .parse_special = true}));
}

TEST_F(History, ATemplateThatRewritesEarlierTurnsStartsAnew) {
  options_.template_source =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n"
      "{{ m.content.split('</think>')[-1] }}<|im_end|>{% endfor %}<|im_start|>assistant\n";
  const ChatHistory::Step step = ask("Hello");
  answer(step, answer_of(*model_, "hm</think>Hi.", true), "hm</think>Hi.");
  const ChatHistory::Step next = ask("Who?");
  EXPECT_TRUE(next.restart);
  EXPECT_EQ(next.tokens, model_->tokenize_chat(prompt_));
}

TEST(NextTurn, FollowsAWholeAnswer) {
  EXPECT_EQ(render_next_turn(*bundled_model(), "And?"),
            "\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_THAT(error_of([] {
                static_cast<void>(render_next_turn(*bundled_model(), "x",
                                                   {.template_source = "{{ messages[-1].content }}"}));
              }),
              HasSubstr("--load-cache"));
}

}  // namespace
}  // namespace thinkey
