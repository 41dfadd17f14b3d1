// Rendering against Jinja's output of the published templates (tests/fixtures/tokenizer/chat.json).
#include "tokenizer/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixtures.h"

namespace thinkey::test {
namespace {

using testing::HasSubstr;
using Messages = std::vector<ChatMessage>;

constexpr ChatFormat kFormats[] = {
    ChatFormat::Llama2,         ChatFormat::Llama3,        ChatFormat::MistralV01,
    ChatFormat::Mistral,        ChatFormat::MistralSpaced, ChatFormat::MistralV03,
    ChatFormat::MistralCompact, ChatFormat::ChatML,        ChatFormat::Zephyr};

std::vector<Messages> read_conversations() {
  std::vector<Messages> conversations;
  const nlohmann::json chat = read_json(fixture("chat.json"));
  for (const auto& conversation : chat.at("conversations")) {
    Messages messages;
    for (const auto& message : conversation) messages.push_back({message.at(0), message.at(1)});
    conversations.push_back(messages);
  }
  return conversations;
}

TEST(ChatTemplate, RendersAsThePublishedTemplates) {
  const std::vector<Messages> conversations = read_conversations();
  const nlohmann::json chat = read_json(fixture("chat.json"));
  ASSERT_EQ(chat.at("formats").size(), std::size(kFormats));
  for (const auto& entry : chat.at("formats")) {
    const ChatFormat format = chat_format_from_name(entry.at("format").get<std::string>());
    for (std::size_t i = 0; i < conversations.size(); ++i) {
      std::string expected = entry.at("renderings").at(i);
      const std::string text = render_chat(format, conversations[i]);
      if (conversations[i].back().role == "assistant") {
        // What follows the end-of-turn token belongs to the next turn here.
        EXPECT_TRUE(expected.starts_with(text)) << text;
        EXPECT_LE(expected.size() - text.size(), 1U);
        expected.resize(text.size());
        EXPECT_TRUE(text.ends_with(">"));
      }
      EXPECT_EQ(text, expected) << entry.at("format") << " conversation " << i;
    }
  }
}

TEST(ChatTemplate, PartsJoinToTheWhole) {
  for (const Messages& messages : read_conversations()) {
    for (const ChatFormat format : kFormats) {
      const std::string whole = render_chat(format, messages);
      for (std::size_t first = 0; first <= messages.size(); ++first) {
        const std::string before = first == 0 ? "" : render_chat(format, std::span(messages).first(first));
        EXPECT_EQ(before + render_chat(format, messages, first), whole) << chat_format_name(format) << first;
      }
    }
  }
}

TEST(ChatTemplate, AnAnswerCutShortIsEndedFirst) {
  const Messages messages{{"user", "a"}, {"assistant", "b"}, {"user", "c"}};
  const auto next = [&](ChatFormat format, bool ended) { return render_chat(format, messages, 2, ended); };
  EXPECT_EQ(next(ChatFormat::ChatML, true), "\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(next(ChatFormat::ChatML, false),
            "<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(next(ChatFormat::Llama2, true), "<s>[INST] c [/INST]");
  EXPECT_EQ(next(ChatFormat::Llama2, false), " </s><s>[INST] c [/INST]");
  EXPECT_EQ(next(ChatFormat::MistralV01, true), " [INST] c [/INST]");
  EXPECT_EQ(next(ChatFormat::MistralV01, false), "</s> [INST] c [/INST]");
  EXPECT_EQ(next(ChatFormat::MistralV03, true), "[INST] c[/INST]");
  EXPECT_EQ(next(ChatFormat::Zephyr, false), "</s>\n<|user|>\nc</s>\n<|assistant|>\n");
  EXPECT_EQ(next(ChatFormat::Llama3, false),
            "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nc<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(ChatTemplate, ASystemMessageAlone) {
  const Messages messages{{"system", "s"}};
  EXPECT_EQ(render_chat(ChatFormat::Llama2, messages), "");  // waits for the first question
  EXPECT_EQ(render_chat(ChatFormat::ChatML, messages), "<|im_start|>system\ns<|im_end|>\n");
}

TEST(ChatTemplate, RefusesWhatTheFormatCannotSay) {
  const auto refusal = [](ChatFormat format, const Messages& messages, std::size_t first = 0) {
    const Error error = error_of([&] { (void)render_chat(format, messages, first); });
    EXPECT_EQ(error.kind(), ErrorKind::Usage);
    return std::string(error.what());
  };
  EXPECT_THAT(refusal(ChatFormat::ChatML, {}), HasSubstr("empty"));
  EXPECT_THAT(refusal(ChatFormat::ChatML, {{"user", "a"}}, 2), HasSubstr("message 2"));
  EXPECT_THAT(refusal(ChatFormat::ChatML, {{"tool", "a"}}), HasSubstr("tool"));
  EXPECT_THAT(refusal(ChatFormat::Llama2, {{"user", "a"}, {"user", "b"}}), HasSubstr("alternate"));
  EXPECT_THAT(refusal(ChatFormat::Mistral, {{"assistant", "a"}}), HasSubstr("message 0"));
  EXPECT_THAT(refusal(ChatFormat::Mistral, {{"user", "a"}, {"assistant", "b"}, {"system", "c"}}),
              HasSubstr("message 2"));
  EXPECT_NO_THROW((void)render_chat(ChatFormat::ChatML, Messages{{"user", "a"}, {"user", "b"}}));
}

TEST(ChatTemplate, NamesRoundTrip) {
  for (const ChatFormat format : kFormats) EXPECT_EQ(chat_format_from_name(chat_format_name(format)), format);
  const Error error = error_of([] { (void)chat_format_from_name("gibberish"); });
  EXPECT_EQ(error.kind(), ErrorKind::Usage);
  EXPECT_THAT(error.what(), HasSubstr("chatml"));
}

}  // namespace
}  // namespace thinkey::test
