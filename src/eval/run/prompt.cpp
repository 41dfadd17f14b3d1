#include "eval/run/prompt.h"

#include <utility>

#include "thinkey/error.h"

namespace thinkey::eval {
namespace {

std::string rendered(const Model& model, std::string_view text) {
  const std::vector<ChatMessage> messages = {{.role = "user", .content = std::string(text)}};
  return model.render_chat(messages);
}

bool has_chat(const Model& model) {
  try {
    static_cast<void>(rendered(model, "x"));
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

PromptEncoder::PromptEncoder(std::shared_ptr<const Model> model, ChatUse chat) : model_(std::move(model)) {
  if (chat == ChatUse::Always) static_cast<void>(rendered(*model_, "x"));
  chat_ = chat == ChatUse::Always || (chat == ChatUse::Auto && has_chat(*model_));
}

std::vector<std::int32_t> PromptEncoder::encode(std::string_view text, std::string_view answer_prefix) const {
  if (!chat_) return model_->tokenize(std::string(text) + std::string(answer_prefix));
  return model_->tokenize_chat(rendered(*model_, text) + std::string(answer_prefix));
}

std::size_t PromptEncoder::length(std::string_view text) const {
  return static_cast<std::size_t>(model_->tokenize(text, {.add_special = false}).size());
}

}  // namespace thinkey::eval
