// From text to the ids a model is asked with.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "thinkey/model.h"

namespace thinkey::eval {

enum class ChatUse {
  Auto,  // where the model has a chat template
  Never,
  Always,
};

class PromptEncoder {
 public:
  // Error(Data) when a chat is asked for and the model has no template, or one that refuses a question.
  PromptEncoder(std::shared_ptr<const Model> model, ChatUse chat);

  // `text` as the user's message of a chat, or bare; then the beginning of the answer.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text,
                                                 std::string_view answer_prefix = {}) const;
  // Tokens of a piece of text within a prompt.
  [[nodiscard]] std::size_t length(std::string_view text) const;
  [[nodiscard]] bool chat() const noexcept { return chat_; }
  [[nodiscard]] const Model& model() const noexcept { return *model_; }

 private:
  std::shared_ptr<const Model> model_;
  bool chat_ = false;
};

}  // namespace thinkey::eval
