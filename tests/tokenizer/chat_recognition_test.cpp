#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fixtures.h"
#include "tokenizer/chat_template.h"

namespace thinkey::test {
namespace {

using testing::HasSubstr;

TokenizerData with_template(const std::string& source) {
  TokenizerData data;
  data.chat_template = source;
  return data;
}

TokenizerData with_tokens(std::vector<std::string> tokens, bool byte_fallback = true) {
  TokenizerData data;
  data.byte_fallback = byte_fallback;
  data.tokens = std::move(tokens);
  return data;
}

TEST(ChatRecognition, OfTheFixtureTemplates) {
  const nlohmann::json chat = read_json(fixture("chat.json"));
  for (const auto& entry : chat.at("formats")) {
    const ChatFormat format = recognise_chat_format(with_template(entry.at("template")));
    EXPECT_EQ(chat_format_name(format), entry.at("format").get<std::string>());
  }
}

TEST(ChatRecognition, ByTheVocabularyWithoutATemplate) {
  EXPECT_EQ(recognise_chat_format(with_tokens({"<|im_start|>", "<|im_end|>"})), ChatFormat::ChatML);
  EXPECT_EQ(recognise_chat_format(with_tokens({"<|start_header_id|>", "<|eot_id|>"})), ChatFormat::Llama3);
  EXPECT_EQ(recognise_chat_format(with_tokens({"[INST]", "[/INST]"})), ChatFormat::MistralV03);
  EXPECT_EQ(recognise_chat_format(with_tokens({"[INST]", "[/INST]"}, false)), ChatFormat::MistralCompact);
  EXPECT_EQ(recognise_chat_format(with_tokens({"</s>", "<|user|>", "<|assistant|>"})), ChatFormat::Zephyr);
}

TEST(ChatRecognition, RefusesTheUnknown) {
  const auto refusal = [](const TokenizerData& data) {
    const Error error = error_of([&] { (void)recognise_chat_format(data); });
    EXPECT_EQ(error.kind(), ErrorKind::Data);
    EXPECT_THAT(error.what(), HasSubstr("ChatML"));
  };
  refusal(with_tokens({"<s>", "</s>"}));
  refusal(with_template("{{ messages }}"));
  refusal(with_template("{{ '<|user|>\n' + m + '<|end|>\n<|assistant|>' + eos_token }}"));  // Phi-3
  refusal(with_template("[SYSTEM_PROMPT] [/SYSTEM_PROMPT][INST] [/INST]"));                 // Mistral Small
  TokenizerData contradiction =
      with_tokens({"<|im_start|>", "<|im_end|>"});  // the template has the last word
  contradiction.chat_template = "{{ messages }}";
  refusal(contradiction);
}

TEST(ChatRecognition, DefaultSystemMessage) {
  const auto of = [](const std::string& source) { return default_system_message(with_template(source)); };
  EXPECT_EQ(of("{% if loop.first and messages[0]['role'] != 'system' %}"
               "{{ '<|im_start|>system\\nYou\\'re a small\\nmodel<|im_end|>\\n' }}{% endif %}"),
            "You're a small\nmodel");
  EXPECT_EQ(of("{{ '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"), std::nullopt);
  EXPECT_EQ(of("{{ '<|im_start|>system\\n"), std::nullopt);
  EXPECT_EQ(of("<|im_start|>system\\n"), std::nullopt);
  EXPECT_EQ(of(""), std::nullopt);
}

}  // namespace
}  // namespace thinkey::test
